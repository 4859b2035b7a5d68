"""Monitors of training dynamics: one file a monitor. Each reads what a run logs, and names what makes a run worthless."""
