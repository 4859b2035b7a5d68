"""A finished run for others: merged, as GGUF, with a model card, on the Hub."""
