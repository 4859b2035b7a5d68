"""Monitors: what a run's samples say about reward hacking and about where a gain comes from."""
