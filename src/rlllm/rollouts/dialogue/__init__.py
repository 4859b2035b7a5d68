"""Dialogues of roles on one problem: when a role speaks, and what its words do to the answer."""
