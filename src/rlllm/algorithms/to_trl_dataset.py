"""From records to the rows that TRL's trainers take.

Messages with tool calls, reasoning or unknown keys are columns of JSON: as structs of Arrow, every call would get the
arguments of all others, as nulls.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.algorithms.tokenized_preview import IGNORED
from rlllm.core.images import open_image
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    Message,
    PreferencePair,
    Prompt,
    PromptTask,
    full_text,
    has_images,
    images_of,
    prompt_text,
)
from rlllm.policies import chat
from rlllm.policies.turn_masks import encode_conversation
from rlllm.policies.vision import in_parts


def conversations(records: Sequence[Conversation], tokenizer: Any, *, completion_only: bool = True) -> Any:
    """Rows of SFTTrainer: `prompt`, `completion` and `images` where any record has an image, `text` where the records have no
    prompt, `prompt` + `completion` without a chat template, else token ids with their labels (and `prompt`, to name a row by).

    Args:
        completion_only: whether only the turns that train have labels; else every token of a chat has one.

    Raises:
        DataError: a row of which the chat template does not tell the turns apart; see `turn_masks`.
    """
    from datasets import Dataset

    if has_images(records):
        return _vision_dataset(records, [{"completion": record.completion} for record in records], tokenizer)
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


def columns_of(records: Sequence[Conversation], tokenizer: Any) -> Any:
    """One row with the columns that `conversations` has for a tokenizer without a chat template; not to be trained on.

    Rows with images are there already: TRL makes tokens of them when they are batched.
    """
    from datasets import Dataset

    if has_images(records):
        return conversations(records, tokenizer)

    return Dataset.from_list([{"prompt": "", "completion": ""} if any(r.prompt for r in records) else {"text": ""}])


def _tokenised(record: Conversation, tokenizer: Any, completion_only: bool) -> dict[str, Any]:
    row = encode_conversation(tokenizer, record)
    marks = row.trains if completion_only else [True] * len(row.ids)
    labels = [token if trains else IGNORED for token, trains in zip(row.ids, marks, strict=True)]
    return {"prompt": prompt_text(record.prompt), "input_ids": row.ids, "labels": labels}


def pairs(records: Sequence[PreferencePair], tokenizer: Any, *, margins: bool = False) -> Any:
    """Rows of RewardTrainer and DPOTrainer: `prompt`, `chosen`, `rejected`; with `margins` also `margin`, if all have one, and
    `images`, if any has some."""
    if has_images(records):
        sides = [{"chosen": record.chosen, "rejected": record.rejected} for record in records]
        return _vision_dataset(records, sides, tokenizer)
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
    if has_images(records):
        sides = [{"completion": record.completion} for record in shuffled]
        return _vision_dataset(shuffled, sides, tokenizer).add_column("label", [record.label for record in shuffled])
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


def _vision_dataset(records: Sequence[Any], completions: Sequence[Mapping[str, Any]], tokenizer: Any) -> Any:
    """Rows for TRL's collators of vision-language models: `prompt` with a mark for each image, `images`, and these completions.

    Images are opened when a row is read, so that a data set of any size is no larger in memory than its references.
    """
    rows = [
        {
            "prompt": [_marked(message) for message in _messages(chat.as_prompt(tokenizer, record.prompt))],
            **{name: _messages(chat.as_completion(tokenizer, text)) for name, text in own.items()},
            "images": images_of(record.prompt),
        }
        for record, own in zip(records, completions, strict=True)
    ]
    return _dataset(rows).with_transform(_open_images)


def _messages(rendered: Prompt) -> list[Message]:
    """Messages in parts, of a tokenizer with a chat template, as that of every vision-language model is."""
    assert not isinstance(rendered, str)
    return in_parts(rendered)


def _marked(message: Message) -> Message:
    """A message in parts whose images are marks for those of the row."""
    parts = [{"type": "image"} if part["type"] == "image" else part for part in message["content"]]
    return {**message, "content": parts}


def _open_images(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    if "images" not in rows:
        return rows
    return {**rows, "images": [[open_image(image) for image in images] for images in rows["images"]]}


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
    """Whether a value is a mapping, or has messages with more than a role and text."""
    messages = value if isinstance(value, list) else []
    return isinstance(value, dict) or any(
        isinstance(message, dict) and (message.keys() != {"role", "content"} or not isinstance(message["content"], str))
        for message in messages
    )
