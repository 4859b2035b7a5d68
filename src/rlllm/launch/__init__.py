"""Where a run executes: this process on this machine."""
