"""Configs of other tools as recipes: one table of rules for each tool, and a list of all settings without a counterpart."""
