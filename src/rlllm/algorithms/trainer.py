"""The reinforcement-learning loop: the one subclass of TRL's GRPOTrainer. Read top to bottom, it is the six slots in order.

Every override wraps `super()`. The private hooks it stands on are `_get_train_sampler`, `_generate_single_turn`,
`_calculate_rewards`, `_generate_and_score_completions`, `_save_checkpoint`, `_load_optimizer_and_scheduler` and, in `updates`,
`_compute_loss` and `_get_per_token_logps_and_entropies`; tests/contract says what is expected of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms._trl import GRPOTrainer
from rlllm.algorithms.advantages.group import Group
from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.checkpoints import SealedCheckpoints
from rlllm.algorithms.demonstrations import Traces, inserted
from rlllm.algorithms.dynamic_sampling import DynamicSampling
from rlllm.algorithms.kl_controller import KLController
from rlllm.algorithms.loss_computation import LossComputation, learning, whole
from rlllm.algorithms.losses.surrogates import Given, Plain
from rlllm.algorithms.masks.masks import All
from rlllm.algorithms.ppo.critic import Critic, explained_variance
from rlllm.algorithms.prompt_order import EpochPromptSampler
from rlllm.algorithms.rollout import Rollout
from rlllm.algorithms.samplers.prompt_samplers import PromptSampler, Shuffle, as_sampler
from rlllm.algorithms.signals.greedy import greedy_samples
from rlllm.core.errors import PluginError
from rlllm.core.records import PromptTask, Sample
from rlllm.core.runs import read_json, write_json
from rlllm.policies.chat import as_prompt, completion_text
from rlllm.rewards.composition import Composition, Scores
from rlllm.rollouts.environments.base import finished


@dataclass(frozen=True)
class Slots:
    """The chosen components; the reward slot is the composition, and the loss TRL's of what the surrogate lets it see."""

    rewards: Composition
    sampler: PromptSampler | Callable[[int, int, int], list[int]] = field(default_factory=Shuffle)
    advantage: Callable[[RolloutBatch], Tensor] = field(default_factory=Group)
    mask: Callable[[RolloutBatch], Tensor] = field(default_factory=All)
    surrogate: Callable[[Tensor, Given], Tensor] = field(default_factory=Plain)
    engine: Any = None
    """An engine class; None samples with TRL's own generation (the `hf` engine)."""
    mix: Traces | None = None
    """Completions of each group that are not sampled but taken from the data."""
    kl: KLController | None = None
    """The pull towards the reference; None adds TRL's `beta` to the loss."""

    def needs(self, name: str) -> bool:
        """Whether a component asks for a field of the batch that costs a forward pass or a rollout."""
        return any(name in getattr(part, "needs", ()) for part in self.components)

    @property
    def components(self) -> tuple[Any, ...]:
        return self.sampler, self.advantage, self.mask, self.surrogate

    @property
    def stateful(self) -> dict[str, Any]:
        """Slot name -> component that carries state from rollout to rollout."""
        parts = {"advantage": self.advantage, "mask": self.mask, "sampler": self.sampler, "kl": self.kl}
        return {name: part for name, part in parts.items() if hasattr(part, "load_state_dict")}


class TRLRewardFunction:
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


