"""Methods: named presets over the slots and TRL's settings. Torch-free, so that listing and planning cost nothing."""
