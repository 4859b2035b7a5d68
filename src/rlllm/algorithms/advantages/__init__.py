"""Advantage estimators: from the rewards of a rollout to the advantage of each completion or token."""
