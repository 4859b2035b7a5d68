"""`rlllm plan`: whether a run fits, how long it takes, and whether it can learn, by a measured probe of its first steps."""
