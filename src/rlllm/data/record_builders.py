"""Builders of records: the cells of one row to a PromptTask, Conversation, PreferencePair and so on.

Text is not changed: nothing is stripped, re-encoded or templated here. The error for a value that is absent, empty or of
the wrong type names its row and column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    Message,
    PreferencePair,
    Prompt,
    PromptTask,
    Record,
    StepwiseSolution,
    answer_text,
)
from rlllm.data import columns, messages
from rlllm.data.io.formats import excerpt, json_type
from rlllm.parsing.answers import extract_answer

SKIP_HINT = "or count and leave out such rows: data.on_bad_row=skip"
_GROUPED_NUMBER = re.compile(r"^[-+]?\d{1,3}(,\d{3})+(\.\d+)?$")
_ASSISTANT_MARK = "\n\nAssistant:"
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Cells:
    """One row's values by record field, with the checks and the messages every builder needs."""

    place: str
    row: Mapping[str, Any]
    columns: Mapping[str, str]
    source: str
    schema: str = ""
    """Name of the schema that converted the row; empty for a row as it is stored."""

    def get(self, field: str) -> Any:
        """The raw value; None where the column is absent, null or not a number (how tables mark a gap)."""
        value = columns.read(self.row, self.columns[field]) if field in self.columns else None
        return None if isinstance(value, float) and math.isnan(value) else value

    def fail(self, field: str, problem: str) -> DataError:
        """The error for a value: field, column and place, then what is wrong with it."""
        if self.schema:
            return DataError(
                f"{field} at {self.place} {problem}",
                given=f"a row of {self.source} as the data schema {self.schema} converts it",
                exists=columns.column_names([self.row]),
                hint=SKIP_HINT.removeprefix("or "),
            )
        column = self.columns.get(field, field)
        role = field if column == field else f"{field} (column {column})"
        similar_column = columns.another(self.row, field, self.columns)
        hint = (
            f"if another column is meant: --columns {field}={similar_column}; {SKIP_HINT}"
            if similar_column
            else SKIP_HINT.removeprefix("or ")
        )
        return DataError(f"{role} at {self.place} {problem}", given=self.source, hint=hint)

    def text(self, field: str, *, numbers: bool = False, empty: bool = False) -> str:
        """A text value. With `numbers`, a number becomes its text; with `empty`, blank text passes."""
        value = self.get(field)
        if numbers and isinstance(value, int | float) and not isinstance(value, bool):
            if isinstance(value, float) and not math.isfinite(value):
                raise self.fail(field, "must be a finite number or text, found infinity")
            value = _number_text(value)
        if value is None:
            raise self.fail(field, "is null or absent")
        if not isinstance(value, str):
            raise self.fail(field, f"must be text, found {json_type(value)}: {excerpt(str(value), 0, 40)}")
        if not empty and not value.strip():
            raise self.fail(field, "is empty")
        return value

    def answer(self) -> str:
        """A reference answer: text, a number, true or false, or a list of answers of which each is right."""
        value = self.get("answer")
        if not isinstance(value, bool | list | tuple | dict):
            return self.text("answer", numbers=True, empty=True)
        text = answer_text(value)
        if text is None:
            raise self.fail("answer", f"must be text, a number, or a list of these, found {excerpt(str(value), 0, 40)}")
        return text

    def prompt(self, *, empty: bool = False) -> Prompt:
        """Plain text, or messages where the column holds a list."""
        value = self.get("prompt")
        if messages.is_messages(value):
            return messages.parse(value, self.place)
        if empty and value == []:
            return ""
        if isinstance(value, list | dict):
            raise self.fail("prompt", f"must be text or a list of messages, found {json_type(value)}")
        return self.text("prompt", empty=empty)

    def completion(self, field: str) -> tuple[list[Message], str]:
        """Messages that belong to the prompt (mostly none), and the text to learn."""
        value = self.get(field)
        if not messages.is_messages(value):
            return [], self.text(field, numbers=True)
        return self.dialogue(field)

    def dialogue(self, field: str) -> tuple[list[Message], str]:
        """The messages of a column before its last assistant turn, and the text of that turn."""
        before, text = messages.split_last(messages.parse(self.get(field), self.place), self.place)
        if not text.strip():
            raise self.fail(field, "is empty")
        return before, text

    def boolean(self, field: str, value: Any) -> bool:
        if isinstance(value, float) and value.is_integer():  # how tables with gaps hold 0 and 1
            value = int(value)
        parsed = _BOOLEANS.get(str(value).strip().lower()) if isinstance(value, bool | int | str) else None
        if parsed is None:
            raise self.fail(field, f"must be true or false, found {excerpt(repr(value), 0, 40)}")
        return parsed

    def meta(self) -> dict[str, Any]:
        """All columns that no field uses; for a stored record, its `meta`."""
        if "meta" in self.columns:
            return dict(self.get("meta"))
        used = {key for expression in self.columns.values() for key in columns.consumed(self.row, expression)}
        return {str(key): value for key, value in self.row.items() if key not in used}


