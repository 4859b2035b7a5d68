"""What a completion is worth follows from its length."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from statistics import StatisticsError, correlation, fmean
from typing import Any

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, TrainingFacts

_ROLLOUTS = 5
_CORRELATION = 0.8


class LengthBias(Monitor):
    """Over 5 rollouts reward and length of the completions correlate by 0.8 or more, within prompts.

    Both are taken as the difference from the mean of the prompt's completions, so that longer problems do not count.
    """

    name = "length_bias"
    summary = "what a completion is worth follows from its length"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._rollouts: deque[tuple[int, list[tuple[float, float]]]] = deque(maxlen=_ROLLOUTS)

    def observe(self, step: LoggedStep) -> Finding | None:
        pairs = _centred(step.completions)
        if not pairs:
            return None
        self._rollouts.append((step.step, pairs))
        together = [pair for _, pairs in self._rollouts for pair in pairs]
        if len(self._rollouts) < _ROLLOUTS:
            return None
        try:
            found = correlation(*zip(*together, strict=True))
        except StatisticsError:  # all of one length, or of one reward
            return None
        if not math.isfinite(found) or abs(found) < _CORRELATION:
            return None
        return Finding(
            self._rollouts[0][0],
            f"reward and length of a prompt's completions correlate by {found:+.2f}",
            f"{'longer' if found > 0 else 'shorter'} is what is paid for, whatever is said",
            "look at what earns most: rlllm runs show RUN --samples best; rewards whose value is a length measure no quality",
        )


def _centred(rows: Any) -> list[tuple[float, float]]:
    """(reward, tokens) of completions, each less the mean of its prompt's; prompts with one completion have none."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        value, tokens = row.get("reward"), row.get("tokens")
        if value is not None and tokens is not None and math.isfinite(value) and not row.get("demonstration"):
            groups.setdefault(_prompt_key(row), []).append((float(value), float(tokens)))
    centred = []
    for group in groups.values():
        if len(group) > 1:
            means = fmean(pair[0] for pair in group), fmean(pair[1] for pair in group)
            centred += [(pair[0] - means[0], pair[1] - means[1]) for pair in group]
    return centred


def _prompt_key(row: Mapping[str, Any]) -> str:
    return str(row.get("prompt"))
