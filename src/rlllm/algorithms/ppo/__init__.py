"""Value model of PPO, and one backbone shared by policy, critic and reward models."""
