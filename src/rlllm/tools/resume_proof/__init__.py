"""Whether a run that was killed and resumed ends as one that was not."""
