"""Kinds of reward models, one file each."""
