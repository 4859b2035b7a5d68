"""Isolation of rewards and programs: deadlines, child processes, concurrency, quarantine of failed samples, the sandbox."""
