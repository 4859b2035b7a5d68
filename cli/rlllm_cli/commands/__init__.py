"""One short file a noun or a group of verbs: read the words, call the Python API, print. No logic of its own."""
