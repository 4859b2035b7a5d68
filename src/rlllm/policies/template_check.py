"""Check of a chat template: whether the text in training and the text at generation are the same.

In training, prompt and completion are rendered together. At generation the prompt is rendered alone, with the opening of the
assistant's turn, and the completion is appended. A template that strips, reorders or adds text makes the two differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import (
    Completion,
    Conversation,
    LabelledCompletion,
    PreferencePair,
    Prompt,
    Record,
    content_text,
    images_of,
)
from rlllm.policies import chat
from rlllm.policies.turn_masks import common_length

_AROUND = 24
"""Bytes shown on both sides of a difference."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A prompt and its completion."""

    prompt: Prompt
    completion: Completion
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template gets beside the messages."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first byte at which training and generation differ."""

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
    """Text that the template adds after the completion in training; "" where they differ."""
    tokens_same: bool
    """Whether the ids of the prompt at generation begin the ids in training."""
    parted_at: int | None
    """Place of the first token that differs."""

    def findings(self) -> list[str]:
        """The problems, one sentence each."""
        problems = []
        if self.difference:
            problems.append(
                f"training and generation differ at byte {self.difference.byte}: "
                f"{self.difference.training!r} against {self.difference.generation!r}"
            )
        elif not self.tokens_same:
            problems.append(
                f"the same text, but other tokens from token {self.parted_at} on: they merge across the boundary"
            )
        return problems


def turns_of(record: Record) -> Mapping[str, Turn]:
    """Sequence name to prompt and completion, of records whose completions a model could have written."""
    if isinstance(record, PreferencePair):
        sides = {"chosen": record.chosen, "rejected": record.rejected, "reference": record.meta.get("reference")}
        arguments = chat.template_arguments(record.meta)
        return {name: Turn(record.prompt, side, arguments) for name, side in sides.items() if side is not None}
    if isinstance(record, Conversation | LabelledCompletion) and record.prompt:
        return {"text": Turn(record.prompt, record.completion, chat.template_arguments(record.meta))}
    return {}


def check_template(tokenizer: Any, turn: Turn, ids: list[int]) -> TemplateCheck:
    """Compare the two renderings of a turn, and the trainer's ids with those of the prompt at generation.

    Args:
        tokenizer: the model's.
        turn: the prompt and the completion.
        ids: the full sequence of the trainer.
    """
    training, generation = rendered(tokenizer, turn)
    at = _first_difference(training.encode(), generation.encode())
    (prompt,) = chat.encode_prompts(tokenizer, [turn.prompt], [turn.arguments])
    parted = next((i for i, token in enumerate(prompt) if i >= len(ids) or ids[i] != token), None)
    return TemplateCheck(
        same=at is None,
        difference=None if at is None else Difference(at, *(_around(text, at) for text in (training, generation))),
        added=training[len(generation) :] if at is None else "",
        tokens_same=parted is None,
        parted_at=parted,
    )


def template_findings(tokenizer: Any, records: Iterable[Record], stops: Collection[int], *, writes: bool) -> list[str]:
    """What the chat template does to the rows that should not be trained on unseen, one sentence a kind, with both texts.

    Args:
        tokenizer: the model's.
        records: rows to look at.
        stops: tokens that end a completion.
        writes: whether the model learns to write the completions; False where it learns to score them.

    Returns:
        Sentences about the first row of each kind; empty where training and generation agree.

    Raises:
        DataError: the template refuses a row.
    """
    from jinja2 import TemplateError

    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    rows = 0
    for row, record in enumerate(records, start=1):
        turns = turns_of(record)
        try:
            kinds = [kind for turn in turns.values() for kind in _kinds(tokenizer, turn, stops, writes)]
        except TemplateError as error:
            raise refused_row(row, record, error) from error
        rows += bool(turns)
        for kind, text in dict(reversed(kinds)).items():
            counts[kind] += 1
            first.setdefault(kind, f"row {row}: {text}")
    return [f"{kind} ({count:,} of the first {rows:,} rows); {first[kind]}" for kind, count in counts.items()]


def refused_row(row: int, record: Record, error: Exception) -> DataError:
    """The error for a row that the chat template refuses."""
    return DataError(
        f"the chat template refuses row {row}: {error}",
        given=str(record.prompt)[:200],
        hint="leave out what it does not take, such as a system message, or take another model or template",
    )


