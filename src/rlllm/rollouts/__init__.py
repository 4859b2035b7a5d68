"""Rollouts: engines that sample completions, environments with tools, and their settings. They know nothing of rewards."""
