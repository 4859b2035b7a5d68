"""Preparation of this process and machine for a run."""
