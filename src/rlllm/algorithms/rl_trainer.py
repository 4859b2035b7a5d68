"""`RLTrainer`: the one subclass of TRL's GRPOTrainer. Read top to bottom, it is the slots in the order of a training step.

Every override wraps `super()`. The private hooks it stands on are `_get_train_sampler`, `_generate_single_turn`,
`_tokenize_prompts`, `_calculate_rewards`, `_generate_and_score_completions` and, in `checkpoints`, `_save_checkpoint` and
`_load_optimizer_and_scheduler`, in `loss_computation` `_compute_loss` and `_get_per_token_logps_and_entropies`; tests/contract
says what is expected of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms._trl import GRPOTrainer, add_hooks, remove_hooks
from rlllm.algorithms.advantages.group import Group
from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.checkpoints import SealedCheckpoints
from rlllm.algorithms.completion_seeds import CompletionSeeds
from rlllm.algorithms.components import signals_of
from rlllm.algorithms.dialogues.playing import DialoguePlay
from rlllm.algorithms.dialogues.role_policies import RolePolicies
from rlllm.algorithms.entropy_target import EntropyTarget
from rlllm.algorithms.erasing.segments import described, sample_segments
from rlllm.algorithms.forward_pass import Pass, Window, most_rows, plain_pass
from rlllm.algorithms.image_rollouts import ImageRollouts
from rlllm.algorithms.kl_controller import KLController
from rlllm.algorithms.loss_computation import ALL_TOKENS, SIGNAL_PREFIX, LossComputation
from rlllm.algorithms.losses.trl import BY_LOSS_TYPE, TRLLoss
from rlllm.algorithms.masks.all_tokens import AllTokens
from rlllm.algorithms.mismatch.correction import RolloutCorrection
from rlllm.algorithms.mismatch.stale_sampler import StaleSampler
from rlllm.algorithms.off_policy.demonstrations import inserted
from rlllm.algorithms.ppo.critic import Critic, explained_variance
from rlllm.algorithms.prompt_order import EpochPromptSampler
from rlllm.algorithms.protocols import (
    CONTEXT,
    Advantage,
    Component,
    Context,
    Dialogue,
    Erasure,
    Mask,
    OffPolicy,
    PolicyLoss,
    Reflection,
    Sampler,
    as_component,
)
from rlllm.algorithms.proven_vllm import ProvenVLLM
from rlllm.algorithms.reflecting.two_passes import TwoAnswers, TwoPassRollouts
from rlllm.algorithms.resampling import Resampling, gather_objects
from rlllm.algorithms.rollout import Rollout
from rlllm.algorithms.samplers.order import Shuffle
from rlllm.algorithms.shared_log import SharedLog
from rlllm.algorithms.signals.base import Signal, SignalContext
from rlllm.algorithms.signals.entropies import Entropies
from rlllm.algorithms.signals.logps import Logps
from rlllm.algorithms.tensor_dict import loss_mask, prompts_with_completions
from rlllm.core.errors import ConfigError
from rlllm.core.plugin_errors import plugin_boundary
from rlllm.core.processes import launched
from rlllm.core.records import REFLECTED, PromptTask, Sample, images_of
from rlllm.core.runs import read_json, write_json
from rlllm.policies.chat import template_arguments
from rlllm.policies.completion_text import completion_texts
from rlllm.policies.padding import padded
from rlllm.policies.rope import by_row
from rlllm.policies.sharded_weights import whole_weights
from rlllm.rewards.composition import Composition, Scores
from rlllm.rollouts.config import ServingConfig
from rlllm.rollouts.engines.base import sample_completions, sampled_logps
from rlllm.rollouts.environments.base import finished

_COUNTS = "rewards.json"
"""In a checkpoint: what the rewards were given, and where they failed."""
_SLOTS = ("sampler", "advantage", "mask", "loss", "off_policy", "erase", "dialogue", "reflect")


@dataclass(frozen=True)
class Slots:
    """The chosen components. A plain function stands for a component of its slot."""

    rewards: Composition
    sampler: Sampler = field(default_factory=Shuffle)
    advantage: Advantage = field(default_factory=Group)
    mask: Mask = field(default_factory=AllTokens)
    loss: PolicyLoss | None = None
    """None takes TRL's loss of the run's `loss_type`."""
    engine: Any = None
    """An engine class; None samples with TRL's own generation (the `hf` engine)."""
    off_policy: OffPolicy | None = None
    """Completions of each group that are not sampled but taken from the data."""
    erase: Erasure | None = None
    """Samples completions in segments and erases some; None samples them whole."""
    dialogue: Dialogue | None = None
    """Plays a dialogue on each problem, of which the group completes one turn; None has it complete the problem."""
    reflect: Reflection | None = None
    """Asks for a second answer; None samples single answers."""
    kl: KLController | None = None
    """The KL penalty; None adds TRL's `beta` to the loss."""
    correction: RolloutCorrection | None = None
    """What is done about a mismatch of sampler and trainer; None measures it alone."""
    staleness: int = 0
    """Optimizer steps that the weights which sample may be behind those that train."""
    entropy_target: EntropyTarget | None = None
    """Sets TRL's `entropy_target` to the policy's own entropy on the first rollout; None leaves the setting as it is."""

    def __post_init__(self) -> None:
        for slot, part in self.components.items():
            object.__setattr__(self, slot, as_component(slot, part))

    @property
    def components(self) -> dict[str, Component]:
        """Slot -> component, of every slot that is filled."""
        parts = {slot: getattr(self, slot) for slot in _SLOTS}
        return {slot: part for slot, part in parts.items() if part is not None}

    @property
    def stateful(self) -> dict[str, Any]:
        """Name -> everything whose state is saved with a checkpoint."""
        controllers = {"kl": self.kl, "entropy_target": self.entropy_target}
        return {**self.components, **{name: part for name, part in controllers.items() if part}}


