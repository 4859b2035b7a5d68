"""Builders of records: the cells of one row to a PromptTask, Conversation, PreferencePair and so on.

Text is not changed: nothing is stripped, re-encoded or templated here. The error for a value that is absent, empty or of
the wrong type names its row and column.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import (
    Completion,
    Conversation,
    LabelledCompletion,
    Message,
    PreferencePair,
    Prompt,
    PromptTask,
    Record,
    StepwiseSolution,
    holds_objects,
    message_text,
    reference_text,
)
from rlllm.data import columns, context_columns, messages, row_images
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
    folder: Path | None = None
    """Where relative paths in the row begin; None where it is from no file."""

    def get(self, field: str) -> Any:
        """The raw value; None where the column is absent, null or not a number (how tables mark a gap)."""
        expression = self.columns.get(field, context_columns.OFF)
        value = None if expression == context_columns.OFF else columns.read(self.row, expression)
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
        """A reference answer: text, a number, true or false, a list of answers of which each is right, or the JSON text of
        objects (see `reference_text`)."""
        value = self.get("answer")
        if not isinstance(value, bool | list | tuple | dict):
            return self.text("answer", numbers=True, empty=True)
        text = reference_text(value)
        if text is None:
            raise self.fail("answer", f"must be text, a number, or a list of these, found {excerpt(str(value), 0, 40)}")
        return text

    def prompt(self, *, empty: bool = False) -> Prompt:
        """Plain text, or messages where the column holds a list of them."""
        value = messages.decoded(self.get("prompt"))
        if messages.is_messages(value):
            return messages.parse(value, self.place)
        if empty and value == []:
            return ""
        if isinstance(value, list | dict):
            raise self.fail("prompt", f"must be text or a list of messages, found {json_type(value)}")
        return self.text("prompt", empty=empty)

    def turns(self, field: str) -> list[messages.MarkedTurn] | None:
        """The messages of a column; None where it holds no messages."""
        value = messages.decoded(self.get(field))
        return messages.marked_turns(value, self.place) if messages.is_messages(value) else None

    def completion(self, field: str) -> tuple[list[Message], Completion]:
        """Messages that belong to the prompt (mostly none), and the turn to learn."""
        return ([], self.text(field, numbers=True)) if self.turns(field) is None else self.dialogue(field)

    def dialogue(self, field: str, *, empty: bool = False) -> tuple[list[Message], Completion]:
        """The messages of a column before its last turn of the assistant, and that turn; with `empty`, it may be blank."""
        before, last = messages.split_last(messages.marked_turns(self.get(field), self.place), self.place)
        if not empty and messages.is_blank(last):
            raise self.fail(field, "is empty")
        return before, last

    def in_context(self, prompt: Prompt, history: Sequence[messages.MarkedTurn] | None = None) -> Prompt:
        """The prompt behind the row's system message and earlier turns (`history`)."""
        history = self.history() if history is None else history
        system = context_columns.system_text(self.get("system"), self.place, self.columns.get("system", "system"))
        return context_columns.with_context(prompt, system, [turn.message for turn in history])

    def shown(self, prompt: Prompt) -> Prompt:
        """The prompt in its context, with the images of its messages, and of the row's column of images, in place."""
        return self.with_images(self.in_context(prompt))

    def with_images(self, prompt: Prompt) -> Prompt:
        """The prompt with its images in place; its context is in front of it already."""
        column = self.columns.get("images", context_columns.OFF)
        given = None
        if column != context_columns.OFF:
            given = row_images.of_column(self.get("images"), column, self.place, self.folder)
        return row_images.in_place(prompt, given, column, self.place, self.folder)

    def history(self) -> list[messages.MarkedTurn]:
        """The earlier turns that stand in a column of their own."""
        return context_columns.history_turns(self.get("history"), self.place, self.columns.get("history", "history"))

    def with_reasoning(self, completion: Completion) -> Completion:
        """The completion with the reasoning that stands in a column of its own."""
        reasoning = context_columns.reasoning_text(
            self.get("reasoning"), self.place, self.columns.get("reasoning", "reasoning")
        )
        if reasoning is None:
            return completion
        turns = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
        return [*turns[:-1], {**turns[-1], "reasoning_content": turns[-1].get("reasoning_content", reasoning)}]

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
        meta = {str(key): value for key, value in self.row.items() if key not in used}
        column = self.columns.get("tools")
        if column == context_columns.OFF and not isinstance(meta.get("tools", ""), str):
            meta["tools"] = json.dumps(meta["tools"], default=str)  # as text it is a column like others
        elif column and (tools := context_columns.tool_descriptions(self.get("tools"), self.place, column)):
            meta["tools"] = tools
        return meta


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
    turns = cells.turns("messages") if "messages" in cells.columns else None
    if turns is not None:
        speaks = any(turn.message["role"] == "assistant" for turn in turns)
        prompt = messages.split_last(turns, cells.place)[0] if speaks else [turn.message for turn in turns]
        if not prompt:
            raise cells.fail("messages", "has nothing before the assistant's turn")
    else:
        prompt = cells.prompt() if "prompt" in cells.columns else messages.parse(cells.get("messages"), cells.place)
    prompt = cells.shown(prompt)
    return PromptTask(prompt, _reference(cells, meta), meta)


