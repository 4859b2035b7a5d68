"""Models: how references (`nano`, a folder, a Hub id, a run directory) are resolved and loaded, chat format and padding."""
