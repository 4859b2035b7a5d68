"""A trained sequence classifier with one label: text becomes tokens as in its training, and tokens become one number.

A score must not depend on the batch around it, so sequences are padded on the right, masked, and read in float32.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rlllm.core.errors import DataError, ModelError
from rlllm.core.records import Sample
from rlllm.policies.chat import as_turns, template_arguments
from rlllm.policies.loading import context_length
from rlllm.policies.padding import padded
from rlllm.rewards.models import pretrained

_HINTS = {
    "ForTokenClassification": "a process reward model is used as the reward named process",
    "ForCausalLM": "a language model has no score; train a reward model with rlllm train-rm, or let it judge",
    "ForSequenceClassification": "its head must give one number; train such a model with: rlllm train-rm",
}
"""Kind of architecture -> what to do with such a model instead."""


@dataclass(frozen=True)
class Classifier:
    """Scores of one sequence classifier, in its own units (logits).

    Text becomes tokens as in TRL's RewardTrainer: messages through the chat template if there is one (a plain prompt is
    one user turn), else prompt + completion + end-of-sequence. Loaded on first use, on an accelerator if there is one.

    Args:
        path: folder of a sequence classifier with one label, or a Hub id.
        batch_size: sequences per forward pass.
        max_length: in tokens; of a longer sequence the end is kept.

    Raises:
        ModelError: the folder holds no such classifier, or it does not load.
        DataError: the prompt is a conversation, but the tokenizer has no chat template.
    """

    path: str
    batch_size: int = 16
    max_length: int = 1024

    def __post_init__(self) -> None:
        if pretrained.is_local(self.path):
            _check_folder(self.path)

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> Classifier:
        """A classifier that is already in memory, such as one in training; it is scored in evaluation mode."""
        scorer = cls(path="a model in memory")
        scorer.__dict__["_loaded"] = (tokenizer, model)
        return scorer

    def encode(self, samples: Sequence[Sample]) -> list[list[int]]:
        """Token ids of each sample, not yet cut to `longest`."""
        return [self._encode(sample) for sample in samples]

    @property
    def longest(self) -> int:
        """Tokens of a sequence that are read: `max_length`, or what a model with a table of positions can take."""
        return min(self.max_length, self._positions)

    @property
    def _positions(self) -> int:
        tokenizer, model = self._loaded
        table = context_length(model)
        if not table or table < 0 or getattr(model.config.get_text_config(), "rope_parameters", None):
            return sys.maxsize
        return int(min(table, tokenizer.model_max_length))

    def scores(self, sequences: Sequence[Sequence[int]], *, padding: int = 0) -> list[float]:
        """One number for each sequence of token ids; `padding` adds that many padding tokens to every sequence."""
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        values: dict[int, float] = {}
        for start in range(0, len(order), self.batch_size):
            chunk = order[start : start + self.batch_size]
            cut = [sequences[index][-self.longest :] for index in chunk]
            room = self._positions - max(map(len, cut))
            values.update(zip(chunk, self._forward(cut, min(padding, room)), strict=True))
        return [values[index] for index in range(len(sequences))]

    def _encode(self, sample: Sample) -> list[int]:
        tokenizer, _ = self._loaded
        if tokenizer.chat_template:
            completion = list(sample.messages) or sample.completion
            messages, arguments = as_turns(tokenizer, sample.prompt, completion), template_arguments(sample.meta)
            return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **arguments)["input_ids"]
        if not isinstance(sample.prompt, str):
            raise DataError(
                "the data holds chat messages, but the reward model's tokenizer has no chat template",
                given=self.path,
                hint="use a reward model trained on conversations, or give prompts as plain text",
            )
        text, end = sample.prompt + sample.completion, tokenizer.eos_token or ""
        return tokenizer(text=text if sample.completion.endswith(end) else text + end)["input_ids"]

    def _forward(self, sequences: Sequence[Sequence[int]], padding: int) -> list[float]:
        import torch

        tokenizer, model = self._loaded
        ids, mask = padded(sequences, tokenizer.pad_token_id, extra=padding)
        was_training = model.training
        model.eval()
        with torch.inference_mode():
            output = model(
                input_ids=torch.tensor(ids, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                use_cache=False,
            )
        model.train(was_training)
        return output.logits.squeeze(-1).float().tolist()

    def release(self) -> None:
        """Free the model, if it was loaded."""
        self.__dict__.pop("_loaded", None)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and classifier, with the padding token that both must agree on to find a sequence's end."""
        tokenizer, model, missing = pretrained.load("AutoModelForSequenceClassification", self.path, "reward model")
        if missing or model.config.num_labels != 1:
            raise _not_a_reward_model(self.path, model.config.architectures, model.config.num_labels)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        if tokenizer.pad_token is None:
            raise ModelError("the reward model's tokenizer has neither a padding nor an end token", given=self.path)
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
        return tokenizer, model


def _check_folder(folder: str) -> None:
    architectures, labels = pretrained.declared(folder, "reward model")
    if not any(name.endswith("ForSequenceClassification") for name in architectures) or labels != 1:
        raise _not_a_reward_model(folder, architectures, labels)


def _not_a_reward_model(path: str, architectures: Sequence[str] | None, labels: int) -> ModelError:
    names = list(architectures or [])
    hints = [hint for kind, hint in _HINTS.items() if any(name.endswith(kind) for name in names)]
    return ModelError(
        "not a reward model: it must be a sequence classifier with one label and a trained head",
        given=f"{path} ({', '.join(names or ['no architecture'])}, {labels} labels)",
        hint=hints[0] if hints else "train one with: rlllm train-rm",
    )
