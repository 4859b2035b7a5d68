"""Worlds made by seed: problems with known answers, a writer who errs at stated rates, an annotator with a known taste.

Train and held-out rows are disjoint by construction: the hash of a problem, not of its wording or of a seed, decides
its split. Only the standard library and core are used, and the same request gives the same rows on every machine.
"""
