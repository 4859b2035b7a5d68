"""The `model` reward: a trained sequence classifier scores prompt and completion, tokenised as in its training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError, DataError, ModelError
from rlllm.core.records import Sample, Score
from rlllm.core.registry import describe


@dataclass(frozen=True)
class RewardModel:
    """Score of a reward model, in its own units (logits), without bounds.

    Text becomes tokens as in TRL's RewardTrainer: messages through the chat template if there is one (a plain prompt is
    one user turn), else prompt + completion + end-of-sequence. Loaded on first use, in float32, on an accelerator if
    there is one; a score does not depend on the batch around it.

    Args:
        path: folder of a sequence classifier with one label, or a Hub id.
        batch_size: sequences per forward pass.
        max_length: in tokens; of a longer sequence the end is kept, and the score is noted.

    Raises:
        ModelError: the folder holds no such classifier, or it does not load.
        DataError: the prompt is a conversation, but the tokenizer has no chat template.
    """

    path: str
    batch_size: int = 16
    max_length: int = 1024

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.max_length < 1:
            raise ConfigError(
                "model: batch_size and max_length must be positive", given=f"{self.batch_size}, {self.max_length}"
            )
        if Path(self.path).is_dir():
            _check_folder(Path(self.path))

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> RewardModel:
        """A classifier that is already in memory, such as one in training; it is scored in evaluation mode."""
        scorer = cls(path="a model in memory")
        scorer.__dict__["_loaded"] = (tokenizer, model)
        return scorer

    def score_batch(self, samples: Sequence[Sample]) -> list[Score]:
        """One score per sample."""
        sequences = [self._encode(sample) for sample in samples]
        order = sorted(range(len(samples)), key=lambda index: len(sequences[index]))
        values: dict[int, float] = {}
        for start in range(0, len(order), self.batch_size):
            chunk = order[start : start + self.batch_size]
            values.update(zip(chunk, self._forward([sequences[i][-self.max_length :] for i in chunk]), strict=True))
        return [Score(values[index], note=self._note(len(ids))) for index, ids in enumerate(sequences)]

    def _note(self, length: int) -> str | None:
        return f"scored the last {self.max_length} of {length} tokens" if length > self.max_length else None

    def _encode(self, sample: Sample) -> list[int]:
        tokenizer, _ = self._loaded
        if tokenizer.chat_template:
            prompt = [{"role": "user", "content": sample.prompt}] if isinstance(sample.prompt, str) else sample.prompt
            messages = [*prompt, {"role": "assistant", "content": sample.completion}]
            return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
        if not isinstance(sample.prompt, str):
            raise DataError(
                "the data holds chat messages, but the reward model's tokenizer has no chat template",
                given=self.path,
                hint="use a reward model trained on conversations, or give prompts as plain text",
            )
        text, end = sample.prompt + sample.completion, tokenizer.eos_token or ""
        return tokenizer(text=text if sample.completion.endswith(end) else text + end)["input_ids"]

    def _forward(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        import torch

        tokenizer, model = self._loaded
        longest = max(map(len, sequences))
        ids = [[*sequence, *[tokenizer.pad_token_id] * (longest - len(sequence))] for sequence in sequences]
        mask = [[1] * len(sequence) + [0] * (longest - len(sequence)) for sequence in sequences]
        with torch.inference_mode():
            output = model(
                input_ids=torch.tensor(ids, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                use_cache=False,
            )
        return output.logits.squeeze(-1).float().tolist()

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and classifier, with the padding token that both must agree on to find a sequence's end."""
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.path)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                self.path, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
        except Exception as error:
            raise ModelError(f"the reward model does not load: {describe(error)[:400]}", given=self.path) from error
        if report["missing_keys"] or model.config.num_labels != 1:
            raise _not_a_reward_model(self.path, model.config.architectures, model.config.num_labels)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        if tokenizer.pad_token is None:
            raise ModelError("the reward model's tokenizer has neither a padding nor an end token", given=self.path)
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
        return tokenizer, model.to(device).eval()


def _check_folder(folder: Path) -> None:
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the reward model's config.json cannot be read: {describe(error)}", given=folder) from error
    architectures = settings.get("architectures") or []
    labels = len(settings.get("id2label") or (None, None))
    if not any(name.endswith("ForSequenceClassification") for name in architectures) or labels != 1:
        raise _not_a_reward_model(str(folder), architectures, labels)


def _not_a_reward_model(path: str, architectures: Sequence[str] | None, labels: int) -> ModelError:
    return ModelError(
        "not a reward model: it must be a sequence classifier with one label and a trained head",
        given=f"{path} ({', '.join(architectures or ['no architecture'])}, {labels} labels)",
        hint="train one with: rlllm train-rm",
    )
