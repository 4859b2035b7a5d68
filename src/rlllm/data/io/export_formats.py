"""Records as the rows of other tools: verl, OpenRLHF, LLaMA-Factory and TRL.

Each tool has a table from record type to a function that makes one row. Images go into a column `images`, in the order of their
places in the prompt. Values that a format has no field for go into extra
columns where the tool allows them. Where it does not, they are left out, counted and named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.errors import ConfigError, DataError, unknown
from rlllm.core.records import (
    Completion,
    Content,
    Conversation,
    LabelledCompletion,
    Message,
    PreferencePair,
    Prompt,
    PromptTask,
    Record,
    StepwiseSolution,
    content_text,
    images_of,
    prompt_text,
)
from rlllm.data.row_images import PLACEHOLDER

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row comes from, for verl's columns `data_source` and `extra_info`."""

    source: str
    split: str
    index: int


@dataclass(frozen=True, slots=True)
class RowFormat:
    """How one record type is written for one tool.

    Args:
        row: record, place -> the tool's columns, without the record's other columns (`meta`).
        columns: the map that reads it back: record field to column expression.
        meta_in: the column that takes the record's other columns; "" puts each beside the others.
        turns: whether a prompt of plain text becomes one user turn.
    """

    row: Callable[[Any, Place], Row]
    columns: Mapping[str, str]
    meta_in: str = ""
    turns: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A tool: its file type and its formats."""

    suffix: str
    rows: Mapping[type[Record], RowFormat]
    chats: Mapping[type[Record], RowFormat] = field(default_factory=dict)
    """Formats where a prompt is a list of messages; by default those of `rows`."""
    folder_only: bool = False
    """Whether files are found through an index beside them."""
    places: Callable[[Prompt], Prompt] | None = None
    """A prompt with images, with the tool's mark in the place of each; None where its rows hold none."""
    image: Callable[[str], Any] = str
    """The reference of an image as the tool reads it."""

    def row_format(self, kind: type[Record], name: str, *, chat: bool) -> RowFormat:
        """The format of a record type. Raises ConfigError for one that the tool does not train on."""
        if kind not in self.rows:
            raise ConfigError(
                f"{name} has no format for {kind.__name__} rows",
                exists=[record_type.__name__ for record_type in self.rows],
                hint="read the data as one of these with --kind, or write it with --to trl",
            )
        return self.chats.get(kind, self.rows[kind]) if chat else self.rows[kind]


def target_of(name: str) -> Target:
    """The tool of this name. Raises UnknownNameError."""
    if name not in TARGETS:
        raise unknown("tool to export to", name, TARGETS)
    return TARGETS[name]


def row_of(
    record: Any, row_format: RowFormat, place: Place, images: Sequence[Any] | None = None
) -> tuple[Row, list[str]]:
    """One row, and the names of the record's other columns that have no place in it.

    Args:
        images: what the column `images` gets; None where the data shows none.
    """
    row = row_format.row(record, place)
    if images is not None:
        row["images"] = list(images)
    extra_columns = row.setdefault(row_format.meta_in, {}) if row_format.meta_in else row
    used_names = {*extra_columns, *_roots(row_format)}
    lost = [name for name in record.meta if name in used_names and not (name in row and row[name] == record.meta[name])]
    extra_columns.update({name: value for name, value in record.meta.items() if name not in used_names})
    return row, lost


def _roots(row_format: RowFormat) -> set[str]:
    """The columns that the format reads, present in this row or not."""
    return set() if row_format.meta_in else {expression.partition(".")[0] for expression in row_format.columns.values()}


def turns(prompt: Prompt) -> list[Message]:
    """The prompt as messages: plain text is one user turn, by the chat rule; no text is no turn."""
    if not prompt:
        return []
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(turn) for turn in prompt]


def with_marks(prompt: Prompt) -> Prompt:
    """The prompt with `<image>` on a line of its own in the place of each image.

    Raises:
        DataError: `<image>` stands in a text as well, so that places would be more than images.
    """
    if not images_of(prompt):
        return prompt
    if any(PLACEHOLDER in content_text(turn["content"]) for turn in turns(prompt)):
        raise DataError(
            f"a prompt with images has {PLACEHOLDER} in its text, where the format would look for one more",
            given=prompt_text(prompt)[:120],
        )
    return [{**turn, "content": _marked(turn["content"])} for turn in turns(prompt)]


