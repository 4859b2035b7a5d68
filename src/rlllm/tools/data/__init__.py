"""Commands on data: check, build, show, export, label."""