@dataclass
class _InFlight:
    """What the hooks of one rollout hand to each other, since TRL calls them from inside its own method."""

    demonstrations: dict[int, list[int]]
    """Place in the rollout -> token ids of the completion that is not sampled."""
    samples: list[Sample] = field(default_factory=list)
    scores: Scores | None = None
    rewards: Tensor | None = None
    """(B, R) of this process."""
    contexts: Sequence[Context] = ()
    """What each row completes, where a dialogue says so."""
    arguments: list[dict[str, Any]] = field(default_factory=list)
    """What each row gives the chat template beside its prompt, such as tools."""
    answers: Sequence[TwoAnswers] = ()
    """The two answers of each row, where the run reflects."""
    answer_limit: int | None = None
    """Tokens of one answer, where a completion holds two."""


class _TRLRewardFunction:
    """One reward as TRL calls it: a function whose name labels the metrics. Scores are computed once for all rewards."""

    def __init__(self, name: str, index: int) -> None:
        self.__name__ = name
        self.index = index
        self.scores: Scores | None = None

    def __call__(self, **_: Any) -> list[float | None]:
        assert self.scores is not None
        values = self.scores.values[self.index]
        # where a weighted reward failed, the others alone would misjudge the sample: it is left out whole
        return [None if total is None else value for value, total in zip(values, self.scores.totals, strict=True)]


