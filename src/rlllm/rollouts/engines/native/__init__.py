"""The native engine: sampling on a CPU with shared prompts and fused layers."""