def _number_text(value: int | float) -> str:
    """A number the way a person writes it: `72.0` is `72`."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def final_answer(text: str) -> str:
    """The text after the last answer mark (`#### 1,072` gives `1072`), or the text itself if there is none."""
    marked = extract_answer(text)
    if marked is None:
        return text
    return marked.replace(",", "") if _GROUPED_NUMBER.match(marked) else marked


def _task(cells: Cells) -> PromptTask:
    meta = cells.meta()
    prompt: Prompt
    if "messages" in cells.columns:
        conversation = messages.parse(cells.get("messages"), cells.place)
        speaks = any(turn["role"] == "assistant" for turn in conversation)
        before = messages.split_last(conversation, cells.place)[0] if speaks else conversation
        if not before:
            raise cells.fail("messages", "has nothing before the assistant's turn")
        prompt = _with_system(before, meta)
    else:
        prompt = cells.prompt()
    if cells.get("answer") is None:
        return PromptTask(prompt, None, meta)
    full = cells.answer()
    answer = full if "meta" in cells.columns else final_answer(full)
    if answer != full:
        meta.setdefault(cells.columns["answer"], full)
    return PromptTask(prompt, answer, meta)


def _conversation(cells: Cells) -> Conversation:
    if "text" in cells.columns:
        return Conversation("", cells.text("text"), cells.meta())
    if "messages" not in cells.columns:
        return Conversation(*_join(cells.prompt(empty=True), *cells.completion("completion")), cells.meta())
    before, text = cells.dialogue("messages")
    meta = cells.meta()
    return Conversation(_with_system(before, meta) or "", text, meta)


def _with_system(turns: list[Message], meta: dict[str, Any]) -> list[Message]:
    """The turns with the column `system` (ShareGPT) as a system message, unless they have one; removes it from `meta`."""
    system = meta.pop("system", None)
    if isinstance(system, str) and system.strip() and not any(turn["role"] == "system" for turn in turns):
        return [{"role": "system", "content": system}, *turns]
    return turns


def _join(prompt: Prompt, before: list[Message], completion: str) -> tuple[Prompt, str]:
    """A completion given as several messages: all but its last turn belong to the prompt."""
    if not before:
        return prompt, completion
    start = [{"role": "user", "content": prompt}] if isinstance(prompt, str) and prompt else list(prompt)
    return [*start, *before], completion


def _pair(cells: Cells) -> PreferencePair:
    chosen, rejected, meta = cells.get("chosen"), cells.get("rejected"), cells.meta()
    if messages.is_messages(chosen) and messages.is_messages(rejected):
        prompt, better, worse = _pair_of_messages(cells)
        own_prompt = cells.get("prompt")
        if isinstance(own_prompt, str) and isinstance(prompt, list) and not _says(prompt, own_prompt):
            meta.setdefault(cells.columns["prompt"], own_prompt)
    else:
        better, worse = cells.text("chosen"), cells.text("rejected", empty=True)
        if "prompt" in cells.columns:
            prompt = cells.prompt()
        else:
            prompt, better, worse = _split_dialogue(cells, better, worse)
    return PreferencePair(prompt, better, worse, _margin(cells), meta)


def _says(turns: list[Message], text: str) -> bool:
    return any(turn["content"].strip() == text.strip() for turn in turns)


def _pair_of_messages(cells: Cells) -> tuple[Prompt, str, str]:
    before, better = cells.dialogue("chosen")
    also, worse = messages.split_last(messages.parse(cells.get("rejected"), cells.place), cells.place)
    if before != also:
        raise cells.fail("rejected", "and chosen differ before their last turn")
    if "prompt" not in cells.columns:
        if not before:
            raise _no_prompt(cells)
        return before, better, worse
    prompt = cells.prompt()
    if before and (isinstance(prompt, str) or before[: len(prompt)] == prompt):
        return before, better, worse
    return _join(prompt, before, better)[0], better, worse


def _split_dialogue(cells: Cells, chosen: str, rejected: str) -> tuple[str, str, str]:
    """Pairs without a prompt column (hh-rlhf): cut both at the last assistant mark of what they share."""
    differs = (at for at, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b)
    cut = chosen.rfind(_ASSISTANT_MARK, 0, next(differs, min(len(chosen), len(rejected))))
    if cut < 0:
        raise _no_prompt(cells)
    cut += len(_ASSISTANT_MARK)
    if not chosen[cut:].strip():
        raise cells.fail("chosen", "has nothing after the last assistant mark")
    return chosen[:cut], chosen[cut:], rejected[cut:]


def _no_prompt(cells: Cells) -> DataError:
    mapped = {field: column for field, column in cells.columns.items() if field != column}
    return columns.no_column(("prompt",), PreferencePair, [cells.row], mapped, cells.source)


def _margin(cells: Cells) -> float | None:
    value = cells.get("margin")
    if value in (None, ""):
        return None
    try:
        margin = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        margin = math.nan
    if not math.isfinite(margin):
        raise cells.fail("margin", f"must be a finite number, found {excerpt(repr(value), 0, 40)}")
    return margin


def _labelled(cells: Cells) -> LabelledCompletion:
    if "messages" in cells.columns:
        before, text = cells.dialogue("messages")
        meta = cells.meta()
        label = cells.boolean("label", cells.get("label"))
        return LabelledCompletion(_with_system(before, meta) or "", text, label, meta)
    prompt, completion = _join(cells.prompt(), *cells.completion("completion"))
    return LabelledCompletion(prompt, completion, cells.boolean("label", cells.get("label")), cells.meta())


def _stepwise(cells: Cells) -> StepwiseSolution:
    steps, labels = cells.get("steps"), cells.get("labels")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) and step.strip() for step in steps):
        raise cells.fail("steps", f"must be a list of texts, none of them blank, found {excerpt(repr(steps), 0, 40)}")
    if not isinstance(labels, list) or len(labels) != len(steps):
        size = len(labels) if isinstance(labels, list) else json_type(labels)
        raise cells.fail("labels", f"must be a list of {len(steps)} labels, one a step, found {size}")
    marks = tuple(cells.boolean("labels", label) for label in labels)
    return StepwiseSolution(cells.prompt(), tuple(steps), marks, cells.meta())


BUILDERS: dict[type[Record], Callable[[Cells], Record]] = {
    PromptTask: _task,
    Conversation: _conversation,
    PreferencePair: _pair,
    LabelledCompletion: _labelled,
    StepwiseSolution: _stepwise,
}
"""Record type -> its builder."""
