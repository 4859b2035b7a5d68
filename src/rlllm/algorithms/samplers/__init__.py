"""Prompt samplers: which prompts are completed, how often, and which groups are kept."""
