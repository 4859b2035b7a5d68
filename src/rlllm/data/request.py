"""What a dataset callable is asked for. The contract between the loader and every source that makes rows in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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


DatasetSource = Callable[[DataRequest], Iterable[Mapping[str, Any] | Record]]
"""A dataset plugin: gives records, or mappings that go through the same column adapter as the rows of a file."""
