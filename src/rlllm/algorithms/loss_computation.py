"""The policy loss of a micro-batch: TRL's own, or a loss of the slot `loss`, on the rows and tokens that have a gradient.

A micro-batch may be cut into parts: rows that cannot move the policy are left out, and on a CPU similar lengths and the same
prompts go together (`cpu.fast_path`). Each part is passed back before the next is computed; the gradient is the whole's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms.cpu.fast_path import FastPath
from rlllm.algorithms.losses.base import LossInputs, aggregate, k3, log_ratios, per_step
from rlllm.algorithms.losses.trl import TRLLoss
from rlllm.algorithms.mismatch.in_loop import WEIGHTS, MismatchInLoop
from rlllm.algorithms.ppo.critic import Critic, value_loss
from rlllm.algorithms.protocols import Loss
from rlllm.algorithms.tensor_dict import MULTIMODAL, loss_mask, prompts_with_completions, take_rows
from rlllm.core.errors import PluginError
from rlllm.core.plugin_errors import plugin_boundary

SIGNAL_PREFIX = "signal/"
"""Before the name of a signal that the loss needs, among the tensors of a micro-batch."""
ALL_TOKENS = "all_tokens"
"""Among the tensors of a micro-batch: (B, T) 0/1 tokens that could learn, where a mask lets fewer of them learn."""


class LossComputation(MismatchInLoop):
    """Mixin before GRPOTrainer: wraps `_compute_loss`, `_get_per_token_logps_and_entropies`, `training_step` and
    `create_scheduler`."""

    slots: Any
    critic: Critic | None
    accelerator: Any
    model: Any
    args: Any
    state: Any
    beta: float
    temperature: float
    max_completion_length: int
    current_gradient_accumulation_steps: int
    _metrics: Any

    _entropies: Tensor | None = None
    """(B, T) entropies of the last forward pass that computed them, without gradient."""
    onednn = False
    """Whether linear layers compute through oneDNN on a CPU; see `cpu.onednn_linear`."""

    @cached_property
    def fast_path(self) -> FastPath | None:
        """The CPU's cheaper passes; None on other devices, and where a pass has to gather its weights first."""
        if self.accelerator.device.type != "cpu" or self.accelerator.distributed_type in ("FSDP", "DEEPSPEED"):
            return None
        # checkpointed layers are computed again in the backward pass, where no context of ours reaches them
        return FastPath(self.onednn and not self.args.gradient_checkpointing, self._one_process)

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)  # type: ignore[misc]
        logged = self._metrics["train"]
        before = {name: len(values) for name, values in logged.items()}
        whole_mask = loss_mask(inputs)
        parts, total = self._parts(inputs, whole_mask), torch.zeros((), device=whole_mask.device)
        tokens = []
        for index, rows in enumerate(parts):
            part = inputs if rows is None else take_rows(inputs, rows)
            mask = loss_mask(part)
            tokens.append(float(mask.sum()))
            if index == len(parts) - 1:
                total = total + self._part_loss(model, part) * loss_share(self.slots.loss.aggregation, mask, whole_mask)
                continue
            with self.accelerator.no_sync(model):
                loss = self._part_loss(model, part) * loss_share(self.slots.loss.aggregation, mask, whole_mask)
                self.accelerator.backward(loss)
                total = total + loss.detach()
        if len(parts) > 1:
            _merge(logged, before, tokens)
        return total

    def _part_loss(self, model: Any, inputs: Mapping[str, Any]) -> Tensor:
        if isinstance(self.slots.loss, TRLLoss):
            with self._weighted(inputs):
                loss = super()._compute_loss(model, inputs)  # type: ignore[misc]
            self._note_whole_entropy(inputs)
        else:
            loss = self._own_loss(model, inputs, self.slots.loss)
        self._note_mismatch_of_loss(inputs, inputs.get(ALL_TOKENS, loss_mask(inputs)))
        return loss if self.critic is None else self._with_critic(loss, inputs)

    def _note_whole_entropy(self, inputs: Mapping[str, Any]) -> None:
        """Log the entropy of all tokens where a mask chooses some: TRL's is that of the chosen, which differ by choice."""
        if ALL_TOKENS in inputs and self._entropies is not None:
            self._metrics["train"]["entropy"][-1] = self._token_mean(self._entropies, inputs[ALL_TOKENS])

    def _own_loss(self, model: Any, inputs: Mapping[str, Any], loss: Loss) -> Tensor:
        """The loss of a component of the slot `loss`, with the KL term, aggregated and scaled as TRL scales its own."""
        logps, entropies, aux_loss = self._forward(model, inputs)
        given, mask = self._loss_inputs(logps, entropies, inputs), loss_mask(inputs)
        name = type(loss).__name__
        with plugin_boundary("loss", name, getattr(loss, "function", loss)):
            losses = loss(logps, given)
        if not isinstance(losses, Tensor) or losses.dim() != 2 or losses.shape[1] not in (1, logps.shape[1]):
            shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise PluginError(f"the loss {name} returned {shape} for log-probabilities of shape {tuple(logps.shape)}")
        if getattr(self, "top_entropy_quantile", 1.0) < 1:
            losses = losses * self.get_high_entropy_mask(entropies, mask, 1 - self.top_entropy_quantile)
        if WEIGHTS in inputs:
            losses = losses * inputs[WEIGHTS]
        if self.beta != 0:
            kl = k3(logps, inputs["ref_per_token_logps"])
            if self.args.use_bias_correction_kl:
                kl = kl * log_ratios(logps, given).exp()
            self._note({"kl": self._token_mean(kl, mask)})
            losses = losses + self.beta * kl
        self._note({"entropy": self._token_mean(entropies, inputs.get(ALL_TOKENS, mask))})
        longest, tokens = self.max_completion_length, self._tokens_of_a_step(inputs)
        value = aggregate(losses, mask, loss.aggregation, tokens=tokens, longest=longest)
        if not per_step(loss.aggregation):
            value = value / self.current_gradient_accumulation_steps
        if aux_loss is not None:
            value = value + self.router_aux_loss_coef * aux_loss / self.current_gradient_accumulation_steps
        return value

    get_high_entropy_mask: Any
    top_entropy_quantile: float
    router_aux_loss_coef: float

    def _loss_inputs(self, logps: Tensor, entropies: Tensor | None, inputs: Mapping[str, Any]) -> LossInputs:
        old, off_policy = inputs.get("old_per_token_logps"), inputs.get("off_policy")
        old = (
            logps.detach() if old is None else old
        )  # the first update on a rollout: the policy is the one that sampled
        advantages = inputs["advantages"]
        return LossInputs(
            old_logps=old if off_policy is None else old.masked_fill(off_policy, 0.0),
            advantages=advantages.unsqueeze(1) if advantages.dim() == 1 else advantages,
            mask=loss_mask(inputs),
            off_policy=off_policy,
            ref_logps=inputs.get("ref_per_token_logps"),
            entropies=entropies,
            signals={
                name.removeprefix(SIGNAL_PREFIX): value
                for name, value in inputs.items()
                if name.startswith(SIGNAL_PREFIX)
            },
            trl={name: getattr(self.args, name) for name in self.slots.loss.reads_trl},
        )

    def _parts(self, inputs: Mapping[str, Any], mask: Tensor) -> Sequence[Tensor | None]:
        """Row indices of each part; None stands for the micro-batch as it is."""
        if not self._divisible(inputs):
            return [None]
        rows = torch.arange(len(mask), device=mask.device)
        if self.beta == 0:
            rows = rows[has_gradient(inputs["advantages"], mask)]
        if not len(rows):  # the backward pass needs a graph: the cheapest row makes one, and its gradient is zero
            rows = inputs["completion_mask"].sum(1).argmin().view(1)
        if self.fast_path is None:
            return [rows if len(rows) < len(mask) else None]
        return self.fast_path.parts(self.accelerator.unwrap_model(self.model), inputs, rows)

    def _divisible(self, inputs: Mapping[str, Any]) -> bool:
        """Whether a micro-batch may be cut into parts."""
        return self._rows_add_up and not any(name in inputs for name in ("num_images", "pixel_values"))

    @property
    def _rows_add_up(self) -> bool:
        """Whether the loss is a sum over rows, so that parts of it add up to the whole."""
        return (
            self.critic is None
            and self._one_process  # TRL gathers a value a row: processes must have equally many
            and self.slots.loss.rows_are_independent
            and getattr(self, "top_entropy_quantile", 1.0) == 1.0
            and not getattr(self, "_entropy_bonus_enabled", False)
            and not getattr(self, "aux_loss_enabled", False)
            and self.accelerator.distributed_type != "DEEPSPEED"  # its engine counts backward passes
        )

    def _tokens_of_a_step(self, inputs: Mapping[str, Any]) -> Tensor:
        """Tokens that one optimizer step averages over in this process; those of a rollout over its steps."""
        tokens = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        return tokens * self.current_gradient_accumulation_steps / self.args.steps_per_generation

    def _token_mean(self, values: Tensor, mask: Tensor) -> float:
        """Mean of (B, T) values under the mask, over all processes."""
        totals = torch.stack([(values * mask).sum().detach(), mask.sum().float()])
        total, count = self.accelerator.reduce(totals, reduction="sum").tolist()
        return total / max(count, 1.0)

    def _forward(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Log-probabilities with gradient, entropies and auxiliary loss of the completion tokens."""
        ids, mask = prompts_with_completions(inputs)
        return self._get_per_token_logps_and_entropies(
            model,
            ids,
            mask,
            inputs["completion_ids"].size(1),
            compute_entropy=True,
            compute_aux_loss=getattr(self, "aux_loss_enabled", False),
            **{name: inputs[name] for name in MULTIMODAL if inputs.get(name) is not None},
        )

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        """TRL's fused head scores every position, prompt and padding included, and again in the backward pass; on a CPU a
        plain forward over the real completion positions gives the same numbers several times sooner."""
        logps, entropies, aux_loss = self._scored(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)
        self._entropies = None if entropies is None else entropies.detach()
        self._logps = logps.detach()
        return logps, entropies, aux_loss

    def _scored(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        unusual = args or kwargs.get("compute_aux_loss") or any(kwargs.get(name) is not None for name in MULTIMODAL)
        if self.fast_path is None or unusual or getattr(self, "_entropy_bonus_enabled", False):
            return super()._get_per_token_logps_and_entropies(  # type: ignore[misc]
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        passes = self.fast_path.passes(
            model,
            input_ids,
            attention_mask,
            logits_to_keep,
            self.temperature,
            rows=kwargs.get("batch_size"),
            share=self._one_process,
        )
        columns = [tuple(part.restore(values) for values in part.view.chosen) for part in passes]
        logps, entropies = (torch.cat(column) for column in zip(*columns, strict=True))
        return logps, entropies if kwargs.get("compute_entropy") else None, None

    @property
    def _one_process(self) -> bool:
        return self.accelerator.distributed_type == "NO"  # torchrun with one process wraps the model as well

    def _with_critic(self, loss: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        assert self.critic is not None
        ids, mask = prompts_with_completions(inputs)
        values = self.critic.values(ids, mask, inputs["completion_ids"].size(1))
        tokens, accumulated = self._tokens_of_a_step(inputs), self.current_gradient_accumulation_steps
        error = value_loss(values, inputs["values"], inputs["returns"], loss_mask(inputs), self.critic.clip, tokens)
        self._note({"value_loss": accumulated * float(error.detach())})  # the mean of what a step logs is its loss
        held = self.state.global_step < self.critic.warmup_steps
        return (0.0 if held else 1.0) * loss + error

    def create_scheduler(self, num_training_steps: int, *args: Any, **kwargs: Any) -> Any:
        if self.critic is not None:
            plugin = self.accelerator.state.fsdp_plugin if self.accelerator.is_fsdp2 else None
            self.critic.start(self.accelerator.device, num_training_steps, plugin)
        return super().create_scheduler(num_training_steps, *args, **kwargs)  # type: ignore[misc]

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        if self.critic is not None and self.accelerator.sync_gradients:
            self._note({"critic_grad_norm": self.critic.step()})
        return loss

    def _note(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._metrics["train" if self.model.training else "eval"][name].append(value)


def has_gradient(advantages: Tensor, mask: Tensor) -> Tensor:
    """(B,) bool: rows with a token that learns and an advantage that is not exactly zero.

    Args:
        advantages: (B,) or (B, T).
        mask: (B, T) 0/1.
    """
    weight = advantages if advantages.dim() == 2 else advantages.unsqueeze(1)
    return ((weight != 0) & (mask != 0)).any(1)


def loss_share(aggregation: str, part: Tensor, whole: Tensor) -> float:
    """What the loss of a part has to be multiplied with so that the parts add up to the loss of the whole.

    Args:
        part, whole: (b, T) and (B, T) masks of the tokens that learn.
    """
    if per_step(aggregation):  # divided by a count of tokens that is not the part's
        return 1.0
    if aggregation == "micro-batch-token-mean":
        return float(part.sum() / whole.sum().clamp(min=1))
    return len(part) / len(whole)


def _merge(logged: dict[str, list[float]], before: Mapping[str, int], tokens: Sequence[float]) -> None:
    """Put one value where every part logged its own, as the whole would have had it."""
    starts = defaultdict(int, before)
    for name, values in logged.items():
        fresh = values[starts[name] :]
        if len(fresh) == len(tokens):
            values[starts[name] :] = [merged(name, fresh, tokens)]


def merged(name: str, values: Sequence[float], weights: Sequence[float]) -> float:
    """One logged value of the parts' values; NaN where none is known.

    A name that ends with `_min` or `_max` is an extreme, every other one a weighted mean.
    """
    defined = [(value, weight) for value, weight in zip(values, weights, strict=True) if value == value]
    if not defined:
        return float("nan")
    if name.endswith(("_min", "_max")):
        return (min if name.endswith("_min") else max)(value for value, _ in defined)
    total = sum(weight for _, weight in defined)
    return sum(value * weight for value, weight in defined) / total if total else defined[0][0]
