"""Sampler and trainer give the same tokens different probabilities: how far these are apart, and what is done about it."""
