"""One module for each trainer."""
