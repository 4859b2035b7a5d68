"""`DataRequest`: what a dataset callable is called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rlllm.core.records import PromptTask, Record

Split = Literal["train", "holdout"]


@dataclass(frozen=True, slots=True)
class DataRequest:
    """Rows wanted from a source: of which record type, from which split, how many, and under which seed.

    The same request always gives the same rows, and the two splits of a source share no prompt, whatever their seeds.
    """

    kind: type[Record] = PromptTask
    """Record class to make, one of those in `rlllm.core.records`."""
    split: Split = "train"
    rows: int = 1000
    seed: int = 0
    level: int | None = None
    """Difficulty; None is the source's default tier."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Extra arguments of the source, as written in the recipe's `data.params`."""
    wrapped: Callable[[DataRequest], list[Any]] | None = None
    """Rows of the data set that this one wraps. Set for a dataset with the attribute `wraps`, which names that data set unless
    `params` or the name does (see `rlllm.data.sources.CallableSource`)."""
