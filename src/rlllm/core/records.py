"""The values that travel between rooms. Data makes them, rewards and trainers read them; no room needs another's classes.

A prompt is either plain text or a list of chat messages (`{"role": ..., "content": ...}`); see `Prompt`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Message = dict[str, str]
Prompt = str | list[Message]


def prompt_text(prompt: Prompt) -> str:
    """The prompt as a person would read it: plain text, or the contents of the messages."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


@dataclass(frozen=True, slots=True)
class PromptTask:
    """A prompt to be answered, with what a verifier needs to judge the answer. Feeds `reason` and `eval`."""

    prompt: Prompt
    answer: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Every other column of the row; rewards see them."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt and the completion to imitate. Feeds `sft`; an empty prompt means plain text to continue."""

    prompt: Prompt
    completion: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two completions of one prompt, the better one first. Feeds `train-rm` and `align`."""

    prompt: Prompt
    chosen: str
    rejected: str
    margin: float | None = None
    """How much better, in reward units; used by the margin term of the Bradley-Terry loss."""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabelledCompletion:
    """One completion with a thumbs up or down (KTO's data)."""

    prompt: Prompt
    completion: str
    label: bool
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepwiseSolution:
    """A solution cut into steps, each labelled right or wrong (data of process reward models)."""

    prompt: Prompt
    steps: tuple[str, ...]
    labels: tuple[bool, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)


Record = PromptTask | Conversation | PreferencePair | LabelledCompletion | StepwiseSolution
RECORD_TYPES: dict[str, type[Record]] = {
    kind.__name__: kind for kind in (StepwiseSolution, PreferencePair, LabelledCompletion, Conversation, PromptTask)
}
"""All record types by name, the most specific first."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion to be scored: what a reward is given."""

    prompt: Prompt
    completion: str
    answer: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    """The task's other columns."""
    tokens: int | None = None
    """Length of the completion in tokens, where it is known."""
    truncated: bool = False
    """True when the completion hit the length limit before its end-of-sequence token."""


@dataclass(frozen=True, slots=True)
class Score:
    """A reward's answer with its working shown. `value` None means: cannot judge this sample."""

    value: float | None
    parsed: str | None = None
    """What the verifier read out of the completion; shown beside the score in `samples.jsonl`."""
    note: str | None = None


def task_of(record: Any) -> PromptTask:
    """The prompt of any record with one, to be answered anew."""
    if isinstance(record, PromptTask):
        return record
    return PromptTask(record.prompt, answer_of(record.meta), record.meta)


def answer_of(meta: Mapping[str, Any]) -> str | None:
    """The column `answer` of a row as `answer_text` writes it; None where that cannot be done."""
    return answer_text(meta.get("answer"))


def answer_text(value: Any) -> str | None:
    """An answer as text: a number the way a person writes it, `true` or `false`, a list of answers as `{"target": [...]}`.

    A list says that each of its entries is right; one entry stands for itself, and Search-R1's `{"target": [...]}` is such a
    list. None for anything else (null, NaN, infinity, an empty list, a list of lists, other objects).
    """
    if isinstance(value, Mapping) and set(value) == {"target"}:
        value = value["target"]
    if isinstance(value, list | tuple):
        entries = [answer_text(entry) for entry in value if not isinstance(entry, list | tuple | Mapping)]
        texts = [entry for entry in entries if entry is not None and entry.strip()]
        if not texts or len(texts) < len(value):
            return None
        return texts[0] if len(texts) == 1 else json.dumps({"target": texts}, ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return (str(int(value)) if value.is_integer() else str(value)) if math.isfinite(value) else None
    return str(value) if isinstance(value, str | int) else None


def accepted_answers(answer: str) -> list[str]:
    """The answers that a reference accepts: the entries of `{"target": [...]}`, or else the text itself."""
    if answer.lstrip().startswith('{"target"'):
        try:
            targets = json.loads(answer)["target"]
        except (ValueError, TypeError, KeyError):
            return [answer]
        entries = targets if isinstance(targets, list) else [targets]
        return [text for entry in entries if (text := answer_text(entry))] or [answer]
    return [answer]


def fingerprint(value: object) -> str:
    """A short content hash (16 hex digits of SHA-256) of anything JSON can carry; key order does not matter."""
    text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def record_hash(record: Record) -> str:
    """Content hash of one record, `meta` included."""
    return fingerprint({"type": type(record).__name__, **asdict(record)})
