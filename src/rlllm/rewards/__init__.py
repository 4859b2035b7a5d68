"""What a completion is worth: verifiers, a reward model, and their composition. Rewards never see a policy."""
