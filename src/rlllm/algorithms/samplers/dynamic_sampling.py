"""Dynamic sampling: groups in which one named reward does not differ are replaced by other prompts' (DAPO)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlllm.algorithms.protocols import Sampler
from rlllm.algorithms.samplers.prompt_stream import Stream
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Dynamic(Sampler):
    """Groups in which one reward does not differ are replaced by other prompts' (DAPO: Yu et al. 2025, arXiv 2503.14476, 3.2).

    The paper filters by accuracy, verl by `filter_groups.metric`. The sum of the rewards would not do: completions that are all
    wrong and differ in format alone have a gradient, which the division by the group's deviation brings to full size.

    Further rollouts, each as large as the share of informative groups so far makes necessary, follow until the batch is full
    of informative groups or `max_rounds` is reached. Then the other groups fill it, with the advantages they have, so that
    its size never changes.
    """

    max_rounds: int = 4
    """Further rollouts at most."""
    reward: str = ""
    """Name of the reward that has to differ (verl: `filter_groups.metric`). Default: the run's first reward that verifies."""
    compares_group = True
    stream: Stream = field(init=False, default_factory=Stream)
    """Where further prompts come from."""

    def __post_init__(self) -> None:
        if self.max_rounds < 1:
            raise ConfigError("sampler dynamic: max_rounds is at least 1", given=self.max_rounds, hint="the usual is 4")

    def begin(self, rows: int, seed: int) -> None:
        self.stream = Stream(rows, seed)

    def draw(self, count: int, tried: Collection[int]) -> list[int]:
        completed, rows = set(tried), []
        for _ in range(count):
            row = self.stream.take(lambda row: row not in completed)
            if row is None:  # every row of the data was completed in this step: begin again
                completed.clear()
                row = self.stream.next()
            completed.add(row)
            rows.append(row)
        return rows

    def accepts(self, rewards: Tensor) -> Tensor:
        return informative(rewards)

    def state_dict(self) -> dict[str, int]:
        return {"cursor": self.stream.cursor}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.stream.cursor = state["cursor"]


def informative(rewards: Tensor) -> Tensor:
    """(N,) bool: groups of the (N, G) values of a reward, NaN where undefined, in which two differ."""
    import torch

    largest = rewards.nan_to_num(nan=-torch.inf).amax(1)
    return largest > rewards.nan_to_num(nan=torch.inf).amin(1)
