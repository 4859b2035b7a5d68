"""Rows become records here: sources, adapters, checks and procedural tasks. Torch-free until a Hub data set is named."""
