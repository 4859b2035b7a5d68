"""`rlllm selftest`: every loss, advantage and estimator of this installation against formulas in NumPy and against TRL."""
