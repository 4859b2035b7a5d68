"""Sampling in segments, of which uncertain ones are erased and sampled again."""
