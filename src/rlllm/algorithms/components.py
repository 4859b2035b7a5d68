"""From the name of a slot component to the component: looked up, given its arguments, and checked against its base."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from inspect import signature
from typing import Any, ClassVar

from rlllm.algorithms.protocols import SLOTS as BASES
from rlllm.algorithms.protocols import Component, Loss, as_component
from rlllm.algorithms.registry import SIGNALS, SLOTS
from rlllm.algorithms.signals.base import Signal
from rlllm.core.argument_types import converted
from rlllm.core.config import PartSpec
from rlllm.core.errors import ConfigError, closest, unknown


class SlotSpec(PartSpec):
    """A slot component: `random`, or `{name: random, fraction: 0.2}`."""

    noun: ClassVar[str] = "component"
    name: str = ""
    """A name from `rlllm methods ls --slots`, `path/to/file.py:Component`, or `package.module:Component`. Default: the
    method's own component."""


def known(slot: str, spec: SlotSpec) -> SlotSpec:
    """The spec, if its component exists or is named by a path. Raises UnknownNameError otherwise."""
    if ":" not in spec.name and _key(slot, spec.name) not in SLOTS:
        own = [name.partition(".")[2] for name in SLOTS.names() if name.startswith(f"{slot}.")]
        raise unknown(slot, spec.name, own, list_command="rlllm methods ls --slots")
    return spec


def takes(slot: str, spec: SlotSpec, field: str) -> bool:
    """Whether the component has a field of this name that can be set."""
    return field in _fields(SLOTS.load(_key(slot, spec.name)))


def component(slot: str, spec: SlotSpec) -> Component:
    """The component with its fields set.

    Raises:
        ConfigError: a field that it does not have, or whose value it cannot take; a class that is no component of the slot;
            an attribute that its base does not declare.
    """
    target = SLOTS.load(_key(slot, spec.name))
    if not callable(target):
        raise ConfigError(f"{slot} {spec.name} cannot be called", given=repr(target), hint="name a class or a function")
    if isinstance(target, type):
        _check_class(slot, spec.name, target)
        return _filled(slot, spec, target, converted(target, spec.params, f"{slot} {spec.name}"))
    wrapper = {name: spec.params[name] for name in _WRAPPER_FIELDS.get(slot, ()) if name in spec.params}
    own = {name: value for name, value in spec.params.items() if name not in wrapper}
    function = _filled(slot, spec, target, converted(target, own, f"{slot} {spec.name}"))
    try:
        return as_component(slot, function, **wrapper)
    except TypeError as error:
        raise ConfigError(
            f"{slot} {spec.name} is no component: {error}",
            hint=f"name a function, or a subclass of rlllm.plugins.{BASES[slot].__name__}",
        ) from error


_WRAPPER_FIELDS: Mapping[str, tuple[str, ...]] = {"loss": ("aggregation",)}
"""Slot -> fields of the object that wraps a plain function."""


def signals_of(components: Mapping[str, Component]) -> dict[str, Signal]:
    """Name -> signal, of every signal that these components need; the same name is computed once.

    Raises:
        UnknownNameError: no signal has this name.
        ConfigError: two components need signals of one name with different parameters, or something that is no signal.
    """
    signals: dict[str, Signal] = {}
    for slot, part in components.items():
        for need in part.needs:
            signal = _signal(need) if isinstance(need, str) else need
            if not isinstance(signal, Signal) or not signal.name:
                raise ConfigError(
                    f"the {slot} needs something that is no signal",
                    given=repr(need),
                    exists=SIGNALS.names(),
                    hint="needs holds names of signals, or objects of a subclass of rlllm.plugins.Signal with a name",
                )
            before = signals.setdefault(signal.name, signal)
            if type(before) is not type(signal) or vars(before) != vars(signal):
                raise ConfigError(
                    f"two components need the signal {signal.name} with different parameters",
                    given=f"{before} and {signal}",
                    hint="give one of them another name",
                )
    return signals


