"""`rlllm eval`: settings, plan, measurement and comparison with a baseline."""
