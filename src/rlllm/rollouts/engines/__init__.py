"""Engines: how completions are sampled from a model."""
