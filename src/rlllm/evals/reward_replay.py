"""`rewards replay`: compare two rewards on the same completions by scores, advantages and sign of the gradient. NumPy only.

The policy gradient of a completion is its advantage times the gradient of its log-probability: a positive advantage pushes the
completion up, a negative one down, and 0 leaves it alone. A change of sign is a completion that would have been pushed
the other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rlllm.evals.statistics.paired_tests import paired_difference

if TYPE_CHECKING:
    from numpy import ndarray

_PASSES = 1.0
"""A reward of at least this passes, as where `reason` measures pass@1."""
_OUTCOMES = ("pass", "fail", "none")
_NOTHING = 1e-6
"""Advantages smaller than this are rounding."""


def comparison(
    before: ndarray,
    after: ndarray,
    advantages: tuple[ndarray, ndarray],
    *,
    groups: Sequence[int],
    prompts: Sequence[str],
    steps: Sequence[float],
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that changes when `after` takes the place of `before`.

    Args:
        before, after: (N,) rewards, NaN where undefined.
        advantages: (N,) each, of the two rewards; 0 where undefined.
        groups: number of the group of each completion.
        prompts: what each answers: the unit of the interval.
        steps: of each, in order.
        seed: of the bootstrap.

    Returns:
        `scored`, `judged`, `mean` and `pass` (both before and after), `change` (paired, over prompts, where both judged; None
        where none is), `confusion` (outcome before -> outcome after -> completions), `rank_correlation` of the scores and
        `advantage_correlation` (Spearman's; None where one side is constant), `signs`, `groups` and `steps`.
    """
    import numpy as np

    return {
        "scored": len(before),
        "judged": {"before": int((~np.isnan(before)).sum()), "after": int((~np.isnan(after)).sum())},
        "mean": {"before": _mean(before), "after": _mean(after)},
        "change": change(before, after, prompts, seed),
        "confusion": confusion(before, after),
        "rank_correlation": rank_correlation(before, after),
        "advantage_correlation": rank_correlation(*advantages),
        "signs": signs(*advantages),
        "groups": group_changes(before, after, groups),
        "steps": by_step(before, after, advantages, steps),
    }


def _mean(values: ndarray) -> float | None:
    """Over what is not NaN; None where nothing is."""
    import numpy as np

    judged = values[~np.isnan(values)]
    return float(judged.mean()) if len(judged) else None


def change(before: ndarray, after: ndarray, prompts: Sequence[str], seed: int = 0) -> dict[str, Any] | None:
    """Mean over prompts of the mean change of their completions that both judged, with an interval over prompts."""
    import numpy as np

    difference: dict[str, list[float]] = {}
    for prompt, value in zip(prompts, (after - before).tolist(), strict=True):
        if not np.isnan(value):
            difference.setdefault(prompt, []).append(value)
    if not difference:
        return None
    means = [float(np.mean(values)) for values in difference.values()]
    return paired_difference([0.0] * len(means), means, seed, bounds=None).to_json()


def confusion(before: ndarray, after: ndarray) -> dict[str, dict[str, int]]:
    """Outcome before -> outcome after -> number of completions."""
    import numpy as np

    sides = [np.where(np.isnan(side), 2, np.where(side >= _PASSES, 0, 1)) for side in (before, after)]
    return {
        then: {now: int(((sides[0] == i) & (sides[1] == j)).sum()) for j, now in enumerate(_OUTCOMES)}
        for i, then in enumerate(_OUTCOMES)
    }


def rank_correlation(first: ndarray, second: ndarray) -> float | None:
    """Spearman's, over what both know; None where one side is constant or fewer than two are known."""
    import numpy as np
    from scipy.stats import rankdata

    judged = ~(np.isnan(first) | np.isnan(second))
    if judged.sum() < 2 or np.ptp(first[judged]) == 0 or np.ptp(second[judged]) == 0:
        return None
    return float(np.corrcoef(rankdata(first[judged]), rankdata(second[judged]))[0, 1])


def _sign(advantages: ndarray) -> ndarray:
    """-1, 0 or 1; what is only rounding counts as 0."""
    import numpy as np

    return np.where(np.abs(advantages) < _NOTHING, 0, np.sign(advantages))


def signs(before: ndarray, after: ndarray) -> dict[str, float]:
    """Shares of completions: pushed the other way, no longer pushed, newly pushed, and pushed (or left) as before."""
    import numpy as np

    old, new = _sign(before), _sign(after)
    return {
        "flipped": float(np.mean(old * new < 0)),
        "silenced": float(np.mean((old != 0) & (new == 0))),
        "awakened": float(np.mean((old == 0) & (new != 0))),
        "same": float(np.mean(old == new)),
    }


def group_changes(before: ndarray, after: ndarray, groups: Sequence[int]) -> dict[str, Any]:
    """Number of groups, shares that are flat (no two rewards differ: nothing to learn), and that change sides."""
    import numpy as np

    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    flat = np.array([[_flat(side[own]) for side in (before, after)] for own in members.values()])
    return {
        "count": len(members),
        "flat": {"before": float(flat[:, 0].mean()), "after": float(flat[:, 1].mean())},
        "become_flat": float((~flat[:, 0] & flat[:, 1]).mean()),
        "become_mixed": float((flat[:, 0] & ~flat[:, 1]).mean()),
    }


def by_step(
    before: ndarray, after: ndarray, advantages: tuple[ndarray, ndarray], steps: Sequence[float]
) -> list[dict[str, Any]]:
    """For each step both means and the share of signs that flip."""
    import numpy as np

    rows, start = [], 0
    for step, members in groupby(steps):
        part = slice(start, start := start + len(list(members)))
        flipped = np.mean(_sign(advantages[0][part]) * _sign(advantages[1][part]) < 0)
        rows.append(
            {"step": step, "before": _mean(before[part]), "after": _mean(after[part]), "flipped": float(flipped)}
        )
    return rows


def _flat(rewards: ndarray) -> bool:
    import numpy as np

    judged = rewards[~np.isnan(rewards)]
    return len(judged) == 0 or float(np.ptp(judged)) <= 1e-9 * max(1.0, float(np.abs(judged).max()))
