"""Data sets: from a name in the settings to records. No torch; the Hub's `datasets` is imported only for a Hub data set."""