class RLTrainer(
    SealedCheckpoints,
    Resampling,
    DialoguePlay,
    RolePolicies,
    TwoPassRollouts,
    ImageRollouts,
    ProvenVLLM,
    SharedLog,
    LossComputation,
    GRPOTrainer,
):
    """GRPOTrainer with slots.

    Args:
        slots: the components.
        tasks: the records behind the dataset; its rows carry their index in the column `row`.
        on_rollout: called with every batch's rows for `samples.jsonl`.
        critic: the value model of an advantage estimator that needs `values` (PPO).
        onednn: compute linear layers through oneDNN; see `cpu.onednn_linear`.
        serving: how it is proven that the weights arrive where TRL asks vLLM itself.
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
        serving: ServingConfig | None = None,
        **kwargs: Any,
    ) -> None:
        args = kwargs["args"]
        self.kl = slots.kl or KLController(coefficient=args.beta)
        self.slots = replace(slots, kl=self.kl, loss=slots.loss or BY_LOSS_TYPE[args.loss_type]())
        self.signals = signals_of(self.slots.components)
        self.critic = critic
        self.onednn = onednn
        self.tasks = tasks
        self.on_rollout = on_rollout
        self.reward_rows = 0
        self.reward_undefined = 0
        self.reward_spread = 0.0
        self.sampler = self.slots.sampler
        judged_by = self.sampler.reward or slots.rewards.group_filter or slots.rewards.names[0]
        self.filter_column = slots.rewards.names.index(judged_by)
        self.reward_functions = [_TRLRewardFunction(name, index) for index, name in enumerate(slots.rewards.names)]
        super().__init__(reward_funcs=list(self.reward_functions), **kwargs)
        if self.ref_model is not None:
            by_row(self.ref_model)  # TRL loads it
        self._prove_syncs(serving or ServingConfig())
        self._add_roles()
        self._prepare_reflection()
        self._full_weights = self.reward_weights.clone()
        self.sampler.begin(len(self.train_dataset), self.args.seed)
        self._in_flight = _InFlight({})
        self.stale = StaleSampler(self.slots.staleness)
        sharded = str(self.accelerator.distributed_type.value)
        if self.slots.staleness and sharded in ("FSDP", "DEEPSPEED"):
            raise ConfigError(
                "older weights of the sampler are a copy beside the model, and here each process holds a part of it",
                given=f"rollout.staleness={self.slots.staleness}, {sharded}",
                hint="rollout.staleness=0, or launch=ddp",
            )
        self._seeds = CompletionSeeds(args.seed) if launched() else None

    # sampler ----------------------------------------------------------------------------------------------------------
    def _get_train_sampler(self, dataset: Any = None) -> Any:
        stock = super()._get_train_sampler(dataset)
        layout = {key: getattr(stock, key) for key in ("mini_repeat_count", "batch_size", "repeat_count")}
        return EpochPromptSampler(self.sampler, stock.num_samples, self.args.seed, layout)

    def _advance_sampler(self) -> None:
        """Tell the sampler how far the run is, and weigh rewards as it wants."""
        self.sampler.advance(self.state.global_step / max(self.state.max_steps, 1))
        factors = self.sampler.reward_factors
        named = [factors.get(name, 1.0) for name in self.slots.rewards.names]
        self.reward_weights = self._full_weights * torch.tensor(named)
        known = {name: factor for name, factor in factors.items() if name in self.slots.rewards.names}
        self._note({f"rewards/{name}/weight_factor": factor for name, factor in known.items()})

    # rollout ----------------------------------------------------------------------------------------------------------
    def _sampled(self, inputs: Sequence[Mapping[str, Any]]) -> Rollout:
        """One rollout of these rows, in whole groups, with TRL's output and our scores."""
        rows = [int(row["row"]) for row in inputs]
        size = self.num_generations if self.model.training else self.num_generations_eval
        contexts = self._contexts(rows, size)
        prompts = [context.prompt for context in contexts] or [self.sampler.show(row, self.tasks[row]) for row in rows]
        shown = [
            item
            if prompt is self.tasks[row].prompt and not images_of(prompt)
            else {**item, "prompt": self._as_shown(prompt)}
            for item, row, prompt in zip(inputs, rows, prompts, strict=True)
        ]
        arguments = [template_arguments(self.tasks[row].meta) for row in rows]
        rollout = self._in_flight = _InFlight(self._demonstrations(rows, size), contexts=contexts, arguments=arguments)
        places = sorted(rollout.demonstrations)
        with self._reference_wanted(), self._completing(contexts):
            output = super()._generate_and_score_completions(shown)
        self._note_roles(output, contexts)
        if places:
            output["off_policy"] = torch.zeros_like(output["completion_mask"], dtype=torch.bool)
            output["off_policy"][places] = output["completion_mask"][places].bool()
        if contexts:
            self._only_decisions(output, rollout.samples)
        assert rollout.scores is not None
        assert rollout.rewards is not None
        described = [rollout.scores.describe(index) for index in range(len(rollout.samples))]
        sampled = Rollout(rows, output, rollout.rewards, size, list(rollout.samples), described, prompts)
        if not self._label_free:
            self._observe(self._comparable(sampled.grouped(self._weights).view(-1)))
        if places:
            self._note_demonstrations(sampled)
        return sampled

    @contextmanager
    def _reference_wanted(self) -> Iterator[None]:
        """TRL computes the reference's log-probabilities where its `beta` is not 0, wherever the KL term enters; and adds the
        term to the loss by the same number."""
        self.beta = self.kl.coefficient
        yield
        self.beta = self.kl.coefficient if self.kl.where == "loss" else 0.0

    def _note_demonstrations(self, rollout: Rollout) -> None:
        """What TRL's own numbers, which count demonstrations as samples, leave open."""
        own = self.accelerator.gather(rollout.of_policy(rollout.grouped(self._weights)))
        tokens = self.accelerator.gather(rollout.output["off_policy"].sum()).sum()
        self._note({"sampling/reward": float(own.nanmean()), "sampling/demonstration_tokens": float(tokens)})

    def _demonstrations(self, rows: Sequence[int], size: int) -> dict[int, list[int]]:
        off_policy, limit = self.slots.off_policy, self.args.max_completion_length
        if off_policy is None or not self.model.training:
            return {}
        with plugin_boundary("off_policy", type(off_policy).__name__, off_policy):
            return {
                place: off_policy.ids(self.tasks[rows[place]], self._tokenizer, limit)
                for place in off_policy.places(len(rows), size)
            }

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        """TRL's prompts; those of rows with tools of their own with these, unless an environment brings the tools."""
        arguments = self._in_flight.arguments
        if not any(arguments) or self.tools or self.environments or isinstance(prompts[0], str):
            return super()._tokenize_prompts(prompts)
        options = {"chat_template": self.chat_template, "add_generation_prompt": True, "return_dict": True}
        ids = [
            self._tokenizer.apply_chat_template(
                prompt, tokenize=True, **options, **{**self.chat_template_kwargs, **own}
            )["input_ids"]
            for prompt, own in zip(prompts, arguments, strict=True)
        ]
        return ids, None, {}

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        by_trl = self.slots.engine is None and self.use_vllm  # TRL gathers one weight at a time, and expects parts
        with nullcontext() if by_trl else self._whole_weights():
            return self._turn_by_age(prompt_ids, *args, **kwargs)

    @contextmanager
    def _whole_weights(self) -> Iterator[None]:
        """Every process has all weights inside. ZeRO-3's hooks are off, which would take them away again after a pass."""
        zero3 = self.is_deepspeed_enabled and self.accelerator.state.deepspeed_plugin.zero_stage == 3
        with whole_weights(self.accelerator.unwrap_model(self.model_wrapped)):
            if not zero3:
                yield
                return
            remove_hooks(self.model_wrapped)
            try:
                yield
            finally:
                add_hooks(self.model_wrapped)

    def _turn_by_age(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        """One turn of every completion, by the policy's weights or by older ones."""
        if not self.slots.staleness or not self.model.training:
            return self._turn(prompt_ids, *args, **kwargs)
        with self.stale.sampling(self.accelerator.unwrap_model(self.model_wrapped), self.state.global_step) as age:
            self._note({"sampling/staleness": age})
            return self._turn(prompt_ids, *args, **kwargs)

    def _turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        """One turn of every completion, demonstrations at their places."""
        demonstrations, self._in_flight.demonstrations = self._in_flight.demonstrations, {}  # a later turn has none
        if not demonstrations:
            return self._generate_samples(prompt_ids, *args, **kwargs)
        sampled_prompts = [ids for place, ids in enumerate(prompt_ids) if place not in demonstrations]
        images, fields, num_generations, *rest = args
        each = num_generations * len(sampled_prompts) // len(prompt_ids)
        sampled, logprobs = self._generate_samples(sampled_prompts, images, fields, each, *rest, **kwargs)
        unknown = {place: [math.nan] * len(ids) for place, ids in demonstrations.items()}
        return inserted(demonstrations, sampled), None if logprobs is None else inserted(unknown, logprobs)

    def _generate_samples(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        images = args[0]
        if self.slots.engine is None or images is not None:
            with self._limited():
                return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        if self._role_of_rows:
            return self._sampled_by_role(prompt_ids), None
        model = self.accelerator.unwrap_model(self.model_wrapped)
        engine = self.slots.engine(model, self._tokenizer)
        with self.accelerator.main_process_first():
            engine.sync()
        if self.slots.erase is not None and self.model.training:
            return self._generate_segments(engine, self.slots.erase, prompt_ids), None
        if self._seeds is not None:
            first = self.accelerator.process_index * len(prompt_ids)
            engine.seeds = self._seeds.draw(self.state.global_step, first, len(prompt_ids))
        completions = sample_completions(engine, prompt_ids, self.sampling)
        self._note(engine.metrics)
        return completions, sampled_logps(engine, completions)

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """TRL's own generation with the length limit of one answer, where a completion holds several."""
        limit = self._in_flight.answer_limit
        if limit is None:  # with vLLM there is no generation config
            yield
            return
        whole = self.generation_config.max_new_tokens
        self.generation_config.max_new_tokens = limit
        try:
            yield
        finally:
            self.generation_config.max_new_tokens = whole

    def _generate_segments(self, engine: Any, erase: Erasure, prompt_ids: list[list[int]]) -> list[list[int]]:
        """Completions sampled in segments, of which `erase` has rejected some; tokens of those count as seen."""
        sampling = self.sampling
        result = sample_segments(
            prompt_ids,
            erase,
            group_size=self.num_generations,
            longest=sampling.max_new_tokens,
            stops=engine.stop_ids(),
            sample=lambda prefixes, most: sample_completions(
                engine, prefixes, sampling.model_copy(update={"max_new_tokens": most})
            ),
            entropies=self._entropies_of,
        )
        erase.end(lambda values: self.accelerator.reduce(values, reduction="sum"))
        self.state.num_input_tokens_seen += sum(self._of_all_processes([result.erased_tokens]))
        self._note(described(result))
        return result.completions

    @torch.no_grad()
    def _entropies_of(self, prefixes: list[list[int]], segments: list[list[int]]) -> list[Tensor]:
        """(tokens,) entropies in nats, at the run's temperature, of new tokens after their prefixes."""
        device = self.accelerator.device
        before, after = padded(prefixes, 0, left=True), padded(segments, 0)
        ids, mask = (
            torch.cat([torch.tensor(part, device=device) for part in parts], 1)
            for parts in zip(before, after, strict=True)
        )
        keep, rows = len(after[0][0]), self.args.per_device_train_batch_size
        parts = self._passes_over(ids, mask, keep, rows=rows)
        entropies = torch.cat([part.restore(part.view.chosen[1]) for part in parts]).cpu()
        return [row[: len(segment)] for row, segment in zip(entropies, segments, strict=True)]

    @property
    def sampling(self) -> Any:
        """This run's rollout settings in the form engines take."""
        from rlllm.rollouts.config import SamplingConfig

        args = self.args
        return SamplingConfig(
            max_new_tokens=self._in_flight.answer_limit or args.max_completion_length,
            temperature=args.temperature,
            top_p=args.top_p,
            top_k=args.top_k or 0,
            batch_size=args.generation_batch_size,
        )

    # reward -----------------------------------------------------------------------------------------------------------
    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        environments = self.environments or [None] * len(inputs)
        # not TRL's messages: where the tokenizer parses responses, these have no calls and no reasoning in their text
        answers = self._in_flight.answers
        judged = [answer.second for answer in answers] if answers else completion_ids_list
        texts = completion_texts(self._tokenizer, judged)
        contexts: Sequence[Context | None] = self._in_flight.contexts or [None] * len(inputs)
        rollouts = zip(inputs, completions, texts, completion_ids_list, environments, contexts, strict=True)
        samples = [self._sample(row["row"], *rollout) for row, *rollout in rollouts]
        if answers:
            firsts = completion_texts(self._tokenizer, [answer.first for answer in answers])
            samples = [
                replace(sample, meta={**sample.meta, REFLECTED: first})
                for sample, first in zip(samples, firsts, strict=True)
            ]
        scores = self._role_scores(samples) if self._in_flight.contexts else self.slots.rewards.score(samples)
        for function in self.reward_functions:
            function.scores = scores
        gathered = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        start = self.accelerator.process_index * len(samples)
        rollout = self._in_flight
        rollout.samples, rollout.scores, rollout.rewards = samples, scores, gathered[start : start + len(samples)]
        return gathered

    def _sample(
        self, row: int, messages: Any, text: str, ids: list[int], environment: Any, context: Context | None
    ) -> Sample:
        task = self.tasks[row]
        truncated = not ids or ids[-1] not in self.eos_token_ids
        if environment is not None:
            return finished(task, messages, environment, len(ids), truncated)
        if context is not None:
            meta = {**task.meta, CONTEXT: dict(context.says)}
            return Sample(context.prompt, text, task.answer, meta, len(ids), truncated)
        return Sample(task.prompt, text, task.answer, task.meta, len(ids), truncated)

    # advantage and mask -----------------------------------------------------------------------------------------------
    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        if self.model.training:
            self._advance_sampler()
            rollout, rejected = self._rollout_to_learn_from(inputs)
        else:
            rollout, rejected = self._sampled(inputs), []
        output, batch = rollout.output, self._batch(rollout)
        advantages = output["advantages"] = self._called("advantage", batch)
        batch = replace(batch, advantages=advantages)
        self._prepare_critic(output, batch)
        mask = self._settle_mismatch(output, batch, self._called("mask", batch))
        self._apply_mask(output, mask, batch.loss_mask)
        self._keep_loss_signals(output, batch)
        self._settle_kl(output, batch)
        self._settle_entropy_target(rollout, batch)
        for part in self.slots.components.values():
            self._note(part.metrics)
        per_row = advantages if advantages.dim() == 1 else (advantages * batch.loss_mask).sum(1)
        if self._label_free and self.model.training:
            self._observe(per_row.view(-1, self.num_generations))
            zero = (self.accelerator.gather(per_row).view(-1, self.num_generations) == 0).all(1)
            self._metrics["train"]["frac_reward_zero_std"][-1] = float(zero.float().mean())
        step = self.state.global_step + 1
        tables = [rollout.table(self._weights, step, per_row), *(part.table(self._weights, step) for part in rejected)]
        self.on_rollout(gather_objects([row for table in tables for row in table]))
        return output

    def _called(self, slot: str, batch: RolloutBatch) -> Tensor:
        """What the component of a slot returns for the batch."""
        part = self.slots.components[slot]
        with plugin_boundary(slot, type(part).__name__, getattr(part, "function", part), keys=batch.signals):
            return part(batch)

    def _batch(self, rollout: Rollout) -> RolloutBatch:
        output = rollout.output
        signals = self._signals(rollout)
        logps, ref_logps = signals.get("logps"), output.get("ref_per_token_logps")
        penalty = None
        if self.kl.where == "reward" and logps is not None and ref_logps is not None:
            penalty = self.kl.coefficient * (logps - ref_logps)
        return RolloutBatch(
            prompt_ids=output["prompt_ids"],
            prompt_mask=output["prompt_mask"],
            completion_ids=output["completion_ids"],
            loss_mask=loss_mask(output),
            group_size=rollout.group_size,
            rewards=rollout.rewards,
            weights=self._weights,
            trl_advantages=output["advantages"],
            extra_fields=[dict(self.tasks[row].meta) for row in rollout.rows],
            names=self.slots.rewards.names,
            kl_penalty=penalty,
            signals=signals,
            step=self.state.global_step,
            normalise=self._normalised,
            reduce=lambda values: self.accelerator.reduce(values, reduction="sum"),
        )

    def _signals(self, rollout: Rollout) -> dict[str, Any]:
        """Name -> value of every signal that a component needs, or that the KL term or the critic needs."""
        wanted, output = dict(self.signals), rollout.output
        corrects = self.slots.correction is not None
        if self.kl.coefficient > 0 or self.critic is not None or corrects or self._old_logps_needed(output):
            wanted.setdefault("logps", Logps())
        values: dict[str, Any] = {}
        if "old_per_token_logps" in output:
            values["logps"] = output["old_per_token_logps"]
        if "ref_per_token_logps" in output:
            values["ref_logps"] = output["ref_per_token_logps"]
        context = self._signal_context(rollout)
        wanted = {name: signal for name, signal in wanted.items() if name not in values}
        groups_fit = self._rows_of_whole_groups(context) > 0
        shared = {n: s for n, s in wanted.items() if s.cost == "shared pass" and (groups_fit or not s.compares_groups)}
        if shared.keys() == {"logps"} and self.fast_path is None and not self._one_by_one(rollout.rows):
            shared, values["logps"] = {}, self._fused_logps(output)
        values.update(self._shared_pass(shared, context))
        for name, signal in wanted.items():
            if name not in shared and name not in values:
                with torch.no_grad(), plugin_boundary("signal", name, signal):
                    values[name] = signal.compute(context)
        return values

    def _one_by_one(self, rows: Sequence[int]) -> bool:
        """Whether rows pass through the model in parts of their own: those with images, and those of several roles."""
        return bool(self._role_of_rows) or self._has_images(rows)

    @torch.no_grad()
    def _fused_logps(self, output: Mapping[str, Any]) -> Tensor:
        """(B, T) log-probabilities by TRL's fused head, which never holds the logits of a whole vocabulary: on a GPU these
        would take more memory than the model."""
        ids, mask = prompts_with_completions(output)
        keep, rows = output["completion_ids"].size(1), self.args.per_device_train_batch_size
        return self._get_per_token_logps_and_entropies(self.model, ids, mask, keep, batch_size=rows)[0]

    def _old_logps_needed(self, output: Mapping[str, Any]) -> bool:
        """TRL's own losses take the ratio of a token that was not sampled against probability 1 only if they are told to."""
        return "off_policy" in output and isinstance(self.slots.loss, TRLLoss)

    def _signal_context(self, rollout: Rollout) -> SignalContext:
        return SignalContext(
            model=self.accelerator.unwrap_model(self.model_wrapped),
            tokenizer=self._tokenizer,
            output=rollout.output,
            tasks=[self.tasks[row] for row in rollout.rows],
            rows=rollout.rows,
            group_size=rollout.group_size,
            temperature=self.temperature,
            rows_per_pass=self.args.per_device_train_batch_size,
            passes=partial(self._passes_over, rows=self.args.per_device_train_batch_size),
            sampling=self.sampling,
            score=lambda samples: self.slots.rewards.score(list(samples)).totals,
            critic=self.critic,
        )

    @torch.no_grad()
    def _shared_pass(self, wanted: Mapping[str, Signal], context: SignalContext) -> dict[str, Tensor]:
        """The signals that one forward pass of the policy over the rollout gives, for all that are wanted."""
        if not wanted:
            return {}
        parts: dict[str, list[Tensor]] = {name: [] for name in wanted}
        for part in self._passes(wanted, context):
            for name, signal in wanted.items():
                with plugin_boundary("signal", name, signal):
                    if signal.any_layout:
                        values = signal.from_pass(part, context)
                        values = part.window.pad(values) if signal.per_token else values
                    else:
                        values = signal.from_forward(part.view, context)
                        values = part.restore(values) if signal.per_token else values
                parts[name].append(values)
        return {name: signal.join(parts[name]) for name, signal in wanted.items()}

    def _passes(self, wanted: Mapping[str, Signal], context: SignalContext) -> Iterator[Pass]:
        ids, mask = prompts_with_completions(context.output)
        keep, rows = context.output["completion_ids"].size(1), context.rows_per_pass
        if any(signal.compares_groups for signal in wanted.values()):
            rows = self._rows_of_whole_groups(context)
        hidden_states = any(signal.reads_hidden_states for signal in wanted.values())
        share = all(signal.elementwise or signal.any_layout for signal in wanted.values())
        if self._has_images(context.rows):
            yield from self._passes_with_images(ids, mask, keep, context.rows, rows=rows, hidden_states=hidden_states)
            return
        for part in self._by_role(context.output):
            yield from self._passes_over(
                ids[part], mask[part], keep, rows=rows, share=share, hidden_states=hidden_states
            )

    def _passes_over(
        self, ids: Tensor, mask: Tensor, keep: int, *, rows: int, share: bool = True, hidden_states: bool = False
    ) -> Iterator[Pass]:
        """Forward passes over the last `keep` tokens of (B, P + keep) rows; arguments as for `FastPath.passes`."""
        if self.fast_path is not None:
            yield from self.fast_path.passes(
                self.model, ids, mask, keep, self.temperature, rows=rows, share=share, hidden_states=hidden_states
            )
            return
        for part_ids, part_mask in zip(ids.split(rows), mask.split(rows), strict=True):
            window = Window.of(part_ids, part_mask, keep)
            yield plain_pass(self.model, window, self.temperature, hidden_states=hidden_states)

    def _rows_of_whole_groups(self, context: SignalContext) -> int:
        """Completions of whole groups that pass through the model together; 0 where not even those of one group may."""
        room = most_rows(self.model, context.output["completion_ids"].size(1))
        size = context.group_size
        if room < size:
            return 0
        return min(max(context.rows_per_pass, size), room) // size * size

    def _prepare_critic(self, output: dict[str, Any], batch: RolloutBatch) -> None:
        if self.critic is None:
            return
        assert batch.values is not None
        output["values"] = batch.values
        output["returns"] = self.slots.advantage.value_targets(batch)
        output.setdefault("old_per_token_logps", batch.logps)
        explained = explained_variance(batch.values, output["returns"], batch.loss_mask, batch.moments)
        _, variance, _ = batch.moments(output["advantages"], batch.loss_mask)
        self._note({"explained_variance": explained, "advantage_std": float(variance.sqrt())})

    def _apply_mask(self, output: dict[str, Any], mask: Tensor, everything: Tensor) -> None:
        if mask is everything:
            return
        output["tool_mask"], output[ALL_TOKENS] = mask, everything
        # dapo, cispo and vespo divide by this count: left at the unmasked one, the loss would silently shrink
        output["num_items_in_batch"] = self.accelerator.gather(mask.sum()).sum()

    def _keep_loss_signals(self, output: dict[str, Any], batch: RolloutBatch) -> None:
        """Put what the loss reads of the rollout among the tensors that TRL cuts into micro-batches."""
        if self._old_logps_needed(output):
            assert batch.logps is not None
            output["old_per_token_logps"] = batch.logps.masked_fill(output["off_policy"], 0.0)
        for name in signals_of({"loss": self.slots.loss}):
            value = batch.signals[name]
            if not isinstance(value, Tensor) or value.shape[:1] != output["completion_ids"].shape[:1]:
                raise ConfigError(
                    f"a loss cannot read the signal {name}: it is no tensor with one entry for each completion",
                    hint="read it in an advantage or a mask",
                )
            output[f"{SIGNAL_PREFIX}{name}"] = value

    def _settle_kl(self, output: dict[str, Any], batch: RolloutBatch) -> None:
        """Leave TRL the term it shall add to the loss, and move the coefficient by what the rollout shows."""
        if self.kl.where != "loss":
            output.pop("ref_per_token_logps", None)
        ref_logps = batch.signals.get("ref_logps")
        if batch.logps is None or ref_logps is None:
            return
        ratios = self.accelerator.gather(((batch.logps - ref_logps) * batch.loss_mask).sum(1))
        kl = float(ratios.mean())  # over all processes, whose coefficients have to stay one
        self._note({"kl_per_completion": kl, "kl_coefficient": self.kl.coefficient})
        self.kl.update(kl, len(ratios))

    @torch.no_grad()
    def _settle_entropy_target(self, rollout: Rollout, batch: RolloutBatch) -> None:
        """Measure the target on the first rollout that is learned from, and hand it to TRL's adaptive entropy bonus."""
        target = self.slots.entropy_target
        if target is None or not self.model.training:
            return
        if target.value is None:
            context = self._signal_context(rollout)
            entropies = batch.entropies
            if entropies is None:
                entropies = self._shared_pass({"entropies": Entropies()}, context)["entropies"]
            target.value = self._token_mean(entropies, batch.loss_mask)
        self.args.entropy_target = target.value
        self._note({"entropy_target": target.value})

    def _comparable(self, totals: Tensor) -> Tensor:
        """(N, G) rewards that compete; where every prompt has one completion, they compete across the rollout."""
        if self.num_generations > 1:
            return totals.view(-1, self.num_generations)
        everyone = self.accelerator.gather(totals)
        values = everyone[~everyone.isnan()]
        constant = bool(values.numel() and values.amax() == values.amin())
        self._metrics["train"]["frac_reward_zero_std"][-1] = float(constant)  # TRL's is 1 for every group of one
        return totals.view(1, -1)

    @property
    def _label_free(self) -> bool:
        """Whether the signal is the policy's own, and rewards are only monitored."""
        return self.slots.advantage.ignores_rewards

    def recall(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count the rollouts of an earlier start from its `samples.jsonl`, so that the verdict covers the whole run."""
        signal = "advantage" if self._label_free else "reward"
        kept = (row for row in rows if row.get("kept", True) or not self._label_free)
        for _, rollout in groupby(kept, key=lambda row: row["step"]):
            totals = torch.tensor([torch.nan if row[signal] is None else row[signal] for row in rollout])
            # without groups the rewards of one rollout are compared: those of another are of another policy
            self._count(totals.view(-1, self.num_generations) if self.num_generations > 1 else totals.view(1, -1))

    def _observe(self, grouped: Tensor) -> None:
        """Count this process's (N, G) rewards, and those of all others."""
        self._count(self.accelerator.gather(grouped))

    def _count(self, grouped: Tensor) -> None:
        self.reward_rows += grouped.numel()
        self.reward_undefined += int(grouped.isnan().sum())
        spread = grouped.nan_to_num(nan=-torch.inf).amax(1) - grouped.nan_to_num(nan=torch.inf).amin(1)
        finite = spread[spread.isfinite()]
        if finite.numel():
            self.reward_spread = max(self.reward_spread, float(finite.max()))

    # state ------------------------------------------------------------------------------------------------------------
    def save_state(self, folder: Path, *, writes: bool = True) -> None:
        super().save_state(folder, writes=writes)
        if self.critic is not None:
            self.critic.save(folder, writes=writes)
        counts = self.slots.rewards.counts()
        if self.accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            counts = self.slots.rewards.joined_counts(gather_object([counts]))
        if not writes:
            return
        write_json(folder / _COUNTS, counts)
        states = {name: part.state_dict() for name, part in self.slots.stateful.items()}
        write_json(folder / "slots.json", {name: state for name, state in states.items() if state})
        if self.slots.staleness:
            self.stale.save(folder)

    def load_state(self, folder: Path) -> None:
        super().load_state(folder)
        if self.accelerator.is_main_process:
            self.slots.rewards.restore_counts(read_json(folder / _COUNTS))
        states = read_json(folder / "slots.json")
        for name, part in self.slots.stateful.items():
            if name in states:
                part.load_state_dict(states[name])
        if self.critic is not None:
            self.critic.load(folder)
        if self.slots.staleness:
            self.stale.load(folder, self.accelerator.device)
