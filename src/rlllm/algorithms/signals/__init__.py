"""Signals: what a slot component may ask for of each completion or token."""
