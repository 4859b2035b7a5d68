"""Tokenised preview: the batch that a trainer's own data set and collator make, read token by token.

Nothing is tokenised or masked here. A trainer is built as for a run, on a network of a few weights: what becomes of a row
depends on the tokenizer and the settings alone, and so a model of any size can be previewed without loading it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

IGNORED = -100
UNLIMITED = 1 << 30
"""A `max_length` that cuts nothing."""
_SIDES = {1: ("text",), 2: ("chosen", "rejected"), 3: ("chosen", "rejected", "reference")}


@dataclass(frozen=True, slots=True)
class PreviewSequence:
    """One sequence of a batch, without its padding."""

    name: str
    """`text`, or the side of a pair: `chosen`, `rejected`, `reference`."""
    ids: list[int]
    trains: list[bool]
    """Whether the loss reads the token; all False where no single token is trained, as in pairwise reward models."""


BatchTokens = Callable[[Mapping[str, Any]], list[PreviewSequence]]
"""One batch of a collator -> its sequences."""


def stand_in(tokenizer: Any, *, scores: bool = False) -> Any:
    """A network for a trainer that is built and never run: one layer, with one score a text where `scores`."""
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    config = LlamaConfig(
        vocab_size=max(len(tokenizer), 1),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        num_labels=1,
    )
    return (LlamaForSequenceClassification if scores else LlamaForCausalLM)(config)


def first_batch(trainer: Any, batch_tokens: BatchTokens) -> list[PreviewSequence]:
    """The sequences of the first row that the trainer kept; none where it left out every row.

    Args:
        trainer: with `train_dataset` and `data_collator`.
        batch_tokens: reads the collator's batches.
    """
    if not len(trainer.train_dataset):
        return []
    return batch_tokens(trainer.data_collator([trainer.train_dataset[0]]))


def prompt_ids(args: Any, tokenizer: Any, dataset: Any, arguments: Mapping[str, Any]) -> list[int]:
    """Token ids from which the loop samples for the first row, by the tokenisation of TRL's GRPOTrainer.

    Args:
        arguments: what the row gives the chat template beside its prompt.
    """
    from rlllm.algorithms._trl import GRPOTrainer

    trainer = GRPOTrainer(
        model=stand_in(tokenizer),
        reward_funcs=[_no_reward],
        args=args,
        train_dataset=dataset,
        processing_class=tokenizer,
    )
    own = dict(arguments)
    trainer.tools = own.pop("tools", None) or trainer.tools
    trainer.chat_template_kwargs = {**trainer.chat_template_kwargs, **own}
    return list(trainer._tokenize_prompts([dataset[0]["prompt"]])[0][0])


def _no_reward(completions: list[Any], **_: Any) -> list[float | None]:
    return [None] * len(completions)


def tokens_by_labels(batch: Mapping[str, Any]) -> list[PreviewSequence]:
    """Of batches whose `labels` (B, T) are -100 where nothing trains."""
    return _rows(batch, batch["labels"] != IGNORED)


def tokens_by_mask(batch: Mapping[str, Any]) -> list[PreviewSequence]:
    """Of batches whose `completion_mask` (B, T) is 1 where tokens train; the sides of a pair follow each other."""
    return _rows(batch, batch["completion_mask"] == 1)


def scored_sequences(batch: Mapping[str, Any]) -> list[PreviewSequence]:
    """Of batches whose sequences are scored as a whole: no single token trains."""
    return _rows(batch, batch["input_ids"] != batch["input_ids"])


def _rows(batch: Mapping[str, Any], trains: Any) -> list[PreviewSequence]:
    names = _SIDES[len(batch["input_ids"])]
    real = batch["attention_mask"] == 1
    columns = zip(names, batch["input_ids"], trains, real, strict=True)
    return [PreviewSequence(name, ids[kept].tolist(), marks[kept].tolist()) for name, ids, marks, kept in columns]
