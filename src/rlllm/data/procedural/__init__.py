"""Procedural data: problems with known answers, a solution writer with error rates, an annotator with a known utility.

The splits are disjoint: the hash of a problem's key decides its split, whatever its wording and the seed. Only the standard
library and core are used, and the same request gives the same rows on every machine.
"""
