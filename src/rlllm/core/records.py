"""The values that travel between rooms. Data makes them, rewards and trainers read them; no room needs another's classes.

A prompt is either plain text or a list of chat messages (`{"role": ..., "content": ...}`); see `Message`. Only messages of a
prompt hold images. A completion is text, or a list with the one message of the assistant where that is more than text:
reasoning, tool calls.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from rlllm.core.images import image_digest

Message = dict[str, Any]
"""`role` (text) and `content`: text, or where it has images a list of parts, `{"type": "text", "text": ...}` and
`{"type": "image", "image": ...}` with a reference that `core.images` opens. An assistant's message may have `reasoning_content`
(text) and `tool_calls` (`{"type": "function", "function": {"name", "arguments"}}`), a tool's `tool_call_id` and `name`. Others
are the row's own."""
Content = str | list[dict[str, Any]]
Prompt = str | list[Message]
Completion = str | list[Message]
REFLECTED = "first_completion"
"""Column of a sample that is a second answer: the text of the first, which the policy gave before it was asked to check it."""
MESSAGE_KEYS = frozenset({"role", "content", "reasoning_content", "tool_calls", "tool_call_id", "name"})
"""Keys of a message that rlllm knows; it hands on the others to the chat template as they are."""
IMAGE_MARK = "[image]"
"""What stands for an image where a prompt is shown as text."""


def prompt_text(prompt: Prompt) -> str:
    """The prompt as a person would read it: plain text, or the contents of the messages."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return message_text(prompt[0])
    return "\n".join(f"{message['role']}: {message_text(message)}" for message in prompt)


def full_text(completion: Completion) -> str:
    """The completion as a person would read it: text, or the reasoning, content and tool calls of its messages."""
    return completion if isinstance(completion, str) else "\n".join(map(message_text, completion))


def message_text(message: Message) -> str:
    """Reasoning, content and tool calls of a message, those that it has, a line break between."""
    calls = [json.dumps(call.get("function", call), ensure_ascii=False) for call in message.get("tool_calls", ())]
    content = content_text(message["content"])
    parts = [message.get("reasoning_content"), content if content or not calls else None, *calls]
    return "\n".join(part for part in parts if part is not None)


def content_text(content: Content) -> str:
    """The text of a message's content, with `[image]` on a line of its own for each image."""
    if isinstance(content, str):
        return content
    return "\n".join(IMAGE_MARK if part["type"] == "image" else part["text"] for part in content)


def images_of(prompt: Prompt) -> list[str]:
    """References of the images of a prompt, in order; empty for plain text."""
    if isinstance(prompt, str):
        return []
    contents = [message["content"] for message in prompt if not isinstance(message["content"], str)]
    return [part["image"] for content in contents for part in content if part["type"] == "image"]


def has_images(records: Iterable[Any]) -> bool:
    """Whether the prompt of any record has an image."""
    return any(images_of(record.prompt) for record in records)


def with_text(message: Message, write: Callable[[str], str]) -> Message:
    """The message with another text, made from its own; of a list of parts, the images stay in place and the text that `write`
    makes of all text parts stands where the last of them stood."""
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": write(content)}
    texts = [place for place, part in enumerate(content) if part["type"] == "text"]
    text = write("\n".join(content[place]["text"] for place in texts))
    last = texts[-1] if texts else len(content)
    before = [part for part in content[:last] if part["type"] == "image"]
    return {**message, "content": [*before, {"type": "text", "text": text}, *content[last + 1 :]]}


def behind_text(message: Message, text: str) -> Message:
    """The message with a text behind its content, no line break between; a part of its own behind an image."""
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": content + text}
    *before, last = content
    if last["type"] == "text":
        return {**message, "content": [*before, {**last, "text": last["text"] + text}]}
    return {**message, "content": [*content, {"type": "text", "text": text.lstrip("\n")}]}


def prompt_key(prompt: Prompt) -> str:
    """A text that tells prompts apart: `prompt_text`, and behind it digests of what the images hold.

    Raises:
        DataError: an image file that is no longer there.
    """
    digests = [image_digest(reference) for reference in images_of(prompt)]
    return "\n".join([prompt_text(prompt), *digests])


