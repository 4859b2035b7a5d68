"""Text parsing that data and rewards share: final answers and arithmetic expressions."""
