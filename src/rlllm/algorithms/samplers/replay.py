"""Replay: groups that taught something are kept, and stand in where a new group teaches nothing.

The buffer holds what TRL needs of a completion (tokens, masks, log-probabilities of the policy that sampled it, rewards) as
plain lists, so that a checkpoint carries it as JSON and restores it to the bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from rlllm.algorithms.samplers.prompt_samplers import PromptSampler, mixed
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


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
    """Standard deviation of the weighted rewards: how mixed the group is."""


@dataclass
class _Kept:
    group: StoredGroup
    age: int = 0
    uses: int = 0


@dataclass
class Replay(PromptSampler):
    """Groups without any difference in reward are replaced by earlier ones that had some, the most mixed first.

    After RePO (Li et al. 2025, arXiv 2506.09340), which adds earlier samples of the same prompt to a group; here a whole group
    takes the place of one without gradient. Importance ratios are taken against the policy that sampled a group, so that
    clipping holds back what has become stale.
    """

    size: int = 32
    """Groups kept at most; the oldest make room."""
    uses: int = 2
    """Times a group is replayed at most."""
    age: int = 8
    """Rollouts after which a group is dropped."""
    needs: ClassVar[tuple[str, ...]] = ("logps",)
    remembers: ClassVar[bool] = True
    compares_group: ClassVar[bool] = True
    buffer: list[_Kept] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if min(self.size, self.uses, self.age) < 1:
            raise ConfigError(
                "sampler replay: size, uses and age are at least 1",
                given=f"size={self.size} uses={self.uses} age={self.age}",
            )

    def accepts(self, rewards: Tensor) -> Tensor:
        return mixed(rewards)

    def replay(self, count: int) -> list[StoredGroup]:
        """At most `count` groups to learn from once more: the most mixed, among equals the oldest."""
        order = sorted(self.buffer, key=lambda kept: (-kept.group.spread, -kept.age))
        chosen = order[:count]
        for kept in chosen:
            kept.uses += 1
        return [kept.group for kept in chosen]

    def store(self, groups: Sequence[StoredGroup]) -> None:
        """End of a rollout: its informative groups come in, and what is stale or used up goes."""
        for kept in self.buffer:
            kept.age += 1
        alive = [kept for kept in self.buffer if kept.age <= self.age and kept.uses < self.uses]
        self.buffer = [*alive, *map(_Kept, groups)][-self.size :]

    @property
    def metrics(self) -> dict[str, float]:
        """For the log: groups in the buffer."""
        return {"sampling/buffer": float(len(self.buffer))}

    def state_dict(self) -> dict[str, str]:
        """The buffer as one line of JSON: laid out as a tree, every token would take a line."""
        return {"buffer": json.dumps([asdict(kept) for kept in self.buffer])}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        kept = json.loads(state["buffer"])
        self.buffer = [_Kept(StoredGroup(**one["group"]), one["age"], one["uses"]) for one in kept]


def spread(rewards: Sequence[float]) -> float:
    """Standard deviation of the rewards that are not NaN; 0 where there are none."""
    judged = [reward for reward in rewards if not math.isnan(reward)]
    if not judged:
        return 0.0
    mean = math.fsum(judged) / len(judged)
    return math.sqrt(math.fsum((reward - mean) ** 2 for reward in judged) / len(judged))
