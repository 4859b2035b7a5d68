"""Completions say the same again and again."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, Trace, TrainingFacts

_LEFT = 0.4
_LONG_ENOUGH = 32
_FEWEST = 8


class Repetition(Monitor):
    """Over 5 rollouts completions compressed to 0.4 of the size that those of the first 3 did, relative to their length.

    The measure is zlib's size of a completion over its own, of completions of at least 32 characters.
    """

    name = "repetition"
    summary = "completions say the same again and again"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._size = Trace()

    def observe(self, step: LoggedStep) -> Finding | None:
        if not self._size.add(step.step, _compressed(step.completions)) or self._size.last > _LEFT * self._size.first:
            return None
        return Finding(
            self._size.onset,
            f"completions compress to {self._size.last:.0%} of their size; at the start it was {self._size.first:.0%}",
            "the model writes the same over and over, which the reward does not mind or pays for",
            "charge for it (reward repetition), hold the policy closer to its start (beta), or lower the learning rate; what "
            "it writes: rlllm runs show RUN --samples last",
        )


def _compressed(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean of compressed size over size; None with fewer than 8 completions that are long enough."""
    texts = [str(row.get("completion", "")).encode("utf-8", "backslashreplace") for row in rows]
    shares = [len(zlib.compress(text)) / len(text) for text in texts if len(text) >= _LONG_ENOUGH]
    return sum(shares) / len(shares) if len(shares) >= _FEWEST else None
