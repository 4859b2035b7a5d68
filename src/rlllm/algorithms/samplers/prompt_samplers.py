"""Samplers: which prompts a rollout asks, in which order. Seeded, so that a resume lands on the same prompts.

Whatever a sampler draws or decides from is a function of its state, and every process hands it the numbers of all processes:
their samplers stay one. Torch is imported when the first epoch is laid out, so that a plan can make a sampler without it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from rlllm.core.errors import ConfigError
from rlllm.core.records import Prompt, PromptTask

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.samplers.replay import StoredGroup


class PromptSampler:
    """Every prompt once an epoch, shuffled, and as it stands in the data; the base of all samplers.

    A plain function (rows, seed, epoch) -> order can stand in its place. Prompts are given as rows of the data set; N
    prompts and G completions a prompt, over all processes.
    """

    rounds: int = 0
    """How many further rollouts may replace groups that are not accepted."""
    remembers: ClassVar[bool] = False
    """True where groups are stored and replayed (`replay`)."""
    compares_group: ClassVar[bool] = False
    """True where completions of one prompt are compared, so that there must be two or more."""

    def begin(self, rows: int, seed: int) -> None:
        """Told the size of the data set and the run's seed, before anything else and before a state is loaded."""

    def __call__(self, rows: int, seed: int, epoch: int) -> list[int]:
        """The order of an epoch: a pure function of its arguments."""
        import torch

        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        return torch.randperm(rows, generator=generator).tolist()

    def propose(self, rows: Sequence[int]) -> list[int]:
        """The N prompts to ask instead of those that are next in the order."""
        return list(rows)

    def show(self, row: int, task: PromptTask) -> Prompt:
        """The prompt as the model shall see it; rewards judge by the task."""
        return task.prompt

    def draw(self, count: int, tried: Collection[int]) -> list[int]:
        """Prompts of a further rollout; `tried` were asked in this one already. None ends it."""
        return []

    def accepts(self, rewards: Tensor) -> Tensor:
        """(N,) bool: groups to learn from, by their (N, G) rewards, NaN where undefined."""
        return rewards.new_ones(len(rewards)).bool()

    def replay(self, count: int) -> list[StoredGroup]:
        """At most `count` stored groups to learn from in place of groups that are not accepted."""
        return []

    def store(self, groups: Sequence[StoredGroup]) -> None:
        """Told the accepted groups at the end of a rollout."""

    def observe(self, rows: Sequence[int], rewards: Tensor) -> None:
        """Told the (N, G) rewards of N prompts after each rollout, NaN where undefined."""


@dataclass(frozen=True)
class Shuffle(PromptSampler):
    """Every prompt once an epoch, in an order that depends on seed and epoch alone."""


@dataclass(frozen=True)
class InOrder(PromptSampler):
    """Every prompt once an epoch, in the order of the data."""

    def __call__(self, rows: int, seed: int, epoch: int) -> list[int]:
        return list(range(rows))


@dataclass(frozen=True)
class Ordered(PromptSampler):
    """A plain function (rows, seed, epoch) -> order as a sampler."""

    order: Callable[[int, int, int], list[int]]

    def __call__(self, rows: int, seed: int, epoch: int) -> list[int]:
        return self.order(rows, seed, epoch)


def as_sampler(component: Callable[[int, int, int], list[int]]) -> PromptSampler:
    """A sampler component with all of a sampler's behaviour."""
    return component if isinstance(component, PromptSampler) else Ordered(component)


@dataclass
class Stream:
    """An endless order of prompts: pass after pass over the data, each in an order of its own."""

    rows: int = 0
    seed: int = 0
    cursor: int = 0
    """Prompts read so far; with seed and rows, all there is to know."""
    _pass: tuple[int, list[int]] = (-1, [])

    def next(self) -> int:
        turn, place = divmod(self.cursor, self.rows)
        if self._pass[0] != turn:
            order = random.Random(f"prompts {self.seed} {turn}").sample(range(self.rows), self.rows)
            self._pass = turn, order
        self.cursor += 1
        return self._pass[1][place]

    def take(self, wanted: Callable[[int], bool]) -> int | None:
        """The next prompt that is wanted, within one pass; None if there is none."""
        for _ in range(self.rows):
            row = self.next()
            if wanted(row):
                return row
        return None


def mixed(rewards: Tensor) -> Tensor:
    """(N,) bool: groups of the (N, G) rewards, NaN where undefined, in which two differ."""
    import torch

    largest = rewards.nan_to_num(nan=-torch.inf).amax(1)
    return largest > rewards.nan_to_num(nan=torch.inf).amin(1)


