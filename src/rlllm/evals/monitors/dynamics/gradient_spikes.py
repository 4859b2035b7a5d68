"""The gradient jumps by orders of magnitude from step to step."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, TrainingFacts

_TIMES = 20.0
_SPIKES = 3
_STEPS = 20
_FLOOR = 1.0


class GradientSpikes(Monitor):
    """Three of the last 20 logged gradient norms were 20 times the median of all before them, and above 1."""

    name = "gradient_spikes"
    summary = "the gradient norm jumps by orders of magnitude"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._norms: list[float] = []
        self._spikes: deque[tuple[int, float]] = deque()

    def observe(self, step: LoggedStep) -> Finding | None:
        norm = step.values.get("grad_norm")
        if norm is None or not math.isfinite(norm):
            return None
        usual = median(self._norms) if len(self._norms) >= _SPIKES else None
        self._norms.append(norm)
        while self._spikes and self._spikes[0][0] <= step.step - _STEPS:
            self._spikes.popleft()
        if usual is None or norm < max(_TIMES * usual, _FLOOR):
            return None
        self._spikes.append((step.step, norm))
        if len(self._spikes) < _SPIKES:
            return None
        largest = max(norm for _, norm in self._spikes)
        return Finding(
            self._spikes[0][0],
            f"the gradient norm went up to {largest:.3g} three times; half of the steps have less than {usual:.3g}",
            "single batches throw the model back: rows that do not fit, or a learning rate at the edge",
            "a lower learning rate or max_grad_norm; a longer warm-up",
        )
