"""Data schemas: which columns a published data set has, and how its rows become records."""
