"""Verifiable instructions of IFEval (Zhou et al. 2023, arXiv 2311.07911) and of IFBench, one file for each group of families.

A check is a function `(text, **arguments) -> bool | None`; its arguments carry the names of the published rows. None means
undecidable. Where the published checkers accept what their instruction rules out (all three options listed, empty
brackets, a bare divider as a bullet), these refuse it; `ifeval` has them as published. Keywords are text, never patterns.
"""
