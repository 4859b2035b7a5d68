"""Agreement of two raters beyond chance."""

from __future__ import annotations

from collections.abc import Sequence


def cohens_kappa(first: Sequence[object], second: Sequence[object]) -> float | None:
    """Agreement of two raters beyond chance: (p_o - p_e) / (1 - p_e), p_e from each rater's own shares of the labels.

    1 is full agreement, 0 what independent raters with these shares reach. None where it is not defined: no items, or
    both raters gave one and the same label throughout.

    Source: Cohen, Educ. Psychol. Meas. 20 (1960), 37.
    """
    n = len(first)
    if not n:
        return None
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    expected = sum(list(first).count(label) * list(second).count(label) for label in set(first)) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)
