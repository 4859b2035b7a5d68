"""Methods and settings compared in one command: arms, each trained under the same seeds, against a baseline."""
