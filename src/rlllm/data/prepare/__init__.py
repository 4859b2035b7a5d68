"""Data by the million, as arrays: the only files of this room that need NumPy, and so imported inside of functions only."""
