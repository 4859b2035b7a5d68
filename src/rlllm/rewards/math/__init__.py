"""The `math` reward: exact where that is certain, math-verify in processes of its own elsewhere."""
