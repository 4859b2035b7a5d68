"""How a recipe names a reward: its name, weight, deadline and arguments. `composition.build` loads it."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import Field

from rlllm.core.config import PartSpec

SandboxPlace = Annotated[str, Field(pattern=r"^(full|none|https?://\S+)$")]
"""Where programs that a model wrote run: on this machine (`full`, `none`), or on a server of SandboxFusion's protocol."""

DEADLINE = 30.0
"""Seconds for one sample, where a reward that does not ship with rlllm has no deadline of its own."""
_WEIGHTED = re.compile(r"(.+?)[:=](-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)")
"""`format:0.1` and `format=0.1`: no attribute of a module begins with a digit, so this is never `file.py:function`."""


class RewardSpec(PartSpec):
    """One reward of a recipe: `exact`, `format:0.1`, or `{name: length, weight: 0.1, budget: 40}`."""

    noun: ClassVar[str] = "reward"
    name: str
    """A name from `rlllm rewards ls`, `path/to/file.py:function`, or `package.module:attribute`."""
    weight: float = Field(default=1.0, allow_inf_nan=False)
    """Factor in the sum of rewards. Negative punishes; 0 only logs."""
    deadline: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Seconds for one sample, after which it has no score; a batch scored in one call gets as many times more as it has
    samples. A reward with a deadline runs in a process of its own. 0 sets none. By default rewards that ship with rlllm have
    none (regex and schema 5 s), and any other has 30 s."""

    @classmethod
    def of_text(cls, text: str) -> dict[str, Any]:
        weighted = _WEIGHTED.fullmatch(text)
        return {"name": weighted[1], "weight": float(weighted[2])} if weighted else {"name": text}
