"""Rewards for programs: tests run where the solution cannot reach them."""
