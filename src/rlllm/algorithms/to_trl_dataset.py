"""From records to the rows that TRL's trainers take.

Messages with tool calls, reasoning or unknown keys are columns of JSON: as structs of Arrow, every call would get the
arguments of all others, as nulls.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from rlllm.algorithms.tokenized_preview import IGNORED
from rlllm.core.records import Conversation, LabelledCompletion, PreferencePair, PromptTask, full_text, prompt_text
from rlllm.policies import chat
from rlllm.policies.turn_masks import encode_conversation


def conversations(records: Sequence[Conversation], tokenizer: Any, *, completion_only: bool = True) -> Any:
    """Rows of SFTTrainer: `text` where the records have no prompt, `prompt` + `completion` without a chat template, else token
    ids with their labels (and `prompt`, to name a row by).

    Args:
        completion_only: whether only the turns that train have labels; else every token of a chat has one.

    Raises:
        DataError: a row of which the chat template does not tell the turns apart; see `turn_masks`.
    """
    from datasets import Dataset

    if all(not record.prompt for record in records):
        return Dataset.from_list([{"text": full_text(record.completion)} for record in records])
    if not chat.is_chat(tokenizer):
        return _dataset(
            [
                {
                    "prompt": chat.as_prompt(tokenizer, record.prompt),
                    "completion": chat.as_completion(tokenizer, record.completion),
                }
                for record in records
            ]
        )
    return Dataset.from_list([_tokenised(record, tokenizer, completion_only) for record in records])


def columns_of(records: Sequence[Conversation]) -> Any:
    """One row with the columns that `conversations` has for a tokenizer without a chat template; not to be trained on."""
    from datasets import Dataset

    return Dataset.from_list([{"prompt": "", "completion": ""} if any(r.prompt for r in records) else {"text": ""}])


def _tokenised(record: Conversation, tokenizer: Any, completion_only: bool) -> dict[str, Any]:
    row = encode_conversation(tokenizer, record)
    marks = row.trains if completion_only else [True] * len(row.ids)
    labels = [token if trains else IGNORED for token, trains in zip(row.ids, marks, strict=True)]
    return {"prompt": prompt_text(record.prompt), "input_ids": row.ids, "labels": labels}


def pairs(records: Sequence[PreferencePair], tokenizer: Any, *, margins: bool = False) -> Any:
    """Rows of RewardTrainer and DPOTrainer: `prompt`, `chosen`, `rejected`; with `margins` also `margin`, if all have one."""
    with_margin = margins and all(record.margin is not None for record in records)
    return _dataset(
        [
            {
                "prompt": chat.as_prompt(tokenizer, record.prompt),
                "chosen": chat.as_completion(tokenizer, record.chosen),
                "rejected": chat.as_completion(tokenizer, record.rejected),
                **({"margin": record.margin} if with_margin else {}),
            }
            for record in records
        ],
        records,
    )


def triples(records: Sequence[PreferencePair], tokenizer: Any) -> Any:
    """Rows of TPOTrainer: those of `pairs` and `reference`, the gold completion in each pair's `meta`."""
    gold = [chat.as_completion(tokenizer, record.meta["reference"]) for record in records]
    return pairs(records, tokenizer).add_column("reference", gold)


def labelled(records: Sequence[LabelledCompletion], tokenizer: Any, *, seed: int) -> Any:
    """Rows of KTOTrainer: `prompt`, `completion`, `label`, in an order drawn from the seed.

    TRL keeps the order it is given, and estimates the KL term by pairing each prompt with the completion before it in the
    batch. Rows that came from one pair stand side by side, and would be paired with an answer to their own prompt.
    """
    shuffled = random.Random(seed).sample(records, len(records))
    return _dataset(
        [
            {
                "prompt": chat.as_prompt(tokenizer, record.prompt),
                "completion": chat.as_completion(tokenizer, record.completion),
                "label": record.label,
            }
            for record in shuffled
        ],
        shuffled,
    )


def tasks(records: Sequence[PromptTask], tokenizer: Any) -> Any:
    """Rows of GRPOTrainer: `prompt` and `row`, the index of the record. Rewards look the record up, so that its columns
    keep their Python types instead of being forced into one Arrow schema."""
    return _dataset(
        [{"prompt": chat.as_prompt(tokenizer, record.prompt), "row": index} for index, record in enumerate(records)]
    )


def _dataset(rows: list[dict[str, Any]], records: Sequence[Any] = ()) -> Any:
    """The rows as a data set; of `records` with tools or template arguments also TRL's columns for them."""
    from datasets import Dataset, Features, Json

    arguments = [chat.template_arguments(record.meta) for record in records]
    if any(arguments):
        has_other = any(own.keys() - {"tools"} for own in arguments)
        for row, own in zip(rows, arguments, strict=True):
            tools = own.pop("tools", None)
            row |= {
                "tools": json.dumps(tools) if tools else None,
                **({"chat_template_kwargs": own} if has_other else {}),
            }
    structured = {name for row in rows for name, value in row.items() if _is_structured(value)}
    if not structured:
        return Dataset.from_list(rows)
    plain = Dataset.from_list([{name: row[name] for name in row.keys() - structured} for row in rows])
    features = Features({**plain.features, **dict.fromkeys(sorted(structured), Json())})
    return Dataset.from_list(rows, features=features)


def _is_structured(value: Any) -> bool:
    """Whether a value is a mapping, or has messages with more than role and content."""
    messages = value if isinstance(value, list) else []
    return isinstance(value, dict) or any(message.keys() != {"role", "content"} for message in messages)
