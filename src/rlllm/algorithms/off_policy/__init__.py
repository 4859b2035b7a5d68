"""Completions in a group that the policy did not sample."""
