"""Reading and writing data files: formats, streams, exports."""
