"""Masks: which completion tokens learn."""
