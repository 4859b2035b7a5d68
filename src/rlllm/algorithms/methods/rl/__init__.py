"""Methods that learn from the policy's own samples, one file each."""
