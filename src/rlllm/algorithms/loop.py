"""The reinforcement-learning loop: the one subclass of TRL's GRPOTrainer. Read top to bottom, it is the six slots in order.

Every override wraps `super()`. The private hooks it stands on are `_get_train_sampler`, `_generate_single_turn`,
`_calculate_rewards`, `_generate_and_score_completions`, `_get_per_token_logps_and_entropies` and `_save_checkpoint`;
tests/contract says what is expected of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms._trl import GRPOTrainer
from rlllm.algorithms.checkpoints import SealedCheckpoints
from rlllm.algorithms.slots.batch import RolloutBatch
from rlllm.algorithms.slots.credit import Group
from rlllm.algorithms.slots.masks import All
from rlllm.algorithms.slots.samplers import EpochSampler, PromptSampler, Shuffle
from rlllm.core.errors import PluginError
from rlllm.core.records import PromptTask, Sample
from rlllm.policies.chat import completion_text
from rlllm.rewards.compose import Composition, Scores


@dataclass(frozen=True)
class Slots:
    """The chosen components; the reward slot is the composition, the loss slot is TRL's `loss_type`."""

    rewards: Composition
    sampler: PromptSampler = field(default_factory=Shuffle)
    credit: Callable[[RolloutBatch], Tensor] = field(default_factory=Group)
    mask: Callable[[RolloutBatch], Tensor] = field(default_factory=All)
    engine: Any = None
    """An engine class; None samples with TRL's own generation (the `hf` engine)."""


class RewardColumn:
    """One reward as TRL wants it: a function whose name labels the metrics. Scores are made once for all rewards."""

    def __init__(self, name: str, index: int) -> None:
        self.__name__ = name
        self.index = index
        self.scores: Scores | None = None

    def __call__(self, **_: Any) -> list[float | None]:
        assert self.scores is not None
        values = self.scores.values[self.index]
        # where a weighted reward failed, the others alone would misjudge the sample: it is left out whole
        return [None if total is None else value for value, total in zip(values, self.scores.totals, strict=True)]


