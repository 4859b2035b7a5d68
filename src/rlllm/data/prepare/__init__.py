"""Data at scale: mixtures, near-duplicates, contamination, prepared folders. Needs NumPy, so import it inside functions."""