def _kinds(tokenizer: Any, turn: Turn, stops: Collection[int], writes: bool) -> list[tuple[str, str]]:
    """Problems of a turn as (kind, both texts)."""
    training, generation = rendered(tokenizer, turn)
    at = _first_difference(training.encode(), generation.encode())
    contents = _contents(turn.completion)
    lost = next((content for content in contents if content.strip() not in training), None)
    if lost is not None:
        return [("the chat template changes the completion", f"{_short(lost)} becomes {_around(training, at or 0)!r}")]
    if not writes or not chat.is_chat(tokenizer):
        return []
    if at is not None and all(content.strip() == content for content in contents):
        texts = f"{_around(training, at)!r} in training, {_around(generation, at)!r} at generation"
        return [("the chat template renders the prompt of training and of generation differently", texts)]
    last = contents[-1] if contents else ""
    behind = training.rpartition(last.strip())[2] if last else training
    ids = tokenizer(behind, add_special_tokens=False)["input_ids"]
    if not set(ids) & set(stops):
        text = f"{_short(last)} is followed by {behind!r}"
        return [("the chat template writes no end token behind the completion: the model does not learn to stop", text)]
    return _merged_tokens(tokenizer, turn, training)


def _contents(completion: Completion) -> list[str]:
    """The texts of a completion that a template is to write as they are; white space alone is none."""
    texts = [completion] if isinstance(completion, str) else [message.get("content") for message in completion]
    return [text for text in texts if isinstance(text, str) and text.strip()]


def _merged_tokens(tokenizer: Any, turn: Turn, training: str) -> list[tuple[str, str]]:
    if images_of(turn.prompt):
        return []  # a processor makes the tokens of prompt and completion apart
    (prompt,) = chat.encode_prompts(tokenizer, [turn.prompt], [_meta(turn)])
    ids = tokenizer(training, add_special_tokens=False)["input_ids"]
    if ids[: len(prompt)] == prompt:
        return []
    at = next((place for place, token in enumerate(prompt) if ids[place : place + 1] != [token]), len(prompt))
    texts = f"{tokenizer.decode(ids[at : at + 2])!r} in training, {tokenizer.decode(prompt[at:])!r} at generation"
    return [("prompt and completion merge into tokens that generation never has", texts)]


def _meta(turn: Turn) -> dict[str, Any]:
    """The columns of a record by which `encode_prompts` gives the template the turn's arguments."""
    own = dict(turn.arguments)
    tools = own.pop("tools", None)
    return {"chat_template_kwargs": own, **({"tools": tools} if tools else {})}


def _short(text: str) -> str:
    return repr(text if len(text) <= 2 * _AROUND else text[: 2 * _AROUND] + "...")


def rendered(tokenizer: Any, turn: Turn) -> tuple[str, str]:
    """The text in training and the text at generation, under the one chat rule.

    Of a completion with tool calls or reasoning only the prompt is compared: its text is what the template makes of it.
    """
    prompt, completion = chat.as_prompt(tokenizer, turn.prompt), chat.as_completion(tokenizer, turn.completion)
    if isinstance(prompt, str) or isinstance(completion, str):
        return str(prompt) + str(completion), str(prompt) + str(completion)
    training = tokenizer.apply_chat_template([*prompt, *completion], tokenize=False, **turn.arguments)
    opened = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False, **turn.arguments)
    plain = len(completion) == 1 and not completion[0].keys() - {"role", "content"}
    said = content_text(completion[0]["content"]) if plain else training[common_length(opened, training) :]
    return training, opened + said


def _first_difference(training: bytes, generation: bytes) -> int | None:
    """The first byte at which `generation` is not a beginning of `training`; None if it is one."""
    if training.startswith(generation):
        return None
    pairs = zip(training, generation, strict=False)
    return next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(training), len(generation)))


def doubled_bos(tokenizer: Any, ids: list[int]) -> list[str]:
    """The problem of a sequence that begins with two beginning-of-sequence tokens, as a sentence; empty where it has none."""
    start = tokenizer.bos_token_id
    if start is not None and ids[:2] == [start, start]:
        return [
            f"the beginning-of-sequence token {tokenizer.bos_token} stands there twice: template and tokenizer add it"
        ]
    return []


def _around(text: str, at: int) -> str:
    data = text.encode()
    return data[max(at - _AROUND, 0) : at + _AROUND].decode(errors="replace")
