"""The CPU fast path of an update: same numbers on fewer and cheaper forward passes. A reader of the algorithm may skip it."""
