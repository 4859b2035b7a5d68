"""Controls of `rlllm reason`: rewards that make no sense, to compare the true reward with (ablations of the reward)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlllm.rewards.config import RewardSpec

Specs = list[RewardSpec]


@dataclass(frozen=True, slots=True)
class Control:
    """A run whose reward is replaced, or whose weights are frozen.

    Args:
        phrase: what is compared with, as it ends the sentence "the true reward adds ... over".
        rewards: true rewards, hit rate, seed -> the rewards of the control.
        trainer: TRL settings it overrides.
        advantage: fields of the advantage that it sets, for an advantage that has all of them.
        sampled_afresh: measure the end with other random numbers than the start; the same would show unmoved weights
            without the noise of sampling, which every other run has.
    """

    phrase: str
    rewards: Callable[[Specs, float, int], Specs]
    trainer: Mapping[str, Any] = field(default_factory=dict)
    advantage: Mapping[str, Any] = field(default_factory=dict)
    sampled_afresh: bool = False


def _random_rewards(specs: Specs, hit_rate: float, seed: int) -> Specs:
    """A coin in place of all that pays (Shao et al. 2025, arXiv 2506.10947)."""
    return [*monitored(specs), RewardSpec(name="random", weight=specs[0].weight, params={"p": hit_rate, "seed": seed})]


def _format_reward(specs: Specs, hit_rate: float, seed: int) -> Specs:
    """Only the form pays: the recipe's own format rewards, or one in the first reward's place."""
    own = [spec if spec.name == "format" else muted for spec, muted in zip(specs, monitored(specs), strict=True)]
    own[0] = monitored(specs)[0]
    added = [] if any(spec.weight for spec in own) else [RewardSpec(name="format", weight=specs[0].weight)]
    return own + added


def _flipped_reward(specs: Specs, hit_rate: float, seed: int) -> Specs:
    """1 minus the first reward; the others pay as before."""
    true, others = specs[0], specs[1:]
    inner = true.model_dump(exclude={"weight"})
    return [*monitored([true]), RewardSpec(name="flipped", weight=true.weight, params={"reward": inner}), *others]


def _true_rewards(specs: Specs, hit_rate: float, seed: int) -> Specs:
    """The rewards as they are."""
    return specs


def monitored(specs: Sequence[RewardSpec]) -> Specs:
    """The rewards with weight 0: scored, but not trained on."""
    return [spec.model_copy(update={"weight": 0.0}) for spec in specs]


CONTROLS = {
    "random": Control("random rewards", _random_rewards),
    "format": Control("the format reward alone", _format_reward),
    "flipped": Control("flipped rewards", _flipped_reward),
    "frozen": Control("frozen weights", _true_rewards, {"learning_rate": 0.0}, sampled_afresh=True),
    "random-thought": Control("thoughts of other positions", _true_rewards, advantage={"thoughts": "others"}),
}
"""Name to control, as `--controls` takes them."""
TRUE = "true"
"""Name of the run with the rewards as given."""
