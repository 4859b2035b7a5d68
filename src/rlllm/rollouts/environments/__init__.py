"""Environments: what a model may act on before it answers. Their public methods are tools that the model calls by name."""
