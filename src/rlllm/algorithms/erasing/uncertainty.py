"""E3RL's erasure: a segment is erased where the policy was less sure than it was in the group's other completions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rlllm.algorithms.protocols import Candidates, Erasure, Setup
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

_EPSILON = 1e-8


@dataclass
class Uncertainty(Erasure):
    """A segment is erased where its uncertainty U is above a threshold of its group (Wang et al. 2026, arXiv 2606.17735).

    U = smoothed mean entropy + change_weight mean |H_{t+1} - H_t| + peak_weight sigmoid((max H - mean) / deviation); mean and
    deviation are those of the entropies of all first candidates of the segment. The threshold is
    (mean U + kappa std U) exp(erase_penalty e^erase_power) (1 + history_weight tanh(relative excess so far)), over the first
    candidates of the group and after e erasures; kappa = kappa_base + kappa_slope tanh((std U - s0) / s0), with s0 a moving
    average of std U over rollouts. A group with one live completion erases nothing. None of the constants is published.

    Args:
        segment_length: tokens of a segment.
        max_erasures: candidates of a segment beyond the first; 0 erases nothing.
        smoothing_window: earlier segments of the completion that the mean entropy is smoothed over.
        smoothing_decay: weight of each of them beside the next one.
        change_weight, peak_weight: weights of the terms of U.
        kappa_base, kappa_slope: deviations above the group's mean from which a segment is erased.
        erase_penalty, erase_power: how the threshold rises with every erasure, so that the loop ends.
        history_weight: how completions that were more uncertain than their group so far are judged more mildly.
        average_decay: of the moving average s0.
        control: `random` erases as many candidates as the thresholds say, chosen at random among those judged.
    """

    segment_length: int = 1024
    max_erasures: int = 5
    smoothing_window: int = 1
    smoothing_decay: float = 0.5
    change_weight: float = 0.5
    peak_weight: float = 0.2
    kappa_base: float = 1.0
    kappa_slope: float = 0.5
    erase_penalty: float = 0.1
    erase_power: float = 1.0
    history_weight: float = 0.1
    average_decay: float = 0.9
    control: Literal["none", "random"] = "none"
    mean_deviation: float = field(init=False, default=math.nan)
    """s0: moving average of the deviation of U in a group; NaN before the first rollout."""
    _group_size: int = field(init=False, repr=False, default=1)
    _means: dict[int, list[float]] = field(init=False, repr=False, default_factory=dict)
    """Row -> mean entropy of its segments; the last is that of the candidate judged last."""
    _excess: dict[int, list[float]] = field(init=False, repr=False, default_factory=dict)
    """Row -> of each segment, how far its smoothed entropy was above the group's threshold, relative to it."""
    _bases: dict[int, float] = field(init=False, repr=False, default_factory=dict)
    """Group -> threshold of this segment without erasures and history."""
    _moments: tuple[float, float] = field(init=False, repr=False, default=(0.0, 1.0))
    _deviations: list[float] = field(init=False, repr=False, default_factory=list)
    _seen: list[tuple[float, float]] = field(init=False, repr=False, default_factory=list)
    """Uncertainty and threshold of every candidate of a rollout."""

    def __post_init__(self) -> None:
        if self.segment_length < 1 or self.max_erasures < 0 or self.smoothing_window < 0:
            raise ConfigError(
                "erase e3rl: segment_length is 1 or more, max_erasures and smoothing_window are 0 or more",
                given=f"segment_length={self.segment_length} max_erasures={self.max_erasures} "
                f"smoothing_window={self.smoothing_window}",
            )
        if not 0 <= self.average_decay < 1:
            raise ConfigError("erase e3rl: average_decay is in [0, 1)", given=f"average_decay={self.average_decay}")

    def check(self, setup: Setup) -> None:
        """Raise ConfigError where groups have one completion, since a threshold is that of a group."""
        if self.max_erasures and setup.group_size == 1:
            raise ConfigError(
                "erase e3rl compares a segment with those of the group's other completions",
                given="rollout.group_size=1",
                hint="rollout.group_size=8, or erase.max_erasures=0",
            )

    def begin(self, rows: int, group_size: int) -> None:
        self._group_size = group_size
        self._means, self._excess = {}, {}
        self._deviations.clear()
        self._seen.clear()

    def rejects(self, candidates: Candidates) -> Tensor:
        import torch

        first = candidates.attempt == 0
        if first:
            every = torch.cat(list(candidates.entropies))
            self._moments = float(every.mean()), float(every.std(correction=0))
        values, levels = self._uncertainties(candidates)
        if first:
            self._set_thresholds(candidates.rows, values)
        limits = [self._threshold(row, candidates.segment, candidates.attempt) for row in candidates.rows]
        for row, level in zip(candidates.rows, levels, strict=True):
            self._excess.setdefault(row, [])[candidates.segment :] = [self._relative(row, level)]
        self._seen += [pair for pair in zip(values, limits, strict=True) if math.isfinite(pair[1])]
        above = torch.tensor([value > limit for value, limit in zip(values, limits, strict=True)])
        return above[torch.randperm(len(above))] if self.control == "random" else above

    def end(self, reduce: Callable[[Tensor], Tensor]) -> None:
        import torch

        total = reduce(torch.tensor([sum(self._deviations), float(len(self._deviations))], dtype=torch.float64))
        if not total[1]:
            return
        mean = float(total[0] / total[1])
        known = not math.isnan(self.mean_deviation)
        decay = self.average_decay if known else 0.0
        self.mean_deviation = decay * (self.mean_deviation if known else 0.0) + (1 - decay) * mean

    def _uncertainties(self, candidates: Candidates) -> tuple[list[float], list[float]]:
        """U and smoothed mean entropy of each candidate."""
        values, smoothed = [], []
        for row, entropy in zip(candidates.rows, candidates.entropies, strict=True):
            means = self._means.setdefault(row, [])
            means[candidates.segment :] = [float(entropy.mean())]
            level = smoothed_last(means, self.smoothing_window, self.smoothing_decay)
            smoothed.append(level)
            values.append(level + self.change_weight * mean_change(entropy) + self.peak_weight * self._peak(entropy))
        return values, smoothed

    def _peak(self, entropy: Tensor) -> float:
        mean, deviation = self._moments
        return 1 / (1 + math.exp(-(float(entropy.max()) - mean) / (deviation + _EPSILON)))

    def _set_thresholds(self, rows: Sequence[int], values: Sequence[float]) -> None:
        groups: dict[int, list[float]] = {}
        for row, value in zip(rows, values, strict=True):
            groups.setdefault(row // self._group_size, []).append(value)
        self._bases = {}
        for group, own in groups.items():
            mean = sum(own) / len(own)
            deviation = math.sqrt(sum((value - mean) ** 2 for value in own) / len(own))
            self._bases[group] = mean + self._kappa(deviation) * deviation if len(own) > 1 else math.inf
            if len(own) > 1:
                self._deviations.append(deviation)

    def _kappa(self, deviation: float) -> float:
        if math.isnan(self.mean_deviation):
            return self.kappa_base
        relative = (deviation - self.mean_deviation) / (self.mean_deviation + _EPSILON)
        return self.kappa_base + self.kappa_slope * math.tanh(relative)

    def _threshold(self, row: int, segment: int, erasures: int) -> float:
        """Theta of a segment that was erased so many times."""
        history = self._excess.get(row, [])[:segment]
        factor = 1 + self.history_weight * math.tanh(sum(history) / len(history)) if history else 1.0
        return self._bases[row // self._group_size] * self._loosening(erasures) * factor

    def _relative(self, row: int, level: float) -> float:
        """How far a smoothed entropy is above the group's threshold, relative to it; 0 where there is none."""
        base = self._bases[row // self._group_size]
        return (level - base) / (base + _EPSILON) if math.isfinite(base) else 0.0

    def _loosening(self, erasures: int) -> float:
        return math.exp(self.erase_penalty * erasures**self.erase_power) if erasures else 1.0

    @property
    def metrics(self) -> Mapping[str, float]:
        """For the log: means over the candidates of a rollout."""
        if not self._seen:
            return {}
        values, limits = zip(*self._seen, strict=True)
        means = {"erase/uncertainty": sum(values) / len(values), "erase/threshold": sum(limits) / len(limits)}
        return {**means, "erase/mean_deviation": self.mean_deviation}

    def state_dict(self) -> dict[str, Any]:
        return {"mean_deviation": self.mean_deviation}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mean_deviation = state["mean_deviation"]


def smoothed_last(means: list[float], window: int, decay: float) -> float:
    """The last mean, smoothed over at most `window` earlier ones with weights decay, decay^2, ..."""
    weights = [decay**distance for distance in range(min(window, len(means) - 1) + 1)]
    return sum(weight * value for weight, value in zip(weights, reversed(means), strict=False)) / sum(weights)


def mean_change(entropy: Tensor) -> float:
    """Mean |H_{t+1} - H_t| within a segment; 0 for one token."""
    return float(entropy.diff().abs().mean()) if len(entropy) > 1 else 0.0
