"""Replay: earlier informative groups in the place of new groups in which one named reward does not differ.

The buffer holds what TRL needs of a completion (tokens, masks, log-probabilities of the policy that sampled it, rewards) as
plain lists, so that a checkpoint carries it as JSON and restores it to the bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from rlllm.algorithms.protocols import Sampler
from rlllm.algorithms.samplers.dynamic_sampling import informative
from rlllm.algorithms.stored_group import StoredGroup
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class _Entry:
    group: StoredGroup
    age: int = 0
    uses: int = 0


@dataclass
class Replay(Sampler):
    """Groups in which one reward does not differ are replaced by earlier ones in which it did, the most mixed first.

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
    reward: str = ""
    """Name of the reward that has to differ. Default: the run's first reward that verifies."""
    needs = ("logps",)
    replays = True
    compares_group = True
    buffer: list[_Entry] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if min(self.size, self.uses, self.age) < 1:
            raise ConfigError(
                "sampler replay: size, uses and age are at least 1",
                given=f"size={self.size} uses={self.uses} age={self.age}",
            )

    def accepts(self, rewards: Tensor) -> Tensor:
        return informative(rewards)

    def replay(self, count: int) -> list[StoredGroup]:
        """At most `count` groups to learn from once more: the most mixed, among equals the oldest."""
        order = sorted(self.buffer, key=lambda entry: (-entry.group.spread, -entry.age))
        chosen = order[:count]
        for entry in chosen:
            entry.uses += 1
        return [entry.group for entry in chosen]

    def store(self, groups: Sequence[StoredGroup]) -> None:
        """End of a rollout: its informative groups come in, and what is stale or used up goes."""
        for entry in self.buffer:
            entry.age += 1
        alive = [entry for entry in self.buffer if entry.age <= self.age and entry.uses < self.uses]
        self.buffer = [*alive, *map(_Entry, groups)][-self.size :]

    @property
    def metrics(self) -> dict[str, float]:
        """For the log: groups in the buffer."""
        return {"sampling/buffer": float(len(self.buffer))}

    def state_dict(self) -> dict[str, str]:
        """The buffer as one line of JSON: laid out as a tree, every token would take a line."""
        return {"buffer": json.dumps([asdict(entry) for entry in self.buffer])}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        entries = json.loads(state["buffer"])
        self.buffer = [_Entry(StoredGroup(**entry["group"]), entry["age"], entry["uses"]) for entry in entries]
