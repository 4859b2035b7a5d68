"""The `regex` reward: the completion matches a regular expression."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score


@dataclass(frozen=True)
class Regex:
    """1 if the completion matches a regular expression, else 0.

    Args:
        pattern: in Python's syntax; start it with `(?s)` to let a dot cross lines.
        full: match the whole completion instead of any part of it.
    """

    pattern: str
    full: bool = False
    deadline: ClassVar[float] = 5.0
    """Seconds for one completion: a pattern such as `(a+)+$` may backtrack for ever, and cannot be interrupted."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(f"regex: not a regular expression: {error}", given=self.pattern) from error

    def __call__(self, sample: Sample) -> Score:
        find = re.fullmatch if self.full else re.search
        match = find(self.pattern, sample.completion)
        return Score(float(match is not None), parsed=match.group() if match else None)
