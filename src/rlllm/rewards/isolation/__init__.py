"""How results come back: within a deadline, one by one, and with what went wrong written down."""