def _reference(cells: Cells, meta: dict[str, Any]) -> str | None:
    """The reference answer of a row. `meta` keeps its column where that says more than the answer, or is an empty list."""
    given = cells.get("answer")
    if given is None:
        return None
    if "meta" in cells.columns:
        return cells.answer()
    column = cells.columns["answer"]
    answer = None if given == [] else cells.answer()  # `[]` is for `calls`: nothing is to be called
    if answer is None or holds_objects(answer):
        if answer != given and column in cells.row:
            meta.setdefault(column, given)
        return answer
    final = final_answer(answer)
    if final != answer:
        meta.setdefault(column, answer)
    return final


def _conversation(cells: Cells) -> Conversation:
    """Of messages, all turns of the assistant that are not marked otherwise train; of a prompt and a completion, those of the
    completion and of the column `history`."""
    if "text" in cells.columns:
        return Conversation("", cells.text("text"), cells.meta())
    prompt, turns = [], []
    if "messages" in cells.columns:
        turns = messages.marked_turns(cells.get("messages"), cells.place)
    elif (completion := cells.turns("completion")) is None:
        return _answered(cells, cells.prompt(empty=True), cells.with_reasoning(cells.text("completion", numbers=True)))
    else:
        prompt, turns = _as_turns(cells.prompt(empty=True)), completion
    before, last, trained = messages.split_trained(turns, cells.place)
    if messages.is_blank(last):
        raise cells.fail("messages" if "messages" in cells.columns else "completion", "is empty")
    return _answered(cells, [*prompt, *before], cells.with_reasoning(last), [len(prompt) + place for place in trained])


def _answered(cells: Cells, prompt: Prompt, completion: Completion, trained: Sequence[int] = ()) -> Conversation:
    """The conversation behind its system message and its history, whose turns train as well.

    Args:
        trained: places in `prompt` of earlier turns that train.
    """
    if "meta" in cells.columns:
        stored = tuple(cells.row.get("trained_turns") or ())
        return Conversation(cells.with_images(prompt), completion, cells.meta(), stored)
    history = cells.history()
    whole = cells.in_context(prompt, history) or ""
    shift = len(whole) - len(prompt) if isinstance(prompt, list) else 0
    first = next((place for place, turn in enumerate(whole) if history and turn is history[0].message), 0)
    earlier = [first + place for place, turn in enumerate(history) if turn.trains]
    return Conversation(
        cells.with_images(whole), completion, cells.meta(), (*earlier, *(shift + place for place in trained))
    )


def _as_turns(prompt: Prompt) -> list[Message]:
    return ([{"role": "user", "content": prompt}] if prompt else []) if isinstance(prompt, str) else list(prompt)


def _join(prompt: Prompt, before: list[Message], completion: Completion) -> tuple[Prompt, Completion]:
    """A completion given as several messages: all but its last turn belong to the prompt."""
    return ([*_as_turns(prompt), *before], completion) if before else (prompt, completion)


def _pair(cells: Cells) -> PreferencePair:
    meta = cells.meta()
    better: Completion
    worse: Completion
    if cells.turns("chosen") is not None and cells.turns("rejected") is not None:
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
    return PreferencePair(cells.shown(prompt), better, worse, _margin(cells), meta)


def _says(turns: list[Message], text: str) -> bool:
    return any(message_text(turn).strip() == text.strip() for turn in turns)


def _pair_of_messages(cells: Cells) -> tuple[Prompt, Completion, Completion]:
    before, better = cells.dialogue("chosen")
    also, worse = cells.dialogue("rejected", empty=True)
    if not messages.same_turns(before, also):
        raise cells.fail("rejected", "and chosen differ before their last turn")
    if "prompt" not in cells.columns:
        if not before:
            raise _no_prompt(cells)
        return before, better, worse
    prompt = cells.prompt()
    if before and (isinstance(prompt, str) or messages.same_turns(before[: len(prompt)], prompt)):
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
        prompt: Prompt
        prompt, completion = cells.dialogue("messages")
    else:
        prompt, completion = _join(cells.prompt(), *cells.completion("completion"))
    label = cells.boolean("label", cells.get("label"))
    return LabelledCompletion(cells.shown(prompt) or "", completion, label, cells.meta())


def _stepwise(cells: Cells) -> StepwiseSolution:
    steps, labels = cells.get("steps"), cells.get("labels")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) and step.strip() for step in steps):
        raise cells.fail("steps", f"must be a list of texts, none of them blank, found {excerpt(repr(steps), 0, 40)}")
    if not isinstance(labels, list) or len(labels) != len(steps):
        size = len(labels) if isinstance(labels, list) else json_type(labels)
        raise cells.fail("labels", f"must be a list of {len(steps)} labels, one a step, found {size}")
    marks = tuple(cells.boolean("labels", label) for label in labels)
    return StepwiseSolution(cells.shown(cells.prompt()), tuple(steps), marks, cells.meta())


BUILDERS: dict[type[Record], Callable[[Cells], Record]] = {
    PromptTask: _task,
    Conversation: _conversation,
    PreferencePair: _pair,
    LabelledCompletion: _labelled,
    StepwiseSolution: _stepwise,
}
"""Record type -> its builder."""