class PolicyLoop(SealedCheckpoints, GRPOTrainer):
    """GRPOTrainer with six slots.

    Args:
        slots: the components.
        tasks: the records behind the dataset; its rows carry their index in the column `row`.
        on_rollout: called with every batch's rows for `samples.jsonl`.
        kwargs: those of GRPOTrainer, without `reward_funcs`.
    """

    def __init__(
        self,
        *,
        slots: Slots,
        tasks: Sequence[PromptTask],
        on_rollout: Callable[[list[dict[str, Any]]], None],
        **kwargs: Any,
    ) -> None:
        self.slots = slots
        self.tasks = tasks
        self.on_rollout = on_rollout
        self.reward_rows = 0
        self.reward_undefined = 0
        self.reward_spread = 0.0
        self.columns = [RewardColumn(name, index) for index, name in enumerate(slots.rewards.names)]
        super().__init__(reward_funcs=list(self.columns), **kwargs)
        self._scored: tuple[list[Sample], Scores, Tensor] | None = None

    # sampler ----------------------------------------------------------------------------------------------------------
    def _get_train_sampler(self, dataset: Any = None) -> Any:
        stock = super()._get_train_sampler(dataset)
        layout = {key: getattr(stock, key) for key in ("mini_repeat_count", "batch_size", "repeat_count")}
        return EpochSampler(self.slots.sampler, stock.num_samples, self.args.seed, layout)

    # rollout ----------------------------------------------------------------------------------------------------------
    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        if self.slots.engine is None:
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        model = self.accelerator.unwrap_model(self.model_wrapped)
        engine = self.slots.engine(model, self.processing_class)
        completions = engine.generate(prompt_ids, self.sampling)
        if len(completions) != len(prompt_ids) or not all(completions):
            raise PluginError(
                f"the engine {type(engine).__name__} returned {sum(map(bool, completions))} completions for "
                f"{len(prompt_ids)} prompts",
                hint="an engine returns at least one token for each prompt, in order",
            )
        return completions, None

    @property
    def sampling(self) -> Any:
        """This run's rollout settings in the form engines take."""
        from rlllm.rollouts.config import SamplingConfig

        args = self.args
        return SamplingConfig(
            max_new_tokens=args.max_completion_length,
            temperature=args.temperature,
            top_p=args.top_p,
            top_k=args.top_k or 0,
            batch_size=args.generation_batch_size,
        )

    # reward -----------------------------------------------------------------------------------------------------------
    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        samples = [
            self._sample(row["row"], completion, ids)
            for row, completion, ids in zip(inputs, completions, completion_ids_list, strict=True)
        ]
        scores = self.slots.rewards.score(samples)
        for column in self.columns:
            column.scores = scores
        gathered = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        start = self.accelerator.process_index * len(samples)
        self._scored = (samples, scores, gathered[start : start + len(samples)])
        return gathered

    def _sample(self, row: int, completion: Any, ids: list[int]) -> Sample:
        task = self.tasks[row]
        truncated = not ids or ids[-1] not in self.eos_token_ids
        return Sample(task.prompt, completion_text(completion), task.answer, task.meta, len(ids), truncated)

    # credit and mask --------------------------------------------------------------------------------------------------
    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        assert self._scored is not None
        samples, scores, rewards = self._scored
        self._scored = None
        batch = self._batch(output, rewards, inputs)
        output["advantages"] = self.slots.credit(batch)
        self._apply_mask(output, self.slots.mask(batch), batch.learnable)
        self._observe(batch.grouped)
        self.on_rollout(self._rows(samples, scores, batch, output["advantages"]))
        return output

    def _batch(self, output: dict[str, Any], rewards: Tensor, inputs: Any) -> RolloutBatch:
        learnable = output["completion_mask"]
        if "tool_mask" in output:
            learnable = learnable * output["tool_mask"]
        return RolloutBatch(
            prompt_ids=output["prompt_ids"],
            prompt_mask=output["prompt_mask"],
            completion_ids=output["completion_ids"],
            learnable=learnable,
            group_size=self.num_generations if self.model.training else self.num_generations_eval,
            rewards=rewards,
            weights=self.reward_weights.to(rewards.device),
            advantages=output["advantages"],
            columns=[dict(self.tasks[row["row"]].meta) for row in inputs],
        )

    def _apply_mask(self, output: dict[str, Any], mask: Tensor, learnable: Tensor) -> None:
        if mask is learnable:
            return
        output["tool_mask"] = mask
        # dapo, cispo and vespo divide by this count: left at the unmasked one, the loss would silently shrink
        output["num_items_in_batch"] = self.accelerator.gather(mask.sum()).sum()

    def recall(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take up the facts of an earlier start from its `samples.jsonl`, so that the verdict covers the whole run."""
        totals = torch.tensor([torch.nan if row["reward"] is None else row["reward"] for row in rows])
        if totals.numel():
            self._observe(totals.view(-1, self.num_generations))

    def _observe(self, grouped: Tensor) -> None:
        self.reward_rows += grouped.numel()
        self.reward_undefined += int(grouped.isnan().sum())
        spread = grouped.nan_to_num(nan=-torch.inf).amax(1) - grouped.nan_to_num(nan=torch.inf).amin(1)
        finite = spread[spread.isfinite()]
        if finite.numel():
            self.reward_spread = max(self.reward_spread, float(finite.max()))

    def _rows(
        self, samples: list[Sample], scores: Scores, batch: RolloutBatch, advantages: Tensor
    ) -> list[dict[str, Any]]:
        totals = batch.total.tolist()
        per_row = advantages if advantages.dim() == 1 else (advantages * batch.learnable).sum(1)
        return [
            {
                "step": self.state.global_step + 1,
                "prompt": sample.prompt,
                "completion": sample.completion,
                "answer": sample.answer,
                "reward": None if total != total else total,
                "rewards": scores.describe(index),
                "advantage": advantage,
                "truncated": sample.truncated,
                "tokens": sample.tokens,
            }
            for index, (sample, total, advantage) in enumerate(zip(samples, totals, per_row.tolist(), strict=True))
        ]

    # loss -------------------------------------------------------------------------------------------------------------
    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        """TRL's fused head scores every position, prompt and padding included, and again in the backward pass; on a CPU a
        plain forward over the real completion positions gives the same numbers several times sooner."""
        unusual = args or kwargs.get("compute_aux_loss") or any(kwargs.get(name) is not None for name in _MULTIMODAL)
        if input_ids.device.type != "cpu" or unusual or self._entropy_bonus_enabled:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        size = kwargs.get("batch_size") or input_ids.size(0)
        parts = [
            completion_logps(model, ids, mask, logits_to_keep, self.temperature)
            for ids, mask in zip(input_ids.split(size), attention_mask.split(size), strict=True)
        ]
        logps, entropies = (torch.cat(column) for column in zip(*parts, strict=True))
        return logps, entropies if kwargs.get("compute_entropy") else None, None


_MULTIMODAL = ("pixel_values", "token_type_ids", "mm_token_type_ids", "num_images", "image_position_ids")


def completion_logps(
    model: Any, input_ids: Tensor, attention_mask: Tensor, keep: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies (nats) of the last `keep` tokens, both (B, keep); entropies carry no gradient.

    Columns that are padding in every row are cut off before the forward pass and come back as zeros.
    """
    used = attention_mask.any(dim=0).nonzero().squeeze(1)
    prompt = input_ids.size(1) - keep
    first, last = int(used[0]), max(int(used[-1]) + 1, prompt + 1)
    ids, mask = input_ids[:, first:last], attention_mask[:, first:last]
    kept = last - prompt
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    output = model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=kept + 1, use_cache=False)
    logits = output.logits[:, -kept - 1 : -1].float()
    distribution = torch.log_softmax(logits if temperature == 1 else logits / temperature, dim=-1)
    logps = distribution.gather(2, ids[:, -kept:].unsqueeze(2)).squeeze(2)
    with torch.no_grad():  # row by row: a batch of whole vocabularies at once is what runs a laptop out of memory
        entropies = torch.stack([-(row.exp() * row).sum(-1) for row in distribution])
    padding = (0, keep - kept)
    return torch.nn.functional.pad(logps, padding), torch.nn.functional.pad(entropies, padding)
