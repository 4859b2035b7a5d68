"""Rewards that ask a server over HTTP."""