@dataclass
class Dynamic(PromptSampler):
    """Groups without any difference in reward are replaced by other prompts' (DAPO: Yu et al. 2025, arXiv 2503.14476, 3.2).

    Such a group has no gradient. Further rollouts, each as large as the share of mixed groups so far makes necessary, go on
    until the batch is full of mixed groups or `rounds` is reached; then flat ones fill it, so that its size never changes.
    """

    rounds: int = 4
    """Further rollouts at most."""
    compares_group: ClassVar[bool] = True
    stream: Stream = field(init=False, default_factory=Stream)
    """Where further prompts come from."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ConfigError("sampler dynamic: rounds is at least 1", given=self.rounds, hint="the usual is 4")

    def begin(self, rows: int, seed: int) -> None:
        self.stream = Stream(rows, seed)

    def draw(self, count: int, tried: Collection[int]) -> list[int]:
        known, drawn = set(tried), []
        for _ in range(count):
            row = self.stream.take(lambda row: row not in known)
            if row is None:  # all of the data was asked: begin again
                known.clear()
                row = self.stream.next()
            known.add(row)
            drawn.append(row)
        return drawn

    def accepts(self, rewards: Tensor) -> Tensor:
        return mixed(rewards)

    def state_dict(self) -> dict[str, int]:
        return {"cursor": self.stream.cursor}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.stream.cursor = state["cursor"]


@dataclass
class PassRates:
    """An exponential mean of every prompt's pass rate: the share of its completions that earn at least `threshold`."""

    threshold: float = 0.5
    keep: float = 0.7
    """Weight of what was known against a new rollout."""
    seen: dict[int, tuple[float, int]] = field(default_factory=dict)
    """Row -> pass rate and number of rollouts."""

    def observe(self, rows: Sequence[int], rewards: Tensor) -> None:
        """Take up the (N, G) rewards of N prompts; groups without a defined reward are passed over."""
        for row, group in zip(rows, rewards.tolist(), strict=True):
            judged = [reward for reward in group if not math.isnan(reward)]
            if not judged:
                continue
            rate = sum(reward >= self.threshold for reward in judged) / len(judged)
            before, visits = self.seen.get(row, (rate, 0))
            self.seen[row] = self.keep * before + (1 - self.keep) * rate, visits + 1

    def state_dict(self) -> dict[str, Any]:
        return {"seen": [[row, rate, visits] for row, (rate, visits) in self.seen.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = {row: (rate, visits) for row, rate, visits in state["seen"]}


@dataclass
class Band(PromptSampler):
    """Prompts known to be too hard or too easy give way to others: a band of pass rates.

    A prompt outside the band is asked again every `revisit`-th time it comes up, since the policy changes.
    """

    low: float = 0.1
    """Pass rate below which a prompt is too hard."""
    high: float = 0.9
    """Pass rate above which it is too easy."""
    patience: int = 1
    """Rollouts of a prompt before its pass rate counts as known."""
    revisit: int = 4
    """Times a prompt comes up until it is asked although it lies outside the band."""
    threshold: float = 0.5
    """Reward from which a completion passes."""
    rates: PassRates = field(init=False)
    stream: Stream = field(init=False, default_factory=Stream)
    skipped: dict[int, int] = field(init=False, default_factory=dict)
    """Row -> times it gave way since it was asked last."""

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1 or self.patience < 1 or self.revisit < 1:
            raise ConfigError(
                "sampler band: 0 <= low < high <= 1, and patience and revisit are at least 1",
                given=f"low={self.low} high={self.high} patience={self.patience} revisit={self.revisit}",
            )
        self.rates = PassRates(self.threshold)

    def begin(self, rows: int, seed: int) -> None:
        self.stream = Stream(rows, seed)

    def inside(self, row: int) -> bool:
        """Whether a prompt may lie in the band: it does, or too little is known of it."""
        rate, visits = self.rates.seen.get(row, (0.0, 0))
        return visits < self.patience or self.low <= rate <= self.high

    def propose(self, rows: Sequence[int]) -> list[int]:
        chosen, taken = [], set(rows)
        for row in rows:
            other = None
            if not self.inside(row) and self.skipped.get(row, 0) + 1 < self.revisit:
                other = self.stream.take(lambda row: row not in taken and self.inside(row))
            if other is None:
                self.skipped.pop(row, None)
                chosen.append(row)
                continue
            self.skipped[row] = self.skipped.get(row, 0) + 1
            taken.add(other)
            chosen.append(other)
        return chosen

    def observe(self, rows: Sequence[int], rewards: Tensor) -> None:
        self.rates.observe(rows, rewards)

    @property
    def metrics(self) -> dict[str, float]:
        """For the log: the share of all prompts known to lie outside the band."""
        outside = sum(not self.inside(row) for row in self.rates.seen)
        return {"sampling/outside_band": outside / max(self.stream.rows, 1)}

    def state_dict(self) -> dict[str, Any]:
        state = {"cursor": self.stream.cursor, "skipped": [list(pair) for pair in self.skipped.items()]}
        return {**self.rates.state_dict(), **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rates.load_state_dict(state)
        self.stream.cursor = state["cursor"]
        self.skipped = dict(state["skipped"])
