"""Rewards that compare what was handed in with what the row says."""
