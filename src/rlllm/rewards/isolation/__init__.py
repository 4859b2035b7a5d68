"""Isolation of rewards: deadlines, child processes, concurrency, quarantine of failed samples."""
