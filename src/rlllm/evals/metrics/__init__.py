"""Metrics: one module each, from a request to measured values with intervals."""
