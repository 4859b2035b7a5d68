"""The torch-free centre: words, errors, settings, run directories. Imports the standard library, pydantic and yaml only."""
