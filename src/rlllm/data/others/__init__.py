"""Environments of other libraries: how each is reached, and its tasks as rows. Rooms above build on it."""
