"""Statistics: intervals, paired tests, multiple testing, power, sequential stopping."""
