"""How a recipe names a reward. Naming imports nothing; `compose.build` turns names into callables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError

_WEIGHTED = re.compile(r"(.+?)[:=](-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)")
"""`format:0.1` and `format=0.1`: no attribute of a module begins with a digit, so this is never `file.py:function`."""


class RewardSpec(Section):
    """One reward of a recipe: `exact`, `format:0.1`, or `{name: length, weight: 0.1, budget: 40}`."""

    name: str
    """A name from `rlllm rewards ls`, `path/to/file.py:function`, or `package.module:attribute`."""
    weight: float = Field(default=1.0, allow_inf_nan=False)
    """Factor in the sum of rewards. Negative punishes; 0 only logs."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the reward; every other key of the mapping form lands here."""

    @model_validator(mode="before")
    @classmethod
    def _gather_params(cls, value: Any) -> Any:
        if isinstance(value, str):
            weighted = _WEIGHTED.fullmatch(value)
            return {"name": weighted[1], "weight": float(weighted[2])} if weighted else {"name": value}
        if not isinstance(value, Mapping):
            return value
        own = {key: item for key, item in value.items() if key in cls.model_fields}
        extra = {key: item for key, item in value.items() if key not in cls.model_fields}
        given = own.get("params") or {}
        if not extra or not isinstance(given, Mapping):
            return own
        twice = sorted(extra.keys() & given.keys())
        if twice:
            raise ConfigError(f"reward {own.get('name')}: {twice[0]} is given twice", hint="leave out params")
        return {**own, "params": {**given, **extra}}
