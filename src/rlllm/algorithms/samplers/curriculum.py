"""A curriculum: prompts in four tiers of difficulty, and a scheduler that moves from easy tiers to hard ones.

After the specification of VAC-GRPO (docs/methods/vac-grpo.md): the four tiers and a dynamic scheduler are the paper's, what
they are made of is a reconstruction.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from rlllm.algorithms.protocols import Sampler, Setup
from rlllm.algorithms.samplers.prompt_stream import Stream
from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask

if TYPE_CHECKING:
    from torch import Tensor

TIERS = (1, 2, 3, 4)
_RAISED = ("consistency", "cues")
"""Rewards whose weights grow with the position, where a run has them and the user names none."""
_WITH_POSITION = ("dynamic", "linear")


@dataclass
class Curriculum(Sampler):
    """Draws prompts of four tiers by their distance from a position c in [1, 4].

    Tiers are made before training, from the share u of `samples` completions by the start model that pass and the relation of
    the row (`tier_of`). Tier j is drawn with a weight of exp(-(j - c)^2 / (2 width^2)) + floor. A row with u = 0 that fails in
    training as well is not drawn again once a row of tier 4 has been tried.
    """

    scheduler: Literal["dynamic", "linear", "uniform", "none"] = "dynamic"
    """How c moves. `dynamic`: up where the mean reward at the tier nearest to c is above `up`, down where it is below `down`;
    `linear`: from 1 to 4 with the steps of the run. `uniform` draws every tier equally often, and `none` every row; neither
    has a position, drops rows or changes weights."""
    samples: int = 8
    """Completions of each training row by the start model, from which its tier is made."""
    column: str = ""
    """Column of the data that holds each row's tier, 1 to 4. Nothing is measured then. Default: measure."""
    relation: str = "relation"
    """Column that is `agree` or `clash`. Where a row has none, its tier follows from the pass rate alone."""
    width: float = 0.5
    """Deviation, in tiers, of the weights around the position."""
    floor: float = 0.05
    """Weight of every tier however far from the position, which replays old ones."""
    keep: float = 0.9
    """Weight of a tier's mean reward so far against that of a new rollout."""
    step: float = 0.25
    """How far the position moves after a rollout."""
    up: float = 0.7
    """Mean reward above which the position moves up."""
    down: float = 0.35
    """Mean reward below which it moves down."""
    raises: list[str] | None = None
    """Rewards whose weights are multiplied by c - 1, at most 1, so that they count from c = 1 on and fully from c = 2 on.
    Default: consistency and cues, those of them that the run has."""
    threshold: float = 0.5
    """Reward from which a completion of the start model passes."""
    reward: str = ""
    """Name of the reward that decides what passes. Default: the run's first reward that verifies."""
    position: float = field(init=False, default=1.0)
    """c."""
    means: dict[int, float] = field(init=False, default_factory=dict)
    """Tier -> running mean reward, of tiers that were drawn."""
    tiers: list[int] = field(init=False, default_factory=list)
    """Of each row."""
    unsolved: set[int] = field(init=False, default_factory=set)
    """Rows that the start model never solved."""
    failed: set[int] = field(init=False, default_factory=set)
    """Those of them that failed in training as well."""
    _seed: int = field(init=False, default=0)
    _rollouts: int = field(init=False, default=0)
    _hardest_tried: bool = field(init=False, default=False)
    _members: dict[int, list[int]] = field(init=False, default_factory=dict)
    _streams: dict[int, Stream] = field(init=False, default_factory=dict)
    _last: dict[str, float] = field(init=False, default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.samples < 1 or self.width <= 0 or self.floor < 0 or self.step < 0 or not 0 <= self.keep < 1:
            raise ConfigError(
                "sampler curriculum: samples is at least 1, width above 0, floor and step at least 0, keep in [0, 1)",
                given=f"samples={self.samples} width={self.width} floor={self.floor} step={self.step} keep={self.keep}",
            )
        if self.down > self.up:
            raise ConfigError(
                "sampler curriculum: the position moves down below a mean reward that is at most the one for up",
                given=f"down={self.down} up={self.up}",
            )

    def check(self, setup: Setup) -> None:
        """Raise ConfigError for a reward that the run does not have, or a column without a tier in every row."""
        unknown = [name for name in self.raises or () if name not in setup.reward_names]
        if unknown:
            raise ConfigError(
                "sampler curriculum raises the weight of a reward that this run does not have",
                given=f"sampler.raises={', '.join(unknown)}",
                exists=setup.reward_names,
            )
        without = sum(task.meta.get(self.column) not in TIERS for task in setup.tasks) if self.column else 0
        if without:
            raise ConfigError(
                f"sampler curriculum: {without} of {len(setup.tasks)} rows have no tier from 1 to 4 in the column",
                given=f"sampler.column={self.column}",
                hint="leave it out, and tiers are made from the start model's own pass rates",
            )

    @property
    def start_samples(self) -> int:
        return 0 if self.column else self.samples

    def begin(self, rows: int, seed: int) -> None:
        self._seed = seed

    def measured(self, tasks: Sequence[PromptTask], values: Sequence[Sequence[float | None]]) -> None:
        if self.column:
            self.tiers = [int(task.meta[self.column]) for task in tasks]
        else:
            rates = [self._pass_rate(row) for row in values]
            relations = [task.meta.get(self.relation) for task in tasks]
            self.tiers = [tier_of(rate, relation) for rate, relation in zip(rates, relations, strict=True)]
            self.unsolved = {row for row, rate in enumerate(rates) if rate == 0}
        self._members = {tier: [row for row, own in enumerate(self.tiers) if own == tier] for tier in TIERS}
        self._streams = {
            tier: Stream(len(rows), self._seed * len(TIERS) + tier) for tier, rows in self._members.items() if rows
        }

    def _pass_rate(self, values: Sequence[float | None]) -> float:
        judged = [value for value in values if value is not None]
        return fmean(value >= self.threshold for value in judged) if judged else 0.0

    def advance(self, share: float) -> None:
        if self.scheduler == "linear":
            self.position = 1 + 3 * share

    def propose(self, rows: Sequence[int]) -> list[int]:
        assert self.tiers, "the tiers are made by `measured`, before the first rollout"
        if self.scheduler == "none":
            return list(rows)
        dropped = self.dropped
        open_tiers = [tier for tier in self._streams if not dropped.issuperset(self._members[tier])]
        weights = [self.weight(tier) for tier in open_tiers]
        generator = random.Random(f"tiers {self._seed} {self._rollouts}")
        self._rollouts += 1
        chosen: list[int] = []
        for tier in generator.choices(open_tiers, weights, k=len(rows)):
            row = self._next(tier, {*dropped, *chosen})
            # a tier with fewer rows than are drawn of it gives one twice
            chosen.append(self._next(tier, dropped) if row is None else row)  # type: ignore[arg-type]
        return chosen

    def _next(self, tier: int, without: Collection[int]) -> int | None:
        members = self._members[tier]
        place = self._streams[tier].take(lambda place: members[place] not in without)
        return None if place is None else members[place]

    def weight(self, tier: int) -> float:
        """How often a tier is drawn, relative to the others."""
        return tier_weight(tier, self.position, self.width, self.floor) if self._has_position else 1.0

    @property
    def dropped(self) -> set[int]:
        """Rows that are not drawn again; never all of them."""
        gone = self.failed if self._hardest_tried and self._has_position else set()
        return set() if len(gone) == len(self.tiers) else gone

    def observe(self, rows: Sequence[int], rewards: Tensor) -> None:
        groups: dict[int, list[list[float]]] = {}
        for row, group in zip(rows, rewards.tolist(), strict=True):
            judged = [reward for reward in group if not math.isnan(reward)]
            if judged:
                groups.setdefault(self.tiers[row], []).append(judged)
                if row in self.unsolved and max(judged) < self.threshold:
                    self.failed.add(row)
        self._hardest_tried = self._hardest_tried or TIERS[-1] in groups
        self._last.clear()
        for tier, seen in sorted(groups.items()):
            mean = fmean(reward for group in seen for reward in group)
            self.means[tier] = self.keep * self.means.get(tier, mean) + (1 - self.keep) * mean
            self._last[f"curriculum/drawn_{tier}"] = len(seen) / len(rows)
            self._last[f"curriculum/zero_std_{tier}"] = fmean(min(group) == max(group) for group in seen)
        if self.scheduler == "dynamic":
            passed = {tier: math.inf for tier in TIERS if not self._members[tier]}  # nothing to learn holds nobody up
            self.position = moved(self.position, {**passed, **self.means}, up=self.up, down=self.down, step=self.step)

    @property
    def _has_position(self) -> bool:
        return self.scheduler in _WITH_POSITION

    @property
    def reward_factors(self) -> Mapping[str, float]:
        if not self._has_position:
            return {}
        names = _RAISED if self.raises is None else self.raises
        return dict.fromkeys(names, min(max(self.position - 1, 0.0), 1.0))

    def same_as(self, settings: Mapping[str, Any]) -> str:
        return "shuffle" if self.scheduler == "none" else ""

    @property
    def metrics(self) -> Mapping[str, float]:
        """For the log: the position, each tier's running mean, its share of the last rollout and the share of its groups there
        without a difference, and the share of rows that were dropped."""
        position = {"curriculum/position": self.position} if self._has_position else {}
        means = {f"curriculum/mean_{tier}": mean for tier, mean in sorted(self.means.items())}
        return {**position, **means, **self._last, "curriculum/dropped": len(self.dropped) / max(len(self.tiers), 1)}

    def state_dict(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "means": [list(pair) for pair in self.means.items()],
            "failed": sorted(self.failed),
            "rollouts": self._rollouts,
            "hardest_tried": self._hardest_tried,
            "cursors": [[tier, stream.cursor] for tier, stream in self._streams.items()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.position = state["position"]
        self.means = dict(state["means"])
        self.failed = set(state["failed"])
        self._rollouts = state["rollouts"]
        self._hardest_tried = state["hardest_tried"]
        for tier, cursor in state["cursors"]:
            self._streams[tier].cursor = cursor


def tier_of(rate: float, relation: str | None = None) -> int:
    """The tier of a row by the start model's pass rate and its relation, `agree` or `clash`.

    1: at least .75 and agree; 2: at least .75 and clash, or at least .4 and agree; 3: at least .4 and clash, or less and agree;
    4: less and clash. Without a relation by the pass rate alone: at least .75, .5, .25, less.
    """
    if relation not in ("agree", "clash"):
        return 4 - sum(rate >= bound for bound in (0.25, 0.5, 0.75))
    return 3 - sum(rate >= bound for bound in (0.4, 0.75)) + (relation == "clash")


def tier_weight(tier: int, position: float, width: float = 0.5, floor: float = 0.05) -> float:
    """exp(-(tier - position)^2 / (2 width^2)) + floor."""
    return math.exp(-((tier - position) ** 2) / (2 * width**2)) + floor


def moved(
    position: float, means: Mapping[int, float], *, up: float = 0.7, down: float = 0.35, step: float = 0.25
) -> float:
    """The position after a rollout, in [1, 4]; the nearest tier decides, of two the harder, and none that was never drawn."""
    mean = means.get(math.floor(position + 0.5))
    if mean is None:
        return position
    change = step if mean > up else -step if mean < down else 0.0
    return min(max(position + change, float(TIERS[0])), float(TIERS[-1]))
