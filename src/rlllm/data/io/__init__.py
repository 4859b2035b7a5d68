"""Data files: reading them, and writing rows for other tools."""
