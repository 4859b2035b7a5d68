"""`StoredGroup`: the completions of one prompt as plain lists, for replay and for checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StoredGroup:
    """The completions of one prompt. G completions, T tokens of one, R rewards."""

    row: int
    """Row of the data set."""
    prompt: list[int]
    tokens: list[dict[str, list[Any]]]
    """G mappings from the name of a rollout's tensor to its T entries."""
    rewards: list[list[float]]
    """(G, R), NaN where a reward could not judge."""
    spread: float
    """Standard deviation of the reward that the sampler judges by: how mixed the group is."""


def spread(rewards: Sequence[float]) -> float:
    """Standard deviation of the rewards that are not NaN; 0 where there are none."""
    judged = [reward for reward in rewards if not math.isnan(reward)]
    if not judged:
        return 0.0
    mean = math.fsum(judged) / len(judged)
    return math.sqrt(math.fsum((reward - mean) ** 2 for reward in judged) / len(judged))
