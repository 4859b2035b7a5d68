"""`rlllm traces`: measures and rewards of recorded traces, and traces of runs."""
