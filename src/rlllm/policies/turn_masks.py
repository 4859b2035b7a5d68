"""Which tokens of a conversation train: the assistant's turns, found in the text that the chat template renders.

A template with `{% generation %}` marks says itself what the assistant wrote. For any other the beginning of a conversation is
rendered up to each turn: a turn is what the whole has more than the prompt before it, with the assistant's turn opened, and no
more than the conversation up to its end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, Message, full_text, images_of
from rlllm.policies import chat
from rlllm.policies.vision import PromptWithImages

Turns = Literal["all", "last", "each"]
_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True, slots=True)
class Tokens:
    """A conversation as token ids, and whether each of them trains."""

    ids: list[int]
    trains: list[bool]
    prompt: PromptWithImages | None = None
    """The prompt, where it has images."""


def with_turns(records: Sequence[Conversation], turns: Turns) -> list[Conversation]:
    """The conversations with the turns that are to train: `all`, the `last` one, or `each` in a row of its own."""
    if turns == "all":
        return list(records)
    shortened = []
    for record in records:
        for place in record.trained_turns if turns == "each" else ():
            turn: Message = list(record.prompt)[place]  # type: ignore[assignment]
            completion = turn["content"] if turn.keys() == {"role", "content"} else [turn]
            shortened.append(Conversation(record.prompt[:place], completion, record.meta))
        shortened.append(Conversation(record.prompt, record.completion, record.meta))
    return shortened


def encode_conversation(tokenizer: Any, record: Conversation) -> Tokens:
    """Token ids and mask of a conversation, under the tokenizer's chat template.

    Raises:
        DataError: the template changes an earlier turn that is to train, so that it is not told apart or not whole.
    """
    if images_of(record.prompt):
        return _encode_with_images(tokenizer, record)
    messages = chat.as_turns(tokenizer, record.prompt, record.completion)
    arguments = chat.template_arguments(record.meta)
    start = len(messages) - 1
    places = [*record.trained_turns, start]
    rendered = _Rendered(tokenizer, messages, arguments)
    spans = rendered.marked(places) or [rendered.turn(place) for place in places]
    trains = [False] * len(rendered.ids)
    for begin, end in spans:
        trains[begin:end] = [True] * (end - begin)
    if record.trained_turns:
        rendered.check(places, spans)
    return Tokens(rendered.ids, trains)


def _encode_with_images(tokenizer: Any, record: Conversation) -> Tokens:
    """A conversation whose prompt has images: its last turn trains, as in TRL's collators for vision-language models.

    Raises:
        DataError: earlier turns are to train.
    """
    if record.trained_turns:
        raise DataError(
            "earlier turns of the assistant train in conversations without images only",
            given=full_text(record.completion)[:80],
            hint="turns=last trains the last one; turns=each every turn in a row of its own",
        )
    [prompt] = chat.encode_prompts(tokenizer, [record.prompt], [record.meta])
    assert isinstance(prompt, PromptWithImages)
    rendered = _Rendered(tokenizer, chat.as_turns(tokenizer, record.prompt, record.completion), prompt.arguments)
    completion = rendered.ids[rendered.turn(len(record.prompt))[0] :]
    return Tokens([*prompt, *completion], [False] * len(prompt) + [True] * len(completion), prompt)


class _Rendered:
    """A conversation as text and token ids."""

    def __init__(self, tokenizer: Any, messages: list[Message], arguments: dict[str, Any]) -> None:
        self._tokenizer = tokenizer
        self._messages = messages
        self._arguments = arguments
        self.text = self._render(messages)
        self.ids: list[int] = self._encode(self.text)

    def marked(self, places: Sequence[int]) -> list[tuple[int, int]] | None:
        """Token spans of these turns by the template's own marks; None where it has none, or not one for each turn."""
        if not self._tokenizer.is_fast or not _MARKS.search(str(self._tokenizer.chat_template)):
            return None
        encoded = self._tokenizer.apply_chat_template(
            self._messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **self._arguments
        )
        if encoded["input_ids"] != self.ids:
            return None
        spans = _runs(encoded["assistant_masks"])
        speakers = [place for place, message in enumerate(self._messages) if message["role"] == "assistant"]
        if len(spans) != len(speakers):
            return spans if list(places) == speakers else None
        return [span for place, span in zip(speakers, spans, strict=True) if place in places]

    def turn(self, place: int) -> tuple[int, int]:
        """Token span of the turn at `place`, by rendering what stands before it and up to it."""
        before = self._before(place)
        begin = common_length(self._encode(before), self.ids)
        if place == len(self._messages) - 1:
            return begin, len(self.ids)
        history = before[: common_length(before, self._render(self._messages[:place]))]
        if not self.text.startswith(history):
            raise self._inexact(place, "renders what stands before it otherwise than in the whole conversation")
        end = self._end(before, self._render(self._messages[: place + 1]), place)
        return begin, common_length(self._encode(self.text[:end]), self.ids)

    def _before(self, place: int) -> str:
        """The text before a turn, with the turn opened."""
        if place:
            return self._render(self._messages[:place], add_generation_prompt=True)
        user: list[Message] = [{"role": "user", "content": ""}]  # a template renders no empty conversation
        opening = self._render(user, add_generation_prompt=True).removeprefix(self._render(user))
        return self.text[: self.text.find(opening) + len(opening)] if opening in self.text else ""

    def check(self, places: Sequence[int], spans: Sequence[tuple[int, int]]) -> None:
        """Raise DataError where a turn that trains lacks what its row says: a template may cut reasoning out of history."""
        if len(places) != len(spans):
            return
        for place, (begin, end) in zip(places, spans, strict=True):
            text = self._tokenizer.decode(self.ids[begin:end], skip_special_tokens=False)
            message = self._messages[place]
            for part in (message.get("reasoning_content"), message["content"]):
                if part and _squeezed(part) not in _squeezed(text):
                    raise self._inexact(place, f"leaves out {part[:40]!r}")

    def _end(self, before: str, upto: str, place: int) -> int:
        """Where a turn ends in the text.

        The text goes on behind the conversation up to the turn (`upto`), but for an end-of-sequence token that some templates
        put behind any last message. Of the turn itself, a beginning may be missing: Qwen3 writes an empty `<think>` in the last
        turn only.
        """
        start, content = common_length(before, self.text), self._messages[place]["content"].strip()
        for whole in (upto, upto.removesuffix(self._tokenizer.eos_token or "")):
            if self.text.startswith(whole):
                return len(whole)
            turn = whole[common_length(before, whole) :]
            for cut in range(max(turn.rfind(content), 0) + 1):
                if turn[cut:] and self.text.startswith(turn[cut:], start):
                    return start + len(turn) - cut
        raise self._inexact(place, "renders it otherwise than as the last turn")

    def _inexact(self, place: int, problem: str) -> DataError:
        return DataError(
            f"turn {place + 1} of a conversation cannot train: the chat template {problem}",
            given=full_text([self._messages[place]])[:80],
            hint="turns=each trains every turn in a row of its own, as it is generated; turns=last the last one only",
        )

    def _render(self, messages: list[Message], **options: Any) -> str:
        if not messages:
            return ""
        return str(self._tokenizer.apply_chat_template(messages, tokenize=False, **options, **self._arguments))

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def common_length(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Number of leading items that two sequences share."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (left, right) in pairs if left != right), min(len(first), len(second)))


def check_chat(tokenizer: Any, setting: str) -> None:
    """Raise ConfigError for a setting about turns where the tokenizer has no chat template."""
    if not chat.is_chat(tokenizer):
        raise ConfigError(
            f"{setting} means nothing without turns: the model's tokenizer has no chat template",
            hint=f"leave {setting} out, or use a chat (instruct) model",
        )


def _runs(mask: Sequence[int]) -> list[tuple[int, int]]:
    """Beginning and end of each run of ones."""
    edges = [place for place, (left, right) in enumerate(zip([0, *mask], [*mask, 0], strict=True)) if left != right]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _squeezed(text: str) -> str:
    return "".join(text.split())
