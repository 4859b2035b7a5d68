"""Several tests at once: what a p-value is worth beside the others that could have been the small one."""

from __future__ import annotations

from collections.abc import Sequence

from rlllm.core.errors import DataError


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: rejecting where one is at most 5 % errs at all in at most 5 % of cases.

    Needs no independence of the tests, and rejects whatever Bonferroni's correction does.

    Raises:
        DataError: a number that is no probability.

    Source: Holm, Scand. J. Stat. 6 (1979), 65.
    """
    for value in p_values:
        if not 0 <= value <= 1:
            raise DataError("a p-value lies between 0 and 1", given=value)
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted
