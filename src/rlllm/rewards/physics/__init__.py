"""Rewards of physics: numbers with units, formulas, laws and conserved quantities."""
