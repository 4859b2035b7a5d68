"""The command line. Module level imports only typer, the standard library and this package; all else waits for its command."""
