"""Requests to servers: one way to post JSON and read a reply, for rewards, judges, sandboxes and engines alike."""
