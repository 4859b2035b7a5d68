"""Methods that learn from recorded preferences, one file each."""
