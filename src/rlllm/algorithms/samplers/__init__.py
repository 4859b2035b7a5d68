"""Prompt samplers: which prompts are completed, and which groups are learned from."""
