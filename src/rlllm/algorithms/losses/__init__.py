"""Policy losses: from log-probabilities and advantages to a loss of each token, and how it is aggregated."""
