"""The loss side of the loop: TRL's losses on fewer forward passes.

A micro-batch is cut into parts (`parts`): rows that cannot move the policy are left out, similar lengths and the same prompts
go together, and each part is passed back before the next is computed. The gradient is the whole micro-batch's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms.cpu import microbatches
from rlllm.algorithms.cpu.forward import completion_logps, completion_signals, packs
from rlllm.algorithms.cpu.onednn_linear import OneDNNLinear
from rlllm.algorithms.losses.surrogates import Given, Plain
from rlllm.algorithms.ppo.critic import Critic, value_loss

PART_BYTES = 3 * 2**30
"""Memory the activations and logits of one part may take on a CPU."""
_MULTIMODAL = ("pixel_values", "token_type_ids", "mm_token_type_ids", "num_images", "image_position_ids")


class LossComputation:
    """Mixin before GRPOTrainer: wraps `_compute_loss`, `_get_per_token_logps_and_entropies`, `training_step` and
    `create_scheduler`."""

    slots: Any
    critic: Critic | None
    accelerator: Any
    model: Any
    args: Any
    state: Any
    beta: float
    loss_type: str
    temperature: float
    _metrics: Any

    onednn = False
    """Whether linear layers compute through oneDNN; see `linear`."""
    _made: tuple[Tensor, Tensor | None, Tensor | None] | None = None
    """Log-probabilities that TRL's loss shall take instead of computing them."""

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)  # type: ignore[misc]
        logged = self._metrics["train"]
        before = {name: len(values) for name, values in logged.items()}
        whole_mask = learning(inputs)
        chosen, total = self._parts(inputs, whole_mask), torch.zeros((), device=whole_mask.device)
        weights = []
        for index, rows in enumerate(chosen):
            part = inputs if rows is None else microbatches.take(inputs, rows)
            mask = learning(part)
            weights.append(float(mask.sum()))
            last = index == len(chosen) - 1
            with nullcontext() if last else self.accelerator.no_sync(model):
                loss = self._part_loss(model, part) * microbatches.share(self.loss_type, mask, whole_mask)
                if last:
                    total = total + loss
                else:
                    self.accelerator.backward(loss)
                    total = total + loss.detach()
        if len(chosen) > 1:
            _merge(logged, before, weights)
        return total

    def _parts(self, inputs: Mapping[str, Any], mask: Tensor) -> Sequence[Tensor | None]:
        """Row indices of each part; None stands for the micro-batch as it is."""
        if not self._divisible(inputs):
            return [None]
        rows = torch.arange(len(mask), device=mask.device)
        if self.beta == 0:
            rows = rows[microbatches.worth(inputs["advantages"], mask)]
        lengths = inputs["completion_mask"].sum(1)
        if not len(rows):  # the backward pass needs a graph: the cheapest row makes one, and its gradient is zero
            rows = lengths.argmin().view(1)
        if rows.device.type != "cpu":  # elsewhere a pass of few rows takes about as long as one of many
            return [rows if len(rows) < len(mask) else None]
        prompts = torch.cat([inputs["prompt_ids"], inputs["prompt_mask"]], dim=1)[rows]
        _, owners = torch.unique(prompts, dim=0, return_inverse=True)
        model = self.accelerator.unwrap_model(self.model)
        packed = 2 * int(owners.max() + 1) <= len(rows) and packs(model, inputs["prompt_ids"].size(1) - 1)
        cut = microbatches.partition(lengths[rows].tolist(), owners.tolist(), self._costs(inputs, packed))
        if len(cut) == 1 and len(rows) == len(mask):
            return [None]
        return [rows[torch.tensor(sorted(part), device=rows.device)] for part in cut]

    def _divisible(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the loss is a sum over rows, so that parts of it add up to the whole."""
        return (
            self.critic is None
            and self._alone  # TRL gathers a value a row: processes must have equally many
            and not hasattr(self.slots.surrogate, "penalty")  # it may compare tokens across rows
            and getattr(self, "top_entropy_quantile", 1.0) == 1.0
            and not getattr(self, "_entropy_bonus_enabled", False)
            and not getattr(self, "aux_loss_enabled", False)
            and not any(name in inputs for name in ("num_images", "pixel_values"))
            and self.accelerator.distributed_type != "DEEPSPEED"  # its engine counts backward passes
        )

    def _costs(self, inputs: Mapping[str, Any], packed: bool) -> microbatches.Costs:
        config = self.accelerator.unwrap_model(self.model).config.get_text_config()
        size = max(config.hidden_size * config.num_hidden_layers, 1)
        overhead = microbatches.OVERHEAD / (12 * config.hidden_size * size)
        largest = max(PART_BYTES // (8 * config.vocab_size + 120 * size), 1)
        return microbatches.Costs(overhead, inputs["prompt_ids"].size(1), largest, packed)

    def _part_loss(self, model: Any, inputs: Mapping[str, Any]) -> Tensor:
        mask = learning(inputs)
        logps, entropies, extra = self._forward(model, inputs)
        surrogate, off_policy = self.slots.surrogate, inputs.get("off_policy")
        if isinstance(surrogate, Plain) and off_policy is None:
            self._made = (logps, entropies, extra)
            loss = super()._compute_loss(model, inputs)  # type: ignore[misc]
            return loss if self.critic is None else self._with_critic(loss, inputs, mask)
        old = inputs.get("old_per_token_logps")
        old = logps.detach() if old is None else old
        if off_policy is not None:
            old = old.masked_fill(off_policy, 0.0)
        advantages = inputs["advantages"]
        spread = advantages if advantages.dim() == 2 else advantages.unsqueeze(1).expand_as(logps)
        given = Given(old, spread, mask, off_policy)
        seen = surrogate(logps, given)
        self._made = (seen, entropies, extra)
        changed = {"old_per_token_logps": old}
        if self.beta != 0:  # TRL's KL term sees their difference alone, which shall be the policy's own
            changed["ref_per_token_logps"] = inputs["ref_per_token_logps"] + (seen - logps)
        loss = super()._compute_loss(model, {**inputs, **changed})  # type: ignore[misc]
        if hasattr(surrogate, "penalty"):
            added = (surrogate.penalty(logps, given) * mask).sum() / self._tokens_of_a_step(inputs)
            self._note({"surrogate_penalty": float(added.detach())})
            loss = loss + added
        return loss if self.critic is None else self._with_critic(loss, inputs, mask)

    def _tokens_of_a_step(self, inputs: Mapping[str, Any]) -> Tensor:
        """Tokens one optimizer step averages over, in units of this process's micro-batches."""
        tokens = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        return tokens * self.current_gradient_accumulation_steps / self.args.steps_per_generation

    current_gradient_accumulation_steps: int

    def _forward(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Log-probabilities, entropies and auxiliary loss of the completion tokens, with gradient."""
        ids, mask = whole(inputs)
        images = {name: inputs[name] for name in (*_MULTIMODAL, *_IMAGES) if inputs.get(name) is not None}
        return self._get_per_token_logps_and_entropies(
            model,
            ids,
            mask,
            inputs["completion_ids"].size(1),
            compute_entropy=True,
            compute_aux_loss=getattr(self, "aux_loss_enabled", False),
            **images,
        )

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        """TRL's fused head scores every position, prompt and padding included, and again in the backward pass; on a CPU a
        plain forward over the real completion positions gives the same numbers several times sooner."""
        if self._made is not None:
            made, self._made = self._made, None
            return made
        unusual = args or kwargs.get("compute_aux_loss") or any(kwargs.get(name) is not None for name in _MULTIMODAL)
        if input_ids.device.type != "cpu" or unusual or getattr(self, "_entropy_bonus_enabled", False):
            return super()._get_per_token_logps_and_entropies(  # type: ignore[misc]
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        with self._products():
            found = [
                completion_logps(model, ids, mask, logits_to_keep, self.temperature, share=self._alone)
                for ids, mask in self._chunks(input_ids, attention_mask, logits_to_keep, kwargs.get("batch_size"))
            ]
        logps, entropies = (torch.cat(column) for column in zip(*found, strict=True))
        return logps, entropies if kwargs.get("compute_entropy") else None, None

    def _chunks(self, ids: Tensor, mask: Tensor, keep: int, size: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows that pass through the model together; with a `size`, on a CPU, no more than have room for their logits."""
        if size and ids.device.type == "cpu":
            vocabulary = self.accelerator.unwrap_model(self.model).config.get_text_config().vocab_size
            size = max(min(size, PART_BYTES // (8 * vocabulary * keep)), 1)
        size = size or ids.size(0)
        return zip(ids.split(size), mask.split(size), strict=True)

    def _products(self) -> AbstractContextManager[Any]:
        # checkpointed layers are computed again in the backward pass, where no context of ours reaches them
        pays = self.onednn and not self.args.gradient_checkpointing
        return OneDNNLinear(gather=self._alone) if pays else nullcontext()

    @property
    def _alone(self) -> bool:
        """One process: a second pass through a wrapped model would upset how its gradients are averaged."""
        return self.accelerator.num_processes == 1

    def _signals(self, output: Mapping[str, Any], wanted: Set[str]) -> dict[str, Tensor]:
        """`logps`, `entropies` and `certainty`, as wanted, of a rollout's completion tokens, each (B, T); one forward pass."""
        if not wanted:
            return {}
        ids, mask = whole(output)
        keep, size = output["completion_ids"].size(1), self.args.per_device_train_batch_size
        with self._products():
            found = [
                completion_signals(self.model, *chunk, keep, self.temperature, wanted)
                for chunk in self._chunks(ids, mask, keep, size)
            ]
        return {name: torch.cat([one[name] for one in found]) for name in wanted}

    def _with_critic(self, loss: Tensor, inputs: Mapping[str, Any], loss_mask: Tensor) -> Tensor:
        assert self.critic is not None
        ids, mask = whole(inputs)
        values = self.critic.values(ids, mask, inputs["completion_ids"].size(1))
        error = value_loss(values, inputs["values"], inputs["returns"], loss_mask, self.critic.clip)
        self._note({"value_loss": float(error.detach())})
        held = self.state.global_step < self.critic.warmup_steps
        return (0.0 if held else 1.0) * loss + error / self.current_gradient_accumulation_steps

    def create_scheduler(self, num_training_steps: int, *args: Any, **kwargs: Any) -> Any:
        if self.critic is not None:
            self.critic.start(self.accelerator.device, num_training_steps)
        return super().create_scheduler(num_training_steps, *args, **kwargs)  # type: ignore[misc]

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        if self.critic is not None and self.accelerator.sync_gradients:
            self._note({"critic_grad_norm": self.critic.step()})
        return loss

    def _note(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._metrics["train" if self.model.training else "eval"][name].append(value)


_IMAGES = ("image_grid_thw", "pixel_attention_mask", "spatial_shapes", "num_tiles", "image_sizes")


def learning(inputs: Mapping[str, Any]) -> Tensor:
    """(B, T) 0/1: the completion tokens the loss counts."""
    mask = inputs["completion_mask"]
    return mask * inputs["tool_mask"] if "tool_mask" in inputs else mask


def whole(output: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask (B, P + T) of prompts with their completions."""
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
    return ids, torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)


def _merge(logged: dict[str, list[float]], before: Mapping[str, int], weights: Sequence[float]) -> None:
    """Put one value where every part logged its own."""
    known = defaultdict(int, before)
    for name, values in logged.items():
        fresh = values[known[name] :]
        if len(fresh) == len(weights):
            values[known[name] :] = [microbatches.merged(name, fresh, weights)]
