"""`rlllm run`: stages that start from what earlier ones made, with gates between them."""
