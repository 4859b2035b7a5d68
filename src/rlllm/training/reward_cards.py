"""Reward cards: the results of the reward bench, where they are stored, and what a run requires of them.

    runs/reward-cards/exact-1b2c3d4e.json    the newest card of this reward with these arguments

A card holds the hash of the reward's code, arguments and model. Once that differs, the card is stale. A run shows the cards of
the rewards that it trains on; with `require_card` it does not start without.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rlllm.core.errors import ConfigError
from rlllm.core.events import ProgressCallback
from rlllm.core.runs import RUNS, read_json, write_json
from rlllm.rewards.bench.reward_hash import code_key, identity
from rlllm.rewards.config import RewardSpec
from rlllm.training.plan import Plan, RLPlan
from rlllm.training.reward_specs import chosen_rewards
from rlllm.training.rl_settings import RLSettings

if TYPE_CHECKING:
    from rlllm.training.reward_findings import Card

RLConfigT = TypeVar("RLConfigT", bound=RLSettings)
FOLDER = RUNS / "reward-cards"


def save(card: Card, spec: RewardSpec) -> Path:
    """Write the card where runs in this folder look for it; an earlier one of the same reward is replaced."""
    path = _path_of(spec)
    try:
        write_json(path, card.to_json())
    except OSError as error:
        raise ConfigError(f"the card cannot be written: {error.strerror}", given=path) from error
    return path


def _path_of(spec: RewardSpec) -> Path:
    """Where the card of a reward with these arguments lies."""
    name = re.sub(r"[^\w.-]+", "-", spec.name.rpartition(":")[2] or spec.name)[:60]
    return FOLDER / f"{name}-{identity(spec)[:8]}.json"


def find(spec: RewardSpec) -> dict[str, Any] | None:
    """The card of a reward with these arguments, stale or not; None if there is none that can be read."""
    try:
        card = read_json(_path_of(spec))
    except (OSError, ValueError):
        return None
    return card if isinstance(card, dict) and {"key", "ok", "n"} <= card.keys() else None


def _is_stale(card: Mapping[str, Any], spec: RewardSpec) -> bool:
    """Whether the reward has changed since."""
    return card["key"] != code_key(spec)


def with_cards(plan: RLPlan[RLConfigT], specs: Sequence[RewardSpec]) -> RLPlan[RLConfigT]:
    """The plan with a line for each card that its rewards have.

    Args:
        plan: with its rewards.
        specs: the rewards as given; none for the data source's own.

    Raises:
        ConfigError: `require_card` is set, and the card of a reward that trains is missing, stale or failed.
    """
    specs = chosen_rewards(specs, plan.loaded, plan.config.sandbox)
    if plan.config.require_card:
        _demand(specs, plan.config.data.name)
    return replace(plan, cards=tuple(_summaries(specs)))


def _summaries(specs: Sequence[RewardSpec]) -> Iterator[str]:
    """One line for each reward that trains and has a card."""
    for spec in specs:
        card = find(spec) if spec.weight else None
        if card:
            yield f"{spec.name}: {'STALE, its code has changed since: ' if _is_stale(card, spec) else ''}{summary(card)}"


def summary(card: Mapping[str, Any]) -> str:
    """The card in a line."""
    shares = [
        f"{label} {card[name]['estimate']:.3f}"
        for name, label in (("precision", "precision"), ("recall", "recall"), ("as_stated", "scores as stated"))
        if card.get(name)
    ]
    troubles = [f"{card[name]} {name}" for name in ("errors", "changed") if card.get(name)]
    verdict = "passes" if card["ok"] else "FAILS"
    return ", ".join([f"{verdict} on {card['n']} cases", *shares, *troubles])


def announce(plan: Plan[Any], progress: ProgressCallback) -> None:
    """Report what the cards of a run's rewards say."""
    for line in plan.cards:
        progress.note(f"reward card: {line}")


def _demand(specs: Sequence[RewardSpec], data: str) -> None:
    """Refuse a reward that trains and has no card, a stale one, or one that it failed.

    Args:
        specs: the rewards of a run.
        data: what the run trains on, to test a reward on that brings no cases.

    Raises:
        ConfigError: with the command that makes the card.
    """
    from rlllm.rewards.bench.cases import shipped

    for spec in specs:
        if not spec.weight:
            continue
        card = find(spec)
        if card is None:
            fault = "has no card"
        elif _is_stale(card, spec):
            fault = "has changed since its card was made"
        elif not card["ok"]:
            fault = f"did not pass its bench: {'; '.join(card.get('reasons', []))}"
        else:
            continue
        own = shipped(spec.name, spec.params) is not None
        command = f"rlllm rewards test {typed(spec)}" + ("" if own else f" --data {shlex.quote(data)}")
        raise ConfigError(f"the reward {spec.name} {fault}", given="require_card=true", hint=command)


def typed(spec: RewardSpec) -> str:
    """The reward as it is typed in a shell."""
    return shlex.quote(json.dumps({"name": spec.name, **spec.params}) if spec.params else spec.name)
