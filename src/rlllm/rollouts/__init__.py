"""Engines: what samples completions. An engine turns prompt ids into completion ids and knows nothing of rewards."""
