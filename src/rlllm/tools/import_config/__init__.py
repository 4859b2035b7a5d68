"""Configs of other tools as recipes: one table a tool, and a list of everything that has no counterpart here."""
