"""Verifiers: rewards that compare the answer in a completion with what the row states."""