def _marked(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(PLACEHOLDER if part["type"] == "image" else part["text"] for part in content)


def with_parts(prompt: Prompt) -> Prompt:
    """The prompt with `{"type": "image"}` in the place of each image, as TRL fills it from the column."""
    if not images_of(prompt):
        return prompt
    return [{**turn, "content": _emptied(turn["content"])} for turn in turns(prompt)]


def _emptied(content: Content) -> Content:
    if isinstance(content, str):
        return content
    return [{"type": "image"} if part["type"] == "image" else part for part in content]


def _answered(prompt: Prompt, completion: Completion) -> list[Message]:
    return [*turns(prompt), *_side(completion)]


def _side(completion: Completion) -> list[Message]:
    return [{"role": "assistant", "content": completion}] if isinstance(completion, str) else list(completion)


def _verl_task(task: PromptTask, place: Place) -> Row:
    source = str(task.meta.get("data_source", place.source))
    return {
        "data_source": source,
        "prompt": turns(task.prompt),
        "ability": str(task.meta.get("ability", source)),
        "reward_model": {"style": "model" if task.answer is None else "rule", "ground_truth": task.answer},
        "extra_info": {"split": place.split, "index": place.index},
    }


def _verl_conversation(record: Conversation, place: Place) -> Row:
    return {
        "messages": _answered(record.prompt, record.completion),
        "extra_info": {"split": place.split, "index": place.index},
    }


def _pair(record: PreferencePair) -> Row:
    return {} if record.margin is None else {"margin": record.margin}


def _trl_task(task: PromptTask, place: Place) -> Row:
    return {"prompt": task.prompt, "answer": task.answer}


def _trl_conversation(record: Conversation, place: Place) -> Row:
    return {"prompt": record.prompt, "completion": record.completion}


def _trl_conversation_chat(record: Conversation, place: Place) -> Row:
    return {"prompt": turns(record.prompt), "completion": _side(record.completion)}


def _trl_pair(record: PreferencePair, place: Place) -> Row:
    return {"prompt": record.prompt, "chosen": record.chosen, "rejected": record.rejected, **_pair(record)}


def _trl_pair_chat(record: PreferencePair, place: Place) -> Row:
    sides = {"chosen": _side(record.chosen), "rejected": _side(record.rejected)}
    return {"prompt": turns(record.prompt), **sides, **_pair(record)}


def _trl_label(record: LabelledCompletion, place: Place) -> Row:
    return {"prompt": record.prompt, "completion": record.completion, "label": record.label}


def _trl_label_chat(record: LabelledCompletion, place: Place) -> Row:
    return {"prompt": turns(record.prompt), "completion": _side(record.completion), "label": record.label}


def _trl_steps(record: StepwiseSolution, place: Place) -> Row:
    return {"prompt": record.prompt, "completions": list(record.steps), "labels": list(record.labels)}


def _openrlhf_task(task: PromptTask, place: Place) -> Row:
    return {"input": task.prompt, "label": task.answer}


def _openrlhf_conversation(record: Conversation, place: Place) -> Row:
    return {"input": record.prompt, "output": record.completion}


def _openrlhf_label(record: LabelledCompletion, place: Place) -> Row:
    return {"input": record.prompt, "output": record.completion, "label": record.label}


def _alpaca(prompt: Prompt) -> Row:
    return {"instruction": prompt, "input": ""}


_SHARE_GPT = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}


def _share_gpt(messages: list[Message]) -> list[Message]:
    return [share for turn in messages for share in _share_gpt_turns(turn)]


def _share_gpt_turns(turn: Message) -> list[Message]:
    """A message in ShareGPT's form: reasoning as `<think>`, tool calls as a turn of their own."""
    reasoning = turn.get("reasoning_content")
    text = f"<think>\n{reasoning}\n</think>\n\n{turn['content']}" if reasoning else turn["content"]
    calls = [call["function"] for call in turn.get("tool_calls", ())]
    said = [{"from": _SHARE_GPT[turn["role"]], "value": text}] if text or not calls else []
    value = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
    return [*said, {"from": "function_call", "value": value}] if calls else said


