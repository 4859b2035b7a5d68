"""Chat templates under test: does a model generate from the text it was trained on?

In training, prompt and completion are rendered together; at generation the prompt is rendered alone, with the opening of the
assistant's turn, and the completion is written behind it. A template that strips, reorders or adds makes the two differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    Prompt,
    Record,
)
from rlllm.policies import chat

_AROUND = 24
"""Bytes shown on both sides of a difference."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A prompt and what is said to it."""

    prompt: Prompt
    completion: str


@dataclass(frozen=True, slots=True)
class Difference:
    """The first byte at which training and generation part."""

    byte: int
    """Counted from 0, in UTF-8."""
    training: str
    """The text in training around that byte."""
    generation: str
    """The text at generation around it."""


@dataclass(frozen=True, slots=True)
class TemplateCheck:
    """Training against generation, for one completion."""

    same: bool
    """Whether generation is a beginning of training, byte by byte."""
    difference: Difference | None
    added: str
    """What the template puts behind the completion in training; "" where they differ."""
    tokens_same: bool
    """Whether the ids of the prompt at generation begin the ids in training."""
    parted_at: int | None
    """Place of the first token that differs."""

    def findings(self) -> list[str]:
        """What is wrong, in words."""
        found = []
        if self.difference:
            found.append(
                f"training and generation differ at byte {self.difference.byte}: "
                f"{self.difference.training!r} against {self.difference.generation!r}"
            )
        elif not self.tokens_same:
            found.append(
                f"the same text, but other tokens from token {self.parted_at} on: they merge across the boundary"
            )
        return found


def turns_of(record: Record) -> Mapping[str, Turn]:
    """Sequence name to prompt and completion, of records whose completions a model could have written."""
    if isinstance(record, PreferencePair):
        sides = {"chosen": record.chosen, "rejected": record.rejected, "reference": record.meta.get("reference")}
        return {name: Turn(record.prompt, text) for name, text in sides.items() if isinstance(text, str)}
    if isinstance(record, Conversation | LabelledCompletion) and record.prompt:
        return {"text": Turn(record.prompt, record.completion)}
    return {}


def check_template(tokenizer: Any, turn: Turn, ids: list[int]) -> TemplateCheck:
    """Compare the two renderings of a turn, and the trainer's ids with those of the prompt at generation.

    Args:
        tokenizer: the model's.
        turn: what was said.
        ids: the whole sequence as the trainer has it.
    """
    training, generation = rendered(tokenizer, turn)
    at = _first_difference(training.encode(), generation.encode())
    (prompt,) = chat.encode_prompts(tokenizer, [turn.prompt])
    parted = next((i for i, token in enumerate(prompt) if i >= len(ids) or ids[i] != token), None)
    return TemplateCheck(
        same=at is None,
        difference=None if at is None else Difference(at, *(_around(text, at) for text in (training, generation))),
        added=training[len(generation) :] if at is None else "",
        tokens_same=parted is None,
        parted_at=parted,
    )


def rendered(tokenizer: Any, turn: Turn) -> tuple[str, str]:
    """The text in training and the text at generation, under the one chat rule."""
    prompt = chat.as_prompt(tokenizer, turn.prompt)
    if isinstance(prompt, str):
        return prompt + turn.completion, prompt + turn.completion
    whole = [*prompt, *chat.as_completion(tokenizer, turn.completion)]
    training = tokenizer.apply_chat_template(whole, tokenize=False)
    opened = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    return training, opened + turn.completion


def _first_difference(training: bytes, generation: bytes) -> int | None:
    """The first byte at which `generation` is not a beginning of `training`; None if it is one."""
    if training.startswith(generation):
        return None
    pairs = zip(training, generation, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(training), len(generation)))


def doubled_marks(tokenizer: Any, ids: list[int]) -> list[str]:
    """What is wrong with the beginning of a sequence, in words."""
    start = tokenizer.bos_token_id
    if start is not None and ids[:2] == [start, start]:
        return [
            f"the beginning-of-sequence token {tokenizer.bos_token} stands there twice: template and tokenizer add it"
        ]
    return []


def _around(text: str, at: int) -> str:
    data = text.encode()
    return data[max(at - _AROUND, 0) : at + _AROUND].decode(errors="replace")
