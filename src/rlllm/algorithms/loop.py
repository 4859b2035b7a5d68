"""The reinforcement-learning loop: the one subclass of TRL's GRPOTrainer. Read top to bottom, it is the six slots in order.

Every override wraps `super()`. The private hooks it stands on are `_get_train_sampler`, `_generate_single_turn`,
`_calculate_rewards`, `_generate_and_score_completions`, `_get_per_token_logps_and_entropies`, `_compute_loss`,
`_save_checkpoint` and `_load_optimizer_and_scheduler`; tests/contract says what is expected of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms._trl import GRPOTrainer
from rlllm.algorithms.checkpoints import SealedCheckpoints
from rlllm.algorithms.critic import Critic, explained_variance, value_loss
from rlllm.algorithms.forward import completion_logps
from rlllm.algorithms.greedy import greedy_samples
from rlllm.algorithms.kl import Penalty
from rlllm.algorithms.slots.batch import RolloutBatch
from rlllm.algorithms.slots.credit import Group
from rlllm.algorithms.slots.masks import All
from rlllm.algorithms.slots.samplers import EpochSampler, PromptSampler, Shuffle
from rlllm.core.errors import PluginError
from rlllm.core.records import PromptTask, Sample
from rlllm.core.runs import read_json, write_json
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
    kl: Penalty | None = None
    """The pull towards the reference; None adds TRL's `beta` to the loss."""

    def needs(self, name: str) -> bool:
        """Whether a component asks for a field of the batch that costs a forward pass or a rollout."""
        return any(name in getattr(part, "needs", ()) for part in (self.credit, self.mask))

    @property
    def stateful(self) -> dict[str, Any]:
        """Slot name -> component that carries state from rollout to rollout."""
        parts = {"credit": self.credit, "mask": self.mask, "sampler": self.sampler, "kl": self.kl}
        return {name: part for name, part in parts.items() if hasattr(part, "load_state_dict")}


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
        critic: the value model of a credit that needs `values` (PPO).
        kwargs: those of GRPOTrainer, without `reward_funcs`.
    """

    def __init__(
        self,
        *,
        slots: Slots,
        tasks: Sequence[PromptTask],
        on_rollout: Callable[[list[dict[str, Any]]], None],
        critic: Critic | None = None,
        **kwargs: Any,
    ) -> None:
        self.kl = slots.kl or Penalty(coefficient=kwargs["args"].beta)
        self.slots = replace(slots, kl=self.kl)
        self.critic = critic
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
        self.beta = self.kl.coefficient  # what TRL makes the reference's log-probabilities for
        output = super()._generate_and_score_completions(inputs)
        assert self._scored is not None
        samples, scores, rewards = self._scored
        self._scored = None
        batch = self._batch(output, rewards, inputs)
        output["advantages"] = self.slots.credit(batch)
        self._prepare_critic(output, batch)
        self._apply_mask(output, self.slots.mask(batch), batch.learnable)
        self._settle_kl(output, batch)
        self._observe(self._comparable(batch.total))
        self._note(getattr(self.slots.credit, "metrics", {}))
        self.on_rollout(self._rows(samples, scores, batch, output["advantages"]))
        return output

    def _batch(self, output: dict[str, Any], rewards: Tensor, inputs: Any) -> RolloutBatch:
        learnable = output["completion_mask"]
        if "tool_mask" in output:
            learnable = learnable * output["tool_mask"]
        logps, ref_logps = self._logps(output), output.get("ref_per_token_logps")
        penalty = None
        if self.kl.where == "reward" and logps is not None and ref_logps is not None:
            penalty = self.kl.coefficient * (logps - ref_logps)
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
            names=self.slots.rewards.names,
            logps=logps,
            ref_logps=ref_logps,
            values=self._values(output),
            greedy=self._greedy(inputs) if self.slots.needs("greedy") else None,
            penalty=penalty,
        )

    @torch.no_grad()
    def _logps(self, output: dict[str, Any]) -> Tensor | None:
        """Log-probabilities under the policy that sampled, if TRL made them or anything here asks for them."""
        known = output.get("old_per_token_logps")
        wanted = self.kl.coefficient > 0 or self.critic is not None or self.slots.needs("logps")
        if known is not None or not wanted:
            return known
        ids, mask = whole(output)
        keep, size = output["completion_ids"].size(1), self.args.per_device_train_batch_size
        return self._get_per_token_logps_and_entropies(self.model, ids, mask, keep, batch_size=size)[0]

    @torch.no_grad()
    def _values(self, output: dict[str, Any]) -> Tensor | None:
        if self.critic is None:
            return None
        keep, size = output["completion_ids"].size(1), self.args.per_device_train_batch_size
        parts = zip(*(part.split(size) for part in whole(output)), strict=True)
        return torch.cat([self.critic.values(ids, mask, keep) for ids, mask in parts])

    def _greedy(self, inputs: Any) -> Tensor:
        """(B,) reward of one greedy completion a prompt."""
        rows = [row["row"] for row in inputs[:: self.num_generations]]
        model = self.accelerator.unwrap_model(self.model_wrapped)
        samples = greedy_samples(model, self.processing_class, [self.tasks[row] for row in rows], self.sampling)
        totals = self.slots.rewards.score(samples).totals
        values = [torch.nan if total is None else total for total in totals]
        return torch.tensor(values, device=self.accelerator.device).repeat_interleave(self.num_generations)

    def _prepare_critic(self, output: dict[str, Any], batch: RolloutBatch) -> None:
        if self.critic is None:
            return
        assert batch.values is not None
        output["values"] = batch.values
        output["returns"] = self.slots.credit.targets(batch)  # type: ignore[attr-defined]
        output.setdefault("old_per_token_logps", batch.logps)
        known = explained_variance(batch.values, output["returns"], batch.learnable)
        learning = output["advantages"][batch.learnable.bool()]
        deviation = float(learning.std(correction=0)) if len(learning) else 0.0
        self._note({"explained_variance": known, "advantage_std": deviation})

    def _settle_kl(self, output: dict[str, Any], batch: RolloutBatch) -> None:
        """Leave TRL the term it shall add to the loss, and steer the coefficient by what the rollout shows."""
        if self.kl.where != "loss":
            output.pop("ref_per_token_logps", None)
            self.beta = 0.0
        if batch.logps is None or batch.ref_logps is None:
            return
        ratios = self.accelerator.gather(((batch.logps - batch.ref_logps) * batch.learnable).sum(1))
        kl = float(ratios.mean())  # over all processes, whose coefficients have to stay one
        self._note({"kl_per_completion": kl, "kl_coefficient": self.kl.coefficient})
        self.kl.update(kl, len(ratios))

    def _comparable(self, totals: Tensor) -> Tensor:
        """(N, G) rewards that compete; where every prompt has one completion, they compete across the rollout."""
        if self.num_generations > 1:
            return totals.view(-1, self.num_generations)
        everyone = self.accelerator.gather(totals)
        values = everyone[~everyone.isnan()]
        flat = bool(values.numel() and values.amax() == values.amin())
        self._metrics["train"]["frac_reward_zero_std"][-1] = float(flat)  # TRL's is 1 for every group of one
        return totals.view(1, -1)

    def _note(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._metrics["train" if self.model.training else "eval"][name].append(value)

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
            self._observe(totals.view(-1, self.num_generations) if self.num_generations > 1 else totals.view(1, -1))

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
    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        loss = super()._compute_loss(model, inputs)
        if self.critic is None:
            return loss
        ids, mask = whole(inputs)
        values = self.critic.values(ids, mask, inputs["completion_ids"].size(1))
        learnable = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        error = value_loss(values, inputs["values"], inputs["returns"], learnable, self.critic.clip)
        self._note({"value_loss": float(error.detach())})
        held = self.state.global_step < self.critic.warmup_steps
        return (0.0 if held else 1.0) * loss + error / self.current_gradient_accumulation_steps

    def create_scheduler(self, num_training_steps: int, *args: Any, **kwargs: Any) -> Any:
        if self.critic is not None:
            self.critic.start(self.accelerator.device, num_training_steps)
        return super().create_scheduler(num_training_steps, *args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(*args, **kwargs)
        if self.critic is not None and self.accelerator.sync_gradients:
            self._note({"critic_grad_norm": self.critic.step()})
        return loss

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

    # state ------------------------------------------------------------------------------------------------------------
    def save_state(self, folder: Path) -> None:
        states = {name: part.state_dict() for name, part in self.slots.stateful.items()}
        write_json(folder / "slots.json", states)
        if self.critic is not None:
            self.critic.save(folder)

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        states = read_json(Path(checkpoint) / "slots.json")
        for name, part in self.slots.stateful.items():
            part.load_state_dict(states[name])
        if self.critic is not None:
            self.critic.load(Path(checkpoint))


def whole(output: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask (B, P + T) of prompts with their completions."""
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
    return ids, torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)


_MULTIMODAL = ("pixel_values", "token_type_ids", "mm_token_type_ids", "num_images", "image_position_ids")
