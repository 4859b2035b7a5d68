"""Column layouts of published data sets."""
