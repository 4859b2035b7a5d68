"""The `process` reward: a process reward model (PRM) gives each line of a solution a probability; these become one score.

The format of the text is defined here alone, for training and scoring: the prompt (through the chat template where there is
one), then each step followed by a newline, tokenised step by step, so that a step's last token is the one that is trained and
read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from rlllm.core.errors import ConfigError, DataError, ModelError
from rlllm.core.records import Prompt, Sample, Score
from rlllm.policies.chat import as_prompt
from rlllm.policies.padding import padded
from rlllm.rewards.models import pretrained

SEPARATOR = "\n"
"""Ends each step, the last one too; its last token carries the step's label."""
RIGHT = 0.5
"""A step counts as right from this probability on."""
Aggregate = Literal["product", "min", "last"]
_AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "product": math.prod,
    "min": min,
    "last": lambda chances: chances[-1],
}


def split_steps(completion: str) -> list[str]:
    """The lines of a completion; blank ones are no steps."""
    return [line for line in completion.split(SEPARATOR) if line.strip()]


def encode_steps(tokenizer: Any, prompt: Prompt, steps: Sequence[str]) -> tuple[list[int], list[int]]:
    """Token ids of prompt and steps, and for each step the index of its last token.

    Raises:
        DataError: the prompt is a conversation, but the tokenizer has no chat template.
    """
    if tokenizer.chat_template:
        messages = as_prompt(tokenizer, prompt)
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
        ids = list(ids["input_ids"])
    elif isinstance(prompt, str):
        ids = list(tokenizer(text=prompt)["input_ids"])
    else:
        raise DataError(
            "the data holds chat messages, but the process reward model's tokenizer has no chat template",
            given=str(prompt)[:120],
            hint="use a model trained on conversations, or give prompts as plain text",
        )
    ends = []
    for step in steps:
        ids += tokenizer(text=step + SEPARATOR, add_special_tokens=False)["input_ids"]
        ends.append(len(ids) - 1)
    return ids, ends


def first_below(chances: Sequence[float], bar: float = RIGHT) -> int | None:
    """Index of the first step whose chance of being right is below the bar; None if there is none."""
    return next((index for index, chance in enumerate(chances) if chance < bar), None)


@dataclass(frozen=True)
class ProcessModel:
    """Chance that a solution's steps are right, from 0 to 1: their product, the smallest, or the last step's.

    Steps are the completion's lines. A completion without any, or longer than `max_length`, cannot be judged (None).
    Loaded on first use, in float32, on an accelerator if there is one; a score does not depend on the batch around it.

    Args:
        path: a run of `rlllm train-rm --method process`, its folder, or a Hub id of a token classifier with two labels
            (0 wrong, 1 right).
        aggregate: product (Lightman et al. 2023, arXiv 2305.20050), min (Wang et al. 2023, arXiv 2312.08935) or last.
        batch_size: sequences per forward pass.
        max_length: in tokens.

    Raises:
        ModelError: the folder holds no such classifier, or it does not load.
        DataError: the prompt is a conversation, but the tokenizer has no chat template.
    """

    path: str
    aggregate: Aggregate = "product"
    batch_size: int = 16
    max_length: int = 1024

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.max_length < 1:
            raise ConfigError(
                "process: batch_size and max_length must be positive", given=f"{self.batch_size}, {self.max_length}"
            )
        if self.aggregate not in _AGGREGATES:
            raise ConfigError("process: no such aggregate", given=self.aggregate, exists=_AGGREGATES)
        if pretrained.is_local(self.path):
            _check_folder(self.path)

    @classmethod
    def of(cls, model: Any, tokenizer: Any, max_length: int = 1024) -> ProcessModel:
        """A classifier that is already in memory, such as one in training; it is scored in evaluation mode."""
        scorer = cls(path="a model in memory", max_length=max_length)
        scorer.__dict__["_loaded"] = (tokenizer, model)
        return scorer

    def score_batch(self, samples: Sequence[Sample]) -> list[Score]:
        """One score per sample; `parsed` shows each step's chance, `note` the first step below one half."""
        steps = [split_steps(sample.completion) for sample in samples]
        chances = self.chances([(sample.prompt, lines) for sample, lines in zip(samples, steps, strict=True)])
        return [self._score(lines, row) for lines, row in zip(steps, chances, strict=True)]

    def chances(self, solutions: Sequence[tuple[Prompt, Sequence[str]]]) -> list[list[float] | None]:
        """For each (prompt, steps) the probability that each step is right; None where that is too long to be read."""
        encoded = [encode_steps(self._loaded[0], prompt, steps) for prompt, steps in solutions]
        rows: list[list[float] | None] = [None if len(ids) > self.max_length else [] for ids, _ in encoded]
        judged = [index for index, (_, ends) in enumerate(encoded) if ends and rows[index] is not None]
        judged.sort(key=lambda index: len(encoded[index][0]))
        for start in range(0, len(judged), self.batch_size):
            chunk = judged[start : start + self.batch_size]
            for index, row in zip(chunk, self._forward([encoded[index] for index in chunk]), strict=True):
                rows[index] = row
        return rows

    def _score(self, steps: Sequence[str], chances: Sequence[float] | None) -> Score:
        if chances is None:
            return Score(None, note=f"longer than {self.max_length} tokens")
        if not chances:
            return Score(None, note="no steps: the completion has no text")
        wrong = first_below(chances)
        note = "no step below 0.5" if wrong is None else f"first step below 0.5: {wrong + 1} ({steps[wrong][:80]})"
        parsed = " ".join(f"{chance:.2f}" for chance in chances)
        return Score(_AGGREGATES[self.aggregate](chances), parsed=parsed, note=note)

    def _forward(self, batch: Sequence[tuple[list[int], list[int]]]) -> list[list[float]]:
        import torch

        tokenizer, model = self._loaded
        ids, mask = padded([ids for ids, _ in batch], tokenizer.pad_token_id or 0)  # masked, so that any id does
        was_training = model.training
        model.eval()
        with torch.inference_mode():
            logits = model(
                input_ids=torch.tensor(ids, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
            ).logits
        model.train(was_training)
        right = torch.softmax(logits.float(), -1)[..., 1]
        return [right[row, ends].tolist() for row, (_, ends) in enumerate(batch)]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        tokenizer, model, missing = pretrained.load(
            "AutoModelForTokenClassification", self.path, "process reward model"
        )
        if missing or model.config.num_labels != 2:
            raise _not_a_process_model(self.path, model.config.architectures, model.config.num_labels)
        return tokenizer, model


def _check_folder(folder: str) -> None:
    architectures, labels = pretrained.declared(folder, "process reward model")
    if not any(name.endswith("ForTokenClassification") for name in architectures) or labels != 2:
        raise _not_a_process_model(folder, architectures, labels)


def _not_a_process_model(path: str, architectures: Sequence[str] | None, labels: int) -> ModelError:
    names = architectures or ["no architecture"]
    scores_whole_answers = any(name.endswith("ForSequenceClassification") for name in names)
    return ModelError(
        "not a process reward model: it must be a token classifier with two labels and a trained head",
        given=f"{path} ({', '.join(names)}, {labels} label{'s' * (labels != 1)})",
        hint="it scores whole answers: use the reward model"
        if scores_whole_answers
        else "train one with: rlllm train-rm process",
    )
