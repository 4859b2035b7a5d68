"""Rewards: verifiers, reward models, judges, and their composition. A reward sees samples and never the policy."""
