"""Generates `core/trl_fields.json` (`make trl-fields`): TRL's config dataclasses, and the settings of our own losses."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from enum import Enum
from typing import Any

from rlllm.algorithms import _trl
from rlllm.algorithms.preference.settings import LOSS_SETTINGS, field_table
from rlllm.core import trl_fields

_CONFIGS = (
    "SFTConfig",
    "RewardConfig",
    "DPOConfig",
    "KTOConfig",
    "GRPOConfig",
)
_KINDS = {int: "int", float: "float", bool: "bool", str: "str", list: "list", dict: "dict", type(None): "none"}


def tables() -> dict[str, dict[str, dict[str, Any]]]:
    """Config name -> field name -> {"kinds", "default"}, for every init field of each dataclass and each of `LOSS_SETTINGS`."""
    found = {name: _table(getattr(_trl, name)) for name in _CONFIGS}
    losses: dict[str, dict[str, Any]] = {
        name: field_table(loss, found["DPOConfig"]) for name, loss in LOSS_SETTINGS.items()
    }
    return {**found, **losses}


def _table(config: type) -> dict[str, dict[str, Any]]:
    hints = typing.get_type_hints(config)
    return {
        field.name: {"kinds": sorted(_kinds(hints[field.name])), "default": _default(field)}
        for field in dataclasses.fields(config)
        if field.init
    }


def _kinds(hint: Any) -> set[str]:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return set().union(*(_kinds(option) for option in typing.get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"str"}
    return {_KINDS.get(origin or hint, "any")}


def _default(field: dataclasses.Field[Any]) -> Any:
    value = field.default
    if value is dataclasses.MISSING:
        value = None if field.default_factory is dataclasses.MISSING else field.default_factory()
    return value.value if isinstance(value, Enum) else value


def main() -> None:
    text = json.dumps(tables(), indent=1, sort_keys=True, default=str)
    trl_fields.PATH.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {trl_fields.PATH}")


if __name__ == "__main__":
    main()
