"""Rows against a model and its tokenizer, once both are loaded and before anything is measured or trained."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rlllm.core import trl_fields
from rlllm.core.errors import DataError
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    Prompt,
    PromptTask,
    Record,
    StepwiseSolution,
    full_text,
    images_of,
    prompt_text,
)
from rlllm.data.inspect.chat_counts import ChatCounts
from rlllm.policies import chat
from rlllm.policies.positions import position_table
from rlllm.policies.stored_tokenizer import StoredTokenizer
from rlllm.policies.template_check import refused_row, template_findings
from rlllm.policies.vocabulary import beyond_embedding, refuse_rows
from rlllm.training.plan import Plan
from rlllm.training.trainers.base import Trainer

_IMAGES_OPENED = 256
"""Rows whose images are opened to be measured."""
_LOOKED_AT = 64
"""Rows whose texts are compared with the template."""


def check_tokens(records: Iterable[Record], model: Any, tokenizer: Any) -> None:
    """Raise DataError for the first row whose text holds a token that the model has no vector for."""
    size = getattr(model.get_input_embeddings(), "num_embeddings", None)
    if isinstance(size, int):
        refuse_rows((_texts(record) for record in records), beyond_embedding(tokenizer, size), size)


def check_positions(
    records: Sequence[Record], model: Any, tokenizer: Any, *, limit: int | None = None, completion: int = 0
) -> None:
    """Raise DataError for the first row that is longer than a model's table of positions.

    Args:
        records: rows that pass through the model with their completions.
        limit: tokens at which longer rows are cut before they do.
        completion: tokens that the model may write behind the prompt of a row without completion.
    """
    table = position_table(model)
    if table is None or (limit is not None and limit <= table):
        return
    for row, record in enumerate(records, start=1):
        tokens = _tokens(tokenizer, record) + (completion if isinstance(record, PromptTask) else 0)
        if tokens > table:
            what = f"of which {completion} are the longest completion" if isinstance(record, PromptTask) else "in all"
            raise DataError(
                f"row {row} has {tokens:,} tokens, {what}, and the model a table of {table:,} positions",
                given=prompt_text(record.prompt)[:200],
                hint=f"max_length={table} cuts training rows there, and a smaller max_new_tokens leaves room for prompts; "
                "or take a model with a longer context",
            )


def check_images_fit(records: Sequence[Record], tokenizer: Any, limit: int | None) -> None:
    """Raise DataError for a row with images that is longer than `max_length`: the tokens of an image cannot be cut.

    The first rows are looked at, since the images of each are opened; TRL finds out about others when it trains.
    """
    if limit is None:
        return
    for row, record in [pair for pair in enumerate(records, start=1) if images_of(pair[1].prompt)][:_IMAGES_OPENED]:
        tokens = _tokens(tokenizer, record)
        if tokens > limit:
            raise DataError(
                f"row {row} has {tokens:,} tokens with those of its images, and rows are cut at max_length={limit:,}",
                given=prompt_text(record.prompt)[:200],
                hint=f"max_length={tokens}, or max_length=null, which cuts nothing; or smaller images",
            )


def check_templates(records: Sequence[Record], tokenizer: Any, stops: set[int], *, writes: bool) -> list[str]:
    """What the chat template does to the rows; see `template_findings`.

    The first rows are looked at, and the first of each further sequence of roles, which a template may refuse.

    Raises:
        DataError: the template refuses a row.
    """
    if not chat.is_chat(tokenizer):
        return []
    for row, record in _first_of_each_shape(records):
        _refuse_if_template_does(tokenizer, row, record)
    return template_findings(tokenizer, records[:_LOOKED_AT], stops, writes=writes)


def check_plan_templates(
    trainer: Trainer[Any, Any], loaded: Sequence[Record], measured: Sequence[Record], tokenizer: Any, stops: set[int]
) -> list[str]:
    """`check_templates` of all rows of a run: what the template does to those that are learned from as they stand.

    Args:
        trainer: what trains.
        loaded: the training rows.
        measured: held-out rows, which a template may refuse as well.
        tokenizer: of the model, or a `StoredTokenizer`.
        stops: tokens that end a completion.

    Raises:
        DataError: the template refuses a row.
    """
    check_templates(measured, tokenizer, set(), writes=False)
    if trainer.batch_tokens is None and not trainer.samples:
        return []
    return check_templates(loaded, tokenizer, stops, writes=trainer.task == "CAUSAL_LM")


def look_at_templates(plan: Plan[Any]) -> list[str]:
    """The same before a model is loaded, by the files of its tokenizer; empty where they are not on this machine.

    Raises:
        DataError: the chat template refuses a row.
    """
    folder = Path(plan.source.tokenizer_path)
    fields = trl_fields.table(plan.trainer.trl_config)
    other = "chat_template_path" in fields and plan.setting("chat_template_path")
    if other or not (folder / "tokenizer.json").is_file() or not (folder / "tokenizer_config.json").is_file():
        return []
    try:
        tokenizer = StoredTokenizer(folder)
    except Exception:  # files that cannot be read are refused where the model is loaded, with the reason
        return []
    ends = (tokenizer.eos_token_id, chat.end_of_turn(tokenizer), *_configured_stops(Path(plan.source.path)))
    stops = {token for token in ends if token is not None}
    return check_plan_templates(plan.trainer, plan.loaded.train, plan.measured_on, tokenizer, stops)


def _configured_stops(folder: Path) -> list[int]:
    """The tokens at which generation_config.json ends a completion."""
    path = folder / "generation_config.json"
    ends = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


def _first_of_each_shape(records: Sequence[Record]) -> Iterator[tuple[int, Record]]:
    seen = set()
    for row, record in enumerate(records, start=1):
        prompt = record.prompt
        shape = "text" if isinstance(prompt, str) else tuple(message["role"] for message in prompt)
        if shape not in seen and prompt:
            seen.add(shape)
            yield row, record


def _refuse_if_template_does(tokenizer: Any, row: int, record: Record) -> None:
    from jinja2 import TemplateError

    try:
        tokenizer.apply_chat_template(
            chat.as_prompt(tokenizer, record.prompt),
            add_generation_prompt=True,
            tokenize=False,
            **chat.template_arguments(record.meta),
        )
    except TemplateError as error:
        raise refused_row(row, record, error) from error


def _tokens(tokenizer: Any, record: Record) -> int:
    """Tokens of the longest sequence of a row: its prompt with a completion, or the prompt where it has none."""
    prompt, completions = _texts(record)
    length = len(chat.encode_prompts(tokenizer, [prompt], [record.meta])[0]) if prompt else 0
    texts = tokenizer(list(completions), add_special_tokens=False)["input_ids"] if completions else [[]]
    return length + max(map(len, texts)) + bool(completions)


def template_notes(records: Iterable[Record], tokenizer: Any) -> list[str]:
    """What the chat template makes of these rows otherwise than they say, one sentence each."""
    if not chat.is_chat(tokenizer):
        return []
    counts = ChatCounts()
    for record in records:
        counts.add(record)
    notes = []
    if counts.tools and not chat.renders_tools(tokenizer):
        notes.append(f"the chat template renders no descriptions of tools: those of {counts.tools:,} rows are left out")
    if counts.reasoning and not chat.renders_reasoning(tokenizer):
        notes.append(
            f"the chat template has no place for reasoning: in {counts.reasoning:,} turns it is written as <think> before "
            "the content"
        )
    unread = {key: count for key, count in counts.unknown_keys.items() if not chat.reads_key(tokenizer, key)}
    if unread:
        keys = ", ".join(f"{key} ({count:,})" for key, count in unread.items())
        notes.append(f"the chat template does not read these keys of messages: {keys}")
    return notes


def _texts(record: Record) -> tuple[Prompt, tuple[str, ...]]:
    """Prompt and completions of a record."""
    match record:
        case Conversation() | LabelledCompletion():
            return record.prompt, (full_text(record.completion),)
        case PreferencePair():
            return record.prompt, (full_text(record.chosen), full_text(record.rejected))
        case StepwiseSolution():
            return record.prompt, ("\n".join(record.steps),)
    return record.prompt, ()
