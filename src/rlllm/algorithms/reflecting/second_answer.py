"""The component `second-answer` of the slot `reflect`: which text stands between two answers."""

from __future__ import annotations

from dataclasses import dataclass

from rlllm.algorithms.protocols import Reflection
from rlllm.core.errors import ConfigError


@dataclass(frozen=True)
class SecondAnswer(Reflection):
    """One fixed text, the same behind every answer.

    Args:
        text: what the user says, where the tokenizer has a chat template; else lines behind the first answer.
    """

    text: str = "Check whether face and voice agree, then answer again."

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ConfigError(
                "reflect second-answer: a text that asks again is needed",
                given=f"text={self.text!r}",
                hint="leave it out",
            )