class RLTrainer(SealedCheckpoints, DynamicSampling, LossComputation, GRPOTrainer):
    """GRPOTrainer with six slots.

    Args:
        slots: the components.
        tasks: the records behind the dataset; its rows carry their index in the column `row`.
        on_rollout: called with every batch's rows for `samples.jsonl`.
        critic: the value model of a advantage that needs `values` (PPO).
        onednn: compute linear layers through oneDNN; see `linear`.
        kwargs: those of GRPOTrainer, without `reward_funcs`.
    """

    def __init__(
        self,
        *,
        slots: Slots,
        tasks: Sequence[PromptTask],
        on_rollout: Callable[[list[dict[str, Any]]], None],
        critic: Critic | None = None,
        onednn: bool = False,
        **kwargs: Any,
    ) -> None:
        self.kl = slots.kl or KLController(coefficient=kwargs["args"].beta)
        self.slots = replace(slots, kl=self.kl)
        self.critic = critic
        self.onednn = onednn
        self.tasks = tasks
        self.on_rollout = on_rollout
        self.reward_rows = 0
        self.reward_undefined = 0
        self.reward_spread = 0.0
        self.sampler = as_sampler(slots.sampler)
        self.columns = [TRLRewardFunction(name, index) for index, name in enumerate(slots.rewards.names)]
        super().__init__(reward_funcs=list(self.columns), **kwargs)
        self.sampler.begin(len(self.train_dataset), self.args.seed)
        self._scored: tuple[list[Sample], Scores, Tensor] | None = None
        self._traces: dict[int, list[int]] = {}

    # sampler ----------------------------------------------------------------------------------------------------------
    def _get_train_sampler(self, dataset: Any = None) -> Any:
        stock = super()._get_train_sampler(dataset)
        layout = {key: getattr(stock, key) for key in ("mini_repeat_count", "batch_size", "repeat_count")}
        return EpochPromptSampler(self.sampler, stock.num_samples, self.args.seed, layout)

    # rollout ----------------------------------------------------------------------------------------------------------
    def _sampled(self, inputs: Sequence[Mapping[str, Any]]) -> Rollout:
        """One rollout of these rows, in whole groups, with TRL's output and our scores."""
        rows = [int(row["row"]) for row in inputs]
        prompts = [self.sampler.show(row, self.tasks[row]) for row in rows]
        asked = [
            one if prompt is self.tasks[row].prompt else {**one, "prompt": as_prompt(self.processing_class, prompt)}
            for one, row, prompt in zip(inputs, rows, prompts, strict=True)
        ]
        size = self.num_generations if self.model.training else self.num_generations_eval
        self._traces = self._references(rows, size)
        traced = sorted(self._traces)
        output = super()._generate_and_score_completions(asked)
        if traced:
            output["off_policy"] = torch.zeros_like(output["completion_mask"], dtype=torch.bool)
            output["off_policy"][traced] = output["completion_mask"][traced].bool()
        assert self._scored is not None
        samples, scores, rewards = self._scored
        self._scored = None
        described = [scores.describe(index) for index in range(len(samples))]
        rollout = Rollout(rows, output, rewards, size, list(samples), described, prompts)
        if not self._label_free:
            self._observe(self._comparable(rollout.grouped(self._weights).view(-1)))
        if traced:
            self._note_traces(rollout)
        return rollout

    def _note_traces(self, rollout: Rollout) -> None:
        """What TRL's own numbers, which count traces as samples, leave open."""
        own = self.accelerator.gather(rollout.own_rewards(self._weights))
        tokens = self.accelerator.gather(rollout.output["off_policy"].sum()).sum()
        self._note({"sampling/reward": float(own.nanmean()), "sampling/trace_tokens": float(tokens)})

    def _references(self, rows: Sequence[int], size: int) -> dict[int, list[int]]:
        """Place in the rollout -> tokens of the trace that stands there instead of a sample."""
        if self.slots.mix is None or not self.model.training:
            return {}
        limit, mix = self.args.max_completion_length, self.slots.mix
        return {
            place: mix.ids(self.tasks[rows[place]], self.processing_class, limit)
            for place in mix.places(len(rows), size)
        }

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        traces, self._traces = self._traces, {}  # a later turn of the same rollout has none
        if not traces:
            return self._sampled_turn(prompt_ids, *args, **kwargs)
        asked = [ids for place, ids in enumerate(prompt_ids) if place not in traces]
        images, fields, num_generations, *rest = args
        each = num_generations * len(asked) // len(prompt_ids)
        sampled, logprobs = self._sampled_turn(asked, images, fields, each, *rest, **kwargs)
        unknown = {place: [0.0] * len(ids) for place, ids in traces.items()}
        return inserted(traces, sampled), None if logprobs is None else inserted(unknown, logprobs)

    def _sampled_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
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
        environments = self.environments or [None] * len(inputs)
        rollouts = zip(inputs, completions, completion_ids_list, environments, strict=True)
        samples = [self._sample(row["row"], *rollout) for row, *rollout in rollouts]
        scores = self.slots.rewards.score(samples)
        for column in self.columns:
            column.scores = scores
        gathered = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        start = self.accelerator.process_index * len(samples)
        self._scored = (samples, scores, gathered[start : start + len(samples)])
        return gathered

    def _sample(self, row: int, completion: Any, ids: list[int], environment: Any) -> Sample:
        task = self.tasks[row]
        truncated = not ids or ids[-1] not in self.eos_token_ids
        if environment is not None:
            return finished(task, completion, environment, len(ids), truncated)
        return Sample(task.prompt, completion_text(completion), task.answer, task.meta, len(ids), truncated)

    # advantage and mask --------------------------------------------------------------------------------------------------
    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        self.beta = self.kl.coefficient  # what TRL makes the reference's log-probabilities for
        rollout, rejected = self._dynamically_sampled(inputs) if self.model.training else (self._sampled(inputs), [])
        output, batch = rollout.output, self._batch(rollout)
        output["advantages"] = self.slots.advantage(batch)
        batch = replace(batch, advantages=output["advantages"])
        self._prepare_critic(output, batch)
        self._apply_mask(output, self.slots.mask(batch), batch.loss_mask)
        self._settle_kl(output, batch)
        self._note(getattr(self.slots.advantage, "metrics", {}))
        advantage = output["advantages"]
        per_row = advantage if advantage.dim() == 1 else (advantage * batch.loss_mask).sum(1)
        if self._label_free and self.model.training:
            self._observe(per_row.view(-1, self.num_generations))
            flat = (self.accelerator.gather(per_row).view(-1, self.num_generations) == 0).all(1)
            self._metrics["train"]["frac_reward_zero_std"][-1] = float(flat.float().mean())
        step = self.state.global_step + 1
        rows = [rollout.table(self._weights, step, per_row), *(one.table(self._weights, step) for one in rejected)]
        self.on_rollout([row for part in rows for row in part])
        return output

    def _batch(self, rollout: Rollout) -> RolloutBatch:
        output = rollout.output
        signals, ref_logps = self._wanted(output), output.get("ref_per_token_logps")
        penalty = None
        if self.kl.where == "reward" and "logps" in signals and ref_logps is not None:
            penalty = self.kl.coefficient * (signals["logps"] - ref_logps)
        return RolloutBatch(
            prompt_ids=output["prompt_ids"],
            prompt_mask=output["prompt_mask"],
            completion_ids=output["completion_ids"],
            loss_mask=learning(output),
            group_size=rollout.group_size,
            rewards=rollout.rewards,
            weights=self._weights,
            trl_advantages=output["advantages"],
            columns=[dict(self.tasks[row].meta) for row in rollout.rows],
            names=self.slots.rewards.names,
            ref_logps=ref_logps,
            values=self._values(output),
            greedy=self._greedy(rollout.asked) if self.slots.needs("greedy") else None,
            penalty=penalty,
            **signals,
        )

    def _wanted(self, output: dict[str, Any]) -> dict[str, Tensor]:
        """What is known of each token or asked for: `logps` (under the policy that sampled), `entropies`, `certainty`."""
        known = output.get("old_per_token_logps")
        wanted = {name for name in ("logps", "entropies", "certainty") if self.slots.needs(name)}
        if self.kl.coefficient > 0 or self.critic is not None:
            wanted.add("logps")
        if known is None:
            return self._signals(output, wanted)
        return {**self._signals(output, wanted - {"logps"}), "logps": known}

    @torch.no_grad()
    def _values(self, output: dict[str, Any]) -> Tensor | None:
        if self.critic is None:
            return None
        keep, size = output["completion_ids"].size(1), self.args.per_device_train_batch_size
        parts = zip(*(part.split(size) for part in whole(output)), strict=True)
        return torch.cat([self.critic.values(ids, mask, keep) for ids, mask in parts])

    def _greedy(self, rows: Sequence[int]) -> Tensor:
        """(B,) reward of one greedy completion of each prompt, given as row of the data set."""
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
        output["returns"] = self.slots.advantage.targets(batch)
        output.setdefault("old_per_token_logps", batch.logps)
        known = explained_variance(batch.values, output["returns"], batch.loss_mask)
        learning = output["advantages"][batch.loss_mask.bool()]
        deviation = float(learning.std(correction=0)) if len(learning) else 0.0
        self._note({"explained_variance": known, "advantage_std": deviation})

    def _settle_kl(self, output: dict[str, Any], batch: RolloutBatch) -> None:
        """Leave TRL the term it shall add to the loss, and steer the coefficient by what the rollout shows."""
        if self.kl.where != "loss":
            output.pop("ref_per_token_logps", None)
            self.beta = 0.0
        if batch.logps is None or batch.ref_logps is None:
            return
        ratios = self.accelerator.gather(((batch.logps - batch.ref_logps) * batch.loss_mask).sum(1))
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

    @property
    def _label_free(self) -> bool:
        """Whether the signal is the policy's own, and rewards are only monitored."""
        return getattr(self.slots.advantage, "ignores_rewards", False)

    def _apply_mask(self, output: dict[str, Any], mask: Tensor, loss_mask: Tensor) -> None:
        if mask is loss_mask:
            return
        output["tool_mask"] = mask
        # dapo, cispo and vespo divide by this count: left at the unmasked one, the loss would silently shrink
        output["num_items_in_batch"] = self.accelerator.gather(mask.sum()).sum()

    def recall(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take up the diagnostics of an earlier start from its `samples.jsonl`, so that the verdict covers the whole run."""
        signal = "advantage" if self._label_free else "reward"
        known = (row[signal] for row in rows if row.get("kept", True) or not self._label_free)
        totals = torch.tensor([torch.nan if value is None else value for value in known])
        if totals.numel():
            self._observe(totals.view(-1, self.num_generations) if self.num_generations > 1 else totals.view(1, -1))

    def _observe(self, grouped: Tensor) -> None:
        self.reward_rows += grouped.numel()
        self.reward_undefined += int(grouped.isnan().sum())
        spread = grouped.nan_to_num(nan=-torch.inf).amax(1) - grouped.nan_to_num(nan=torch.inf).amin(1)
        finite = spread[spread.isfinite()]
        if finite.numel():
            self.reward_spread = max(self.reward_spread, float(finite.max()))

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
