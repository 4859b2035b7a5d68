"""The bench: cases on which a reward is tested before it trains anything, and how they are scored."""
