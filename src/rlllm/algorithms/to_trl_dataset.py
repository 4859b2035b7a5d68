"""From records to the rows that TRL's trainers take."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from rlllm.core.records import Conversation, LabelledCompletion, PreferencePair, PromptTask
from rlllm.policies import chat


def conversations(records: Sequence[Conversation], tokenizer: Any) -> Any:
    """Rows of SFTTrainer: `prompt` + `completion`, or `text` where the records have no prompt."""
    from datasets import Dataset

    if all(not record.prompt for record in records):
        return Dataset.from_list([{"text": record.completion} for record in records])
    return Dataset.from_list(
        [
            {
                "prompt": chat.as_prompt(tokenizer, record.prompt),
                "completion": chat.as_completion(tokenizer, record.completion),
            }
            for record in records
        ]
    )


def pairs(records: Sequence[PreferencePair], tokenizer: Any, *, margins: bool = False) -> Any:
    """Rows of RewardTrainer and DPOTrainer: `prompt`, `chosen`, `rejected`; with `margins` also `margin`, if all have one."""
    from datasets import Dataset

    with_margin = margins and all(record.margin is not None for record in records)
    return Dataset.from_list(
        [
            {
                "prompt": chat.as_prompt(tokenizer, record.prompt),
                "chosen": chat.as_completion(tokenizer, record.chosen),
                "rejected": chat.as_completion(tokenizer, record.rejected),
                **({"margin": record.margin} if with_margin else {}),
            }
            for record in records
        ]
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
    from datasets import Dataset

    shuffled = random.Random(seed).sample(records, len(records))
    return Dataset.from_list(
        [
            {
                "prompt": chat.as_prompt(tokenizer, record.prompt),
                "completion": chat.as_completion(tokenizer, record.completion),
                "label": record.label,
            }
            for record in shuffled
        ]
    )


def tasks(records: Sequence[PromptTask], tokenizer: Any) -> Any:
    """Rows of GRPOTrainer: `prompt` and `row`, the index of the record. Rewards look the record up, so that its columns
    keep their Python types instead of being forced into one Arrow schema."""
    from datasets import Dataset

    return Dataset.from_list(
        [{"prompt": chat.as_prompt(tokenizer, record.prompt), "row": index} for index, record in enumerate(records)]
    )
