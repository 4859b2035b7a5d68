"""Components of the slot `dialogue`."""
