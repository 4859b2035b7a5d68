"""Models: what a reference such as `nano`, a folder, a Hub id or a run directory means, and how it is loaded."""
