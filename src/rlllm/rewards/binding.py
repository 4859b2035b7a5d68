"""Binding: from a reward's name and arguments to a `BoundReward`. Every mistake is reported before a model loads.

A reward is a class whose instances are called with a `Sample` (its constructor takes the arguments), or a plain function
`(sample, **arguments)`. Either may offer `score_batch(samples)` instead, which then is used. All of them may be `async def`.

A function or class written for TRL, verl, OpenRLHF, ms-swift or verifiers is recognised by its parameters (`other_tools`).

A reward that wraps other rewards declares which of its parameters name one:

    inner_rewards = {"reward": "exact"}   # parameter -> the reward's name where none is given; None: it must be given

The binder binds each of these specs first and passes the `BoundReward` in its place.

A reward may declare whether it verifies, as an attribute of the class or function: `verifies = True` where its score says
that a completion is right, `verifies = False` where it only shapes (format, length, repetition). By it a run finds the reward
that samplers judge groups by (`Composition.group_filter`). With `needs_answer = True` it says that it can judge no row without
an answer; a run on data without any is then refused when it is planned.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rlllm.core.argument_types import converted
from rlllm.core.errors import ConfigError, PluginError, RlllmError, closest
from rlllm.core.plugin_errors import PluginPlace, plugin_boundary, public_attributes
from rlllm.core.python_source import module_tree
from rlllm.core.records import Sample, fingerprint
from rlllm.core.registry import imported_modules
from rlllm.rewards.bound import BoundReward
from rlllm.rewards.config import DEADLINE, RewardSpec
from rlllm.rewards.other_tools import FORMS, Convention, adapted, convention_of
from rlllm.rewards.registry import REWARDS


def bind(spec: RewardSpec, name: str) -> BoundReward:
    """Load the reward of a spec and give it its arguments.

    Args:
        name: display name of the bound reward.

    Raises:
        ConfigError: unknown name, a file that does not import, an argument it does not take or of the wrong type.
        PluginError: an installed plugin that does not load, or is no reward.
    """
    target = REWARDS.load(spec.name)
    if not callable(target):
        raise _no_reward(spec, f"it is of type {type(target).__name__} and cannot be called")
    convention = None if spec.name in REWARDS.builtins else convention_of(target)
    if convention is None:
        inner_specs = inner_reward_specs(spec, target)
        arguments = _checked_arguments(spec, target, inner_specs)
        inner = {parameter: bind(inner_spec, inner_spec.name) for parameter, inner_spec in inner_specs.items()}
        reward = _with_arguments(spec, target, {**arguments, **inner})
    else:
        inner, reward = {}, _of_another_tool(spec, target, convention)
    score_batch = getattr(reward, "score_batch", None)
    if score_batch is None and not callable(reward):
        raise _no_reward(spec, "its instances have neither __call__ nor score_batch")
    if spec.name not in REWARDS.builtins and convention is None:
        _check_fields(spec, reward)
    deadline, concurrency = _deadline(spec, reward), 1
    if _is_async(score_batch or reward):
        score_batch, concurrency = _awaited(reward, score_batch, deadline)
    return BoundReward(
        name=name,
        weight=spec.weight,
        score_sample=reward if score_batch is None else None,
        score_batch=score_batch,
        fingerprint=fingerprint(
            [_source(target, spec), spec.params, spec.weight, *(part.fingerprint for part in inner.values())]
        ),
        target=reward,
        release=getattr(reward, "release", None),
        deadline=deadline,
        concurrency=concurrency,
        verifies=_verifies(spec, target),
        needs_answer=any(
            (getattr(target, "needs_answer", False) is True, *(part.needs_answer for part in inner.values()))
        ),
        convention=convention.tool if convention else None,
    )


def inner_reward_specs(spec: RewardSpec, target: Any) -> dict[str, RewardSpec]:
    """The rewards that a reward wraps, by the parameter that names each.

    Args:
        target: the class or function behind the spec's name.

    Raises:
        ConfigError: a value that does not name a reward.
    """
    declared: Mapping[str, str | None] = getattr(target, "inner_rewards", {})
    specs = {}
    for parameter, default in declared.items():
        value = spec.params.get(parameter, default)
        if value is not None:
            specs[parameter] = value if isinstance(value, RewardSpec) else RewardSpec.checked(value)
    return specs


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


def _with_arguments(spec: RewardSpec, target: Any, arguments: Mapping[str, Any]) -> Any:
    """The function with its arguments, or an instance of the class."""
    if not isinstance(target, type):
        return partial(target, **arguments) if arguments else target
    with plugin_boundary(
        "reward",
        spec.name,
        target,
        error_type=ConfigError,
        phrase="does not take these arguments:",
        given=spec.params or None,
    ):
        return target(**arguments)


def _of_another_tool(spec: RewardSpec, target: Any, convention: Convention) -> Any:
    """A function or class written for another tool, as rlllm calls it."""
    phrase = "does not take these arguments:"
    with plugin_boundary("reward", spec.name, target, error_type=ConfigError, phrase=phrase, given=spec.params or None):
        return adapted(spec.name, target, convention, spec.params)


def _is_async(function: Any) -> bool:
    """Whether calling this gives something to await: an `async def`, or an object whose `__call__` is one."""
    return any(map(inspect.iscoroutinefunction, (function, getattr(function, "__call__", None))))  # noqa: B004


def _awaited(reward: Any, score_batch: Any, deadline: float | None) -> tuple[Callable[[Sequence[Sample]], Any], int]:
    """An async reward as a synchronous one of batches, and how many samples it awaits at once."""
    from rlllm.rewards.isolation.concurrency import CONCURRENT_SAMPLES, AsyncBatchReward, ConcurrentReward

    if score_batch is None:
        return ConcurrentReward(reward, deadline).score_batch, CONCURRENT_SAMPLES
    return AsyncBatchReward(score_batch).score_batch, 1


def _deadline(spec: RewardSpec, reward: Any) -> float | None:
    """Seconds for one sample; None for no limit. One that ships with rlllm may declare its own as the attribute `deadline`."""
    seconds = spec.deadline
    if seconds is None:
        seconds = getattr(reward, "deadline", None) if spec.name in REWARDS.builtins else DEADLINE
    return seconds or None


def _verifies(spec: RewardSpec, target: Any) -> bool | None:
    """What the class or function declares as `verifies`. Raises ConfigError for anything but True and False."""
    value = getattr(target, "verifies", None)
    if value is None or isinstance(value, bool):
        return value
    raise ConfigError(
        f"the reward {spec.name} declares verifies, which is True or False",
        given=repr(value),
        hint="verifies = True where the score says that a completion is right, False where it only shapes",
    )


def _no_reward(spec: RewardSpec, why: str) -> RlllmError:
    owner = next((entry.origin for entry in REWARDS.entries() if entry.name == spec.name), None)
    error = PluginError if owner else ConfigError
    return error(
        f"{spec.name} is no reward: {why}",
        given=f"{spec.name} of {owner}" if owner else None,
        hint="a reward is called with one sample and returns a number",
    )


def _checked_arguments(spec: RewardSpec, target: Any, inner_specs: Mapping[str, RewardSpec]) -> dict[str, Any]:
    """The arguments but for inner rewards, converted to the declared types, after a check that the call would work."""
    own = {key: value for key, value in spec.params.items() if key not in inner_specs}
    sample = [] if isinstance(target, type) else [Sample("", "")]
    signature = _signature(target)
    if signature is None:
        return own
    parameters = list(signature.parameters.values())[len(sample) :]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for key in spec.params:
            if key not in names:
                raise _unknown_argument(spec, key, names)
    try:
        signature.bind(*sample, **own, **inner_specs)
    except TypeError as error:
        form = ", ".join([f"name: {spec.name}", *(f"{name}: ..." for name in names)])
        hint = f"write {{{form}}}" if names else "a reward takes one sample: def reward(sample): ..."
        forms = () if spec.name in REWARDS.builtins else FORMS
        raise ConfigError(
            f"the reward {spec.name}: {error}", given=spec.params or None, exists=forms, hint=hint
        ) from error
    return converted(target, own, f"the reward {spec.name}")


def _check_fields(spec: RewardSpec, reward: Any) -> None:
    """Check that the function which scores one sample reads no field that a `Sample` lacks. Reads its source; calls nothing,
    since a first call may load a model.

    Raises:
        ConfigError: it reads another field.
    """
    function: Any = reward.func if isinstance(reward, partial) else reward
    function = function if inspect.isroutine(function) else type(function).__call__
    try:
        lines, first_line = inspect.getsourcelines(function)
        definition = module_tree(textwrap.dedent("".join(lines))).body[0]
    except (OSError, TypeError, SyntaxError, ValueError):  # no source, or a lambda in the middle of an expression
        return
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    names = [node for node in ast.walk(definition) if isinstance(node, ast.Name)]
    parameters = [argument.arg for argument in (*definition.args.posonlyargs, *definition.args.args)]
    parameter = next((name for name in parameters if name != "self"), None)
    if any(node.id == parameter and not isinstance(node.ctx, ast.Load) for node in names):
        return  # the name comes to stand for something else
    fields = public_attributes(Sample)
    for node in ast.walk(definition):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == parameter:
            if node.attr in fields or node.attr.startswith("_"):
                continue
            near = closest(node.attr, fields)
            place = PluginPlace(inspect.getsourcefile(function) or spec.name, first_line + node.lineno - 1)
            raise ConfigError(
                f"the reward {spec.name} reads {parameter}.{node.attr}, which no Sample has ({place})",
                exists=fields,
                hint=f"did you mean {near}?" if near else f"columns of the row are in {parameter}.meta",
            )


def _unknown_argument(spec: RewardSpec, key: str, names: list[str]) -> ConfigError:
    valid = [*names, "weight", "deadline"]
    near = closest(key, valid)
    return ConfigError(
        f"the reward {spec.name} takes no argument {key}",
        given=f"{key}: {spec.params[key]}",
        exists=[] if near else valid,
        hint=f"did you mean {near}?" if near else None,
    )


def _signature(target: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):  # some builtins have none
        return None


def _source(target: Any, spec: RewardSpec) -> Any:
    """Text of the whole module, since a reward's helpers change it as much as its own lines do; and of what it imports from
    beside it, where there is any."""
    module = inspect.getmodule(target) or inspect.getmodule(type(target))
    try:
        own = inspect.getsource(module) if module else spec.name
    except (OSError, TypeError):
        return spec.name
    imported = {} if spec.name in REWARDS.builtins else imported_modules(spec.name)
    return [own, imported] if imported else own