def _signal(name: str) -> Signal:
    target = SIGNALS.load(name)
    return target() if isinstance(target, type) else target


def _key(slot: str, name: str) -> str:
    return name if ":" in name else f"{slot}.{name}"


def _fields(target: Any) -> list[str]:
    return [field.name for field in fields(target) if field.init] if is_dataclass(target) else []


def _filled(slot: str, spec: SlotSpec, target: Any, arguments: Mapping[str, Any]) -> Any:
    """The class called, or the function bound, with these arguments."""
    try:
        return target(**arguments) if isinstance(target, type) else _bound(target, arguments)
    except TypeError as error:
        own = _fields(target)
        near = [word for name in spec.params if name not in own and (word := closest(name, own))]
        other = None if own else f"leave them out, or name a component that does: {slot}=NAME"
        raise ConfigError(
            f"{slot} {spec.name} does not take these fields: {str(error).rpartition('() ')[2]}",
            given=", ".join(f"{name}={value}" for name, value in spec.params.items()) or None,
            exists=own,
            hint=f"did you mean {near[0]}?" if near else other,
        ) from error


def _bound(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """The function with these arguments given. Raises TypeError for one it does not take."""
    signature(function).bind_partial(**arguments)
    return partial(function, **arguments) if arguments else function


def _check_class(slot: str, name: str, target: type) -> None:
    """Raise ConfigError unless the class is a component of the slot and declares nothing that its base does not know."""
    base = BASES[slot]
    if not issubclass(target, base):
        raise ConfigError(
            f"{slot} {name} is a class that is no {base.__name__}",
            given=f"class {target.__name__}({', '.join(parent.__name__ for parent in target.__bases__)})",
            hint=f"from rlllm.plugins import {_base_name(slot)}; class {target.__name__}({_base_name(slot)})",
        )
    missing = sorted(getattr(target, "__abstractmethods__", ()))
    if missing:
        raise ConfigError(
            f"{slot} {name} does not define {', '.join(missing)}", hint=f"see rlllm.plugins.{_base_name(slot)}"
        )
    declared = [attribute for attribute in dir(base) if not attribute.startswith("_")]
    own: set[str] = {field.name for field in fields(target)} if is_dataclass(target) else set()
    for attribute, value in _public_attributes(target):
        if attribute in declared or attribute in own:
            continue
        helper = callable(value) or isinstance(value, property) or attribute.isupper()
        near = closest(attribute, declared, cutoff=0.8 if helper else 0.6)
        if near or not helper:
            raise ConfigError(
                f"{slot} {name} declares {attribute}, which no {base.__name__} has",
                exists=declared,
                hint=f"did you mean {near}?" if near else f"name it _{attribute} if it is your own",
            )


def _public_attributes(target: type) -> Iterator[tuple[str, Any]]:
    """Attributes that a class and its bases outside of rlllm define in their bodies."""
    for cls in target.__mro__:
        if cls.__module__.startswith("rlllm.") or cls is object:
            continue
        annotated = set(getattr(cls, "__annotations__", {}))
        for name in [*vars(cls), *(annotated - vars(cls).keys())]:
            if not name.startswith("_"):
                yield name, vars(cls).get(name)


def _base_name(slot: str) -> str:
    return Loss.__name__ if slot == "loss" else BASES[slot].__name__


@dataclass(frozen=True)
class Components:
    """The components of a run, one for each slot that is filled, and the signals they need."""

    by_slot: Mapping[str, Component]
    signals: Mapping[str, Signal]

    @classmethod
    def of(cls, specs: Mapping[str, SlotSpec]) -> Components:
        """The components of these specs. Raises ConfigError as `component` and `signals_of` do."""
        by_slot = {slot: component(slot, spec) for slot, spec in specs.items()}
        return cls(by_slot, signals_of(by_slot))

    def needs(self, *costs: str) -> bool:
        """Whether a signal of one of these costs (`Signal.cost`) is needed."""
        return any(signal.cost in costs for signal in self.signals.values())