def tools_of(meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The descriptions of tools in a record's column `tools`, which the chat template renders; empty where it has none."""
    tools = meta.get("tools")
    described = isinstance(tools, list) and all(isinstance(tool, Mapping) for tool in tools)
    return tools if described and tools else []


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
    completion: Completion
    meta: Mapping[str, Any] = field(default_factory=dict)
    trained_turns: tuple[int, ...] = ()
    """Places in `prompt` of earlier turns of the assistant that are to be imitated as well."""


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two completions of one prompt, the better one first. Feeds `train-rm` and `align`."""

    prompt: Prompt
    chosen: Completion
    rejected: Completion
    margin: float | None = None
    """How much better, in reward units; used by the margin term of the Bradley-Terry loss."""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identical(self) -> bool:
        """Whether both completions are one text, but for white space: such a pair prefers nothing."""
        chosen, rejected = (
            text.split() if isinstance(text, str) else [_without_blanks(turn) for turn in text]
            for text in (self.chosen, self.rejected)
        )
        return bool(chosen == rejected)


def _without_blanks(turn: Any) -> Any:
    """A turn of a conversation whose content is a list of words."""
    if isinstance(turn, Mapping) and isinstance(turn.get("content"), str):
        return {**turn, "content": turn["content"].split()}
    return turn


@dataclass(frozen=True, slots=True)
class LabelledCompletion:
    """One completion with a thumbs up or down (KTO's data)."""

    prompt: Prompt
    completion: Completion
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
    messages: Sequence[Message] = ()
    """The completion as messages, where it is one of a data set with more than text (tool calls, reasoning)."""


@dataclass(frozen=True, slots=True)
class Score:
    """A reward's answer with its working shown. `value` None means: cannot judge this sample."""

    value: float | None
    parsed: str | None = None
    """What the verifier read out of the completion; shown beside the score in `samples.jsonl`."""
    note: str | None = None


def sample_of(prompt: Prompt, completion: Completion, meta: Mapping[str, Any]) -> Sample:
    """A recorded completion, to be scored."""
    messages = () if isinstance(completion, str) else completion
    return Sample(prompt, full_text(completion), meta=meta, messages=messages)


def task_of(record: Any) -> PromptTask:
    """The prompt of any record with one, to be answered anew."""
    if isinstance(record, PromptTask):
        return record
    return PromptTask(record.prompt, answer_of(record.meta), record.meta)


def answer_of(meta: Mapping[str, Any]) -> str | None:
    """The column `answer` of a row as `reference_text` writes it; None where that cannot be done."""
    return reference_text(meta.get("answer"))


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


def reference_text(value: Any) -> str | None:
    """What a row is judged by, as text: `answer_text` of an answer, or the JSON text of objects.

    Objects are the calls of a function-calling data set, the checks of open-instruct, or the tests of a program: a list of
    them, or one that has a name and arguments, or an object in it. None for anything else, such as an answer with its aliases.
    """
    if (text := answer_text(value)) is not None:
        return text
    return json.dumps(value, ensure_ascii=False, default=str) if _is_structured(value) else None


def holds_objects(answer: str) -> bool:
    """Whether a reference is the JSON text of objects, as `reference_text` writes them."""
    if not answer.lstrip().startswith(("{", "[")):
        return False
    try:
        return _is_structured(json.loads(answer))
    except (ValueError, RecursionError):
        return False


def _is_structured(value: Any) -> bool:
    if isinstance(value, Mapping):
        inner = any(isinstance(entry, Mapping) for entry in value.values())
        return set(value) != {"target"} and (inner or {"name", "arguments"} <= value.keys())
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


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


OPTIONAL_FIELDS = frozenset({"trained_turns"})
"""Fields that are left out where a record is stored or hashed without a value in them."""


def stored_fields(record: Record) -> dict[str, Any]:
    """Field name to value of a record as it is stored and hashed; values are not copied."""
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: value for name, value in values.items() if value or name not in OPTIONAL_FIELDS}


def record_hash(record: Record) -> str:
    """Content hash of one record, `meta` included; of an image, what it shows and not where it is.

    Raises:
        DataError: an image file that is no longer there.
    """
    values = stored_fields(record)
    return fingerprint({"type": type(record).__name__, **values, "prompt": hashed_prompt(values["prompt"])})


def hashed_prompt(prompt: Prompt) -> Prompt:
    """The prompt with the digest of each image's content in the place of its reference; itself without images."""
    return [_hashed(message) for message in prompt] if images_of(prompt) else prompt  # type: ignore[arg-type]


def _hashed(message: Message) -> Message:
    content = message["content"]
    if isinstance(content, str):
        return message
    digests = [{**p, "image": image_digest(p["image"])} if p["type"] == "image" else p for p in content]
    return {**message, "content": digests}