def _gpt(completion: Completion) -> Message:
    """A completion as one turn; of one with text and tool calls, the calls."""
    return _share_gpt(_side(completion))[-1]


def _factory_conversation(record: Conversation, place: Place) -> Row:
    return {**_alpaca(record.prompt), "output": record.completion}


def _factory_conversation_chat(record: Conversation, place: Place) -> Row:
    return {"conversations": _share_gpt(_answered(record.prompt, record.completion))}


def _factory_pair(record: PreferencePair, place: Place) -> Row:
    return {**_alpaca(record.prompt), "chosen": record.chosen, "rejected": record.rejected, **_pair(record)}


def _factory_pair_chat(record: PreferencePair, place: Place) -> Row:
    sides = {"chosen": _gpt(record.chosen), "rejected": _gpt(record.rejected)}
    return {"conversations": _share_gpt(turns(record.prompt)), **sides, **_pair(record)}


def _factory_label(record: LabelledCompletion, place: Place) -> Row:
    return {**_alpaca(record.prompt), "output": record.completion, "kto_tag": record.label}


def _factory_label_chat(record: LabelledCompletion, place: Place) -> Row:
    return {"conversations": _share_gpt(_answered(record.prompt, record.completion)), "kto_tag": record.label}


_COMPLETION = {"prompt": "prompt", "completion": "completion"}
_PAIR = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "margin": "margin"}
_LABEL = {**_COMPLETION, "label": "label"}
_INPUT = {"prompt": "input", "completion": "output"}
_ALPACA = {"prompt": "instruction+input"}
_GPT_PAIR = {"prompt": "conversations", "chosen": "chosen.value", "rejected": "rejected.value", "margin": "margin"}

TARGETS: dict[str, Target] = {
    "trl": Target(
        ".jsonl",
        {
            PromptTask: RowFormat(_trl_task, {"prompt": "prompt", "answer": "answer"}),
            Conversation: RowFormat(_trl_conversation, _COMPLETION),
            PreferencePair: RowFormat(_trl_pair, _PAIR),
            LabelledCompletion: RowFormat(_trl_label, _LABEL),
            StepwiseSolution: RowFormat(_trl_steps, {"prompt": "prompt", "steps": "completions", "labels": "labels"}),
        },
        {
            Conversation: RowFormat(_trl_conversation_chat, _COMPLETION, turns=True),
            PreferencePair: RowFormat(_trl_pair_chat, _PAIR, turns=True),
            LabelledCompletion: RowFormat(_trl_label_chat, _LABEL, turns=True),
        },
        places=with_parts,
    ),
    "verl": Target(
        ".parquet",
        {
            PromptTask: RowFormat(
                _verl_task, {"prompt": "prompt", "answer": "reward_model.ground_truth"}, "extra_info", turns=True
            ),
            Conversation: RowFormat(_verl_conversation, {"messages": "messages"}, "extra_info", turns=True),
        },
        places=with_marks,
        image=lambda reference: {"image": reference},
    ),
    "openrlhf": Target(
        ".jsonl",
        {
            PromptTask: RowFormat(_openrlhf_task, {"prompt": "input", "answer": "label"}),
            Conversation: RowFormat(_openrlhf_conversation, _INPUT),
            PreferencePair: RowFormat(_trl_pair, _PAIR),
            LabelledCompletion: RowFormat(_openrlhf_label, {**_INPUT, "label": "label"}),
        },
    ),
    "llamafactory": Target(
        ".json",
        {
            Conversation: RowFormat(_factory_conversation, {**_ALPACA, "completion": "output"}),
            PreferencePair: RowFormat(
                _factory_pair, {**_ALPACA, "chosen": "chosen", "rejected": "rejected", "margin": "margin"}
            ),
            LabelledCompletion: RowFormat(_factory_label, {**_ALPACA, "completion": "output", "label": "kto_tag"}),
        },
        {
            Conversation: RowFormat(_factory_conversation_chat, {"messages": "conversations"}, turns=True),
            PreferencePair: RowFormat(_factory_pair_chat, _GPT_PAIR, turns=True),
            LabelledCompletion: RowFormat(
                _factory_label_chat, {"messages": "conversations", "label": "kto_tag"}, turns=True
            ),
        },
        folder_only=True,
        places=with_marks,
    ),
}
"""Tool to its formats, as its documentation has them."""
