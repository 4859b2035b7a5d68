"""From a name and its arguments to something that can be called. Every mistake is reported before a model loads.

A reward is a class whose instances are called with a Sample (its constructor takes the arguments), or a plain function
`(sample, **arguments)`. Either may offer `score_batch(samples)` instead, which then is used. All of them may be `async def`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlllm.core.argument_types import converted
from rlllm.core.errors import ConfigError, PluginError, RlllmError, closest, describe
from rlllm.core.records import Sample, fingerprint
from rlllm.rewards.config import DEADLINE, RewardSpec
from rlllm.rewards.registry import REWARDS


@dataclass(frozen=True, slots=True)
class BoundReward:
    """A reward ready to be called. Exactly one of `one` and `many` is set; what they return is not yet checked."""

    name: str
    """Display name, unique within a composition."""
    weight: float
    one: Callable[[Sample], Any] | None
    many: Callable[[Sequence[Sample]], Any] | None
    fingerprint: str
    """Hash of source code, arguments and weight."""
    release: Callable[[], None] | None = None
    """Frees what the reward loaded, where it loads something; it loads again when it is next called."""
    deadline: float | None = None
    """Seconds for one sample; None for a reward that runs in this process and is waited for. See `delivery`."""
    together: int = 1
    """Samples that `many` has under way at once and can also be given one by one; 1 where a batch belongs together."""
    process_id: Callable[[], int | None] = os.getpid
    """Process that the reward runs in; None while there is none."""


def bind(spec: RewardSpec, name: str) -> BoundReward:
    """Load the reward of a spec and give it its arguments.

    Raises:
        ConfigError: unknown name, a file that does not import, an argument it does not take or of the wrong type.
        PluginError: an installed plugin that does not load, or is no reward.
    """
    target = REWARDS.load(spec.name)
    if not callable(target):
        raise _no_reward(spec, f"it is of type {type(target).__name__} and cannot be called")
    arguments = _checked(spec, target)
    if isinstance(target, type):
        reward = _construct(spec, target, arguments)
    else:
        reward = partial(target, **arguments) if arguments else target
    many = getattr(reward, "score_batch", None)
    if many is None and not callable(reward):
        raise _no_reward(spec, "its instances have neither __call__ nor score_batch")
    deadline, together = _deadline(spec, reward), 1
    if _is_async(many or reward):
        many, together = _awaited(reward, many, deadline)
    return BoundReward(
        name=name,
        weight=spec.weight,
        one=reward if many is None else None,
        many=many,
        deadline=deadline,
        together=together,
        fingerprint=fingerprint([_source(target, spec.name), spec.params, spec.weight]),
        release=getattr(reward, "release", None),
    )


def _is_async(function: Any) -> bool:
    """Whether calling this gives something to await: an `async def`, or an object whose `__call__` is one."""
    return any(map(inspect.iscoroutinefunction, (function, getattr(function, "__call__", None))))  # noqa: B004


def _awaited(reward: Any, many: Any, deadline: float | None) -> tuple[Callable[[Sequence[Sample]], Any], int]:
    """An async reward as one of batches, and how many samples it has under way at once."""
    from rlllm.rewards.isolation.awaiting import PARALLEL, Awaited, Gathered

    if many is None:
        return Gathered(reward, deadline).score_batch, PARALLEL
    return Awaited(many).score_batch, 1


def _deadline(spec: RewardSpec, reward: Any) -> float | None:
    """Seconds for one sample; None for no limit. One that ships with rlllm may declare its own as the attribute `deadline`."""
    seconds = spec.deadline
    if seconds is None:
        seconds = getattr(reward, "deadline", None) if spec.name in REWARDS.builtins else DEADLINE
    return seconds or None


def display_names(specs: Sequence[RewardSpec]) -> list[str]:
    """One unique name per spec: the last part of a path, numbered from 2 when it comes again."""
    names: list[str] = []
    for spec in specs:
        base = spec.name.rpartition(":")[2] or spec.name
        name, number = base, 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names


def _no_reward(spec: RewardSpec, why: str) -> RlllmError:
    owner = next((entry.origin for entry in REWARDS.entries() if entry.name == spec.name), None)
    error = PluginError if owner else ConfigError
    return error(
        f"{spec.name} is no reward: {why}",
        given=f"{spec.name} of {owner}" if owner else None,
        hint="a reward is called with one sample and returns a number",
    )


def _construct(spec: RewardSpec, target: type, arguments: Mapping[str, Any]) -> Any:
    try:
        return target(**arguments)
    except RlllmError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the reward {spec.name} does not take these arguments: {describe(error)}", given=spec.params
        ) from error


def _checked(spec: RewardSpec, target: Any) -> dict[str, Any]:
    """The arguments, converted to the types the reward declares, after a check that the call would work."""
    sample = [] if isinstance(target, type) else [Sample("", "")]
    signature = _signature(target)
    if signature is None:
        return dict(spec.params)
    parameters = list(signature.parameters.values())[len(sample) :]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for key in spec.params:
            if key not in names:
                raise _unknown_argument(spec, key, names)
    try:
        signature.bind(*sample, **spec.params)
    except TypeError as error:
        form = ", ".join([f"name: {spec.name}", *(f"{name}: ..." for name in names)])
        hint = f"write {{{form}}}" if names else "a reward takes one sample: def reward(sample): ..."
        raise ConfigError(f"the reward {spec.name}: {error}", given=spec.params or None, hint=hint) from error
    return converted(target, spec.params, f"the reward {spec.name}")


def _unknown_argument(spec: RewardSpec, key: str, names: list[str]) -> ConfigError:
    known = [*names, "weight", "deadline"]
    near = closest(key, known)
    return ConfigError(
        f"the reward {spec.name} takes no argument {key}",
        given=f"{key}: {spec.params[key]}",
        exists=[] if near else known,
        hint=f"did you mean {near}?" if near else None,
    )


def _signature(target: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):  # some builtins have none
        return None


def _source(target: Any, fallback: str) -> str:
    """Text of the whole module: a reward's helpers change it as much as its own lines do."""
    module = inspect.getmodule(target) or inspect.getmodule(type(target))
    try:
        return inspect.getsource(module) if module else fallback
    except (OSError, TypeError):
        return fallback
