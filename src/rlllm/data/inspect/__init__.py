"""What a data set holds: counts and lengths (`summary`), imbalances (`checks`), rows that were left out, the data card."""
