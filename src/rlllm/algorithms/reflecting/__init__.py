"""Rollouts of two answers with a text between them that no policy wrote."""
