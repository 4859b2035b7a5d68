"""What a data set holds: summary, checks of its rows, rows that were left out, data card."""
