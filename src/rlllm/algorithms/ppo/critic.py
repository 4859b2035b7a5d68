"""The critic of PPO: a value model with an optimizer of its own, trained beside the policy on the same micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms.forward_pass import completion_values
from rlllm.policies.sharded_weights import (
    load_parameters,
    own_tensors,
    save_parameters,
    shard,
    whole_tensor,
    whole_tensors,
)

_FILES = ("critic.safetensors", "critic_optimizer.pt")


class Critic:
    """Values of a policy's states, learned from the returns of its rollouts.

    Args:
        trunk: hidden states of prompt and completion.
        head: hidden state to value.
        args: the run's TRL settings: schedule, Adam's numbers and the gradient norm limit are shared with the policy.
        learning_rate: peak rate; None takes five times the policy's.
        clip: range of the clipped value loss; None for none.
        warmup_steps: optimizer steps in which the policy is held still.
    """

    def __init__(
        self,
        trunk: Any,
        head: Any,
        args: Any,
        *,
        learning_rate: float | None = None,
        clip: float | None = 0.2,
        warmup_steps: int = 0,
    ) -> None:
        self.trunk = trunk
        self.head = head
        self.args = args
        self.clip = clip
        self.warmup_steps = warmup_steps
        self.learning_rate = 5 * args.learning_rate if learning_rate is None else learning_rate
        self.optimizer: Any = None
        self.scheduler: Any = None
        self._spread: _ValueModel | None = None

    def _named(self) -> list[tuple[str, Any]]:
        """Everything the critic learns; on a shared backbone that is an adapter and the head."""
        return [*self.trunk.named_parameters(), *(("head." + name, p) for name, p in self.head.named_parameters())]

    def parameters(self) -> list[Any]:
        """What the optimizer moves."""
        return [parameter for _, parameter in self._named()]

    def start(self, device: Any, steps: int, plugin: Any = None) -> None:
        """Move to the device, and lay out the optimizer and its learning-rate schedule over `steps` optimizer steps.

        Args:
            device: where the policy is.
            steps: optimizer steps of the run.
            plugin: accelerate's FSDP settings; weights, gradients and optimizer are then spread over the processes. None
                keeps all in each of them.
        """
        from transformers import get_scheduler

        if plugin is not None:  # brings one layer after another to the device, where a whole critic may have no room
            self._spread = _ValueModel(self.trunk, self.head)
            shard(self._spread, plugin)
        else:
            for module in (self.trunk, self.head):
                if isinstance(module, torch.nn.Module):  # with its buffers; a shared trunk is where the policy is
                    module.to(device)
            self._share(lambda parameter: torch.distributed.broadcast(parameter.data, 0))
        args = self.args
        betas = (args.adam_beta1, args.adam_beta2)
        self.optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, betas=betas, eps=args.adam_epsilon, weight_decay=args.weight_decay
        )
        self.scheduler = get_scheduler(
            args.lr_scheduler_type,
            self.optimizer,
            num_warmup_steps=args.get_warmup_steps(steps),
            num_training_steps=steps,
        )

    def values(self, input_ids: Tensor, attention_mask: Tensor, keep: int) -> Tensor:
        """(B, keep) value of the state before each of the last `keep` tokens.

        Its weights learn only from here to the next `step`: on a shared backbone they are parameters of the policy's model
        too, and must not be taken for the policy's.
        """
        if self._spread is not None:
            return self._spread(input_ids, attention_mask, keep)
        self._learn(torch.is_grad_enabled())
        return completion_values(self.trunk, self.head, input_ids, attention_mask, keep)

    def step(self) -> float:
        """One optimizer step on the gradients gathered so far; returns their norm before clipping."""
        if self._spread is None:  # the backward pass has averaged gradients that are spread
            self._share(_average_gradient)
        limit = self.args.max_grad_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.parameters(), limit)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        if self._spread is None:
            self._learn(False)
        return float(whole_tensor(norm))

    def _share(self, exchange: Callable[[Any], Any]) -> None:
        """Exchange every parameter with the other processes, if there are any: their critics stay one."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for parameter in self.parameters():
                exchange(parameter)

    def _learn(self, learning: bool) -> None:
        for parameter in self.parameters():
            parameter.requires_grad_(learning)

    def save(self, folder: Path, *, writes: bool = True) -> None:
        """Weights and optimizer into a checkpoint folder, whole. Collective; one process writes."""
        save_parameters(self._named(), folder / _FILES[0], writes=writes)
        optimizer = whole_tensors(self.optimizer.state_dict(), keep=writes)
        if writes:
            torch.save({"optimizer": optimizer, "scheduler": self.scheduler.state_dict()}, folder / _FILES[1])

    def load(self, folder: Path) -> None:
        """The state `save` wrote, by any number of processes; call after `start`."""
        load_parameters(self._named(), folder / _FILES[0])
        state = torch.load(folder / _FILES[1], weights_only=True, map_location="cpu")
        optimizer = state["optimizer"]
        for index, parameter in enumerate(self.parameters()):
            if index in optimizer["state"]:
                optimizer["state"][index] = own_tensors(optimizer["state"][index], parameter)
        self.optimizer.load_state_dict(optimizer)
        self.scheduler.load_state_dict(state["scheduler"])


class _ValueModel(torch.nn.Module):
    """Trunk and head as one module, whose pass gathers the weights of both."""

    def __init__(self, trunk: Any, head: Any) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, input_ids: Tensor, attention_mask: Tensor, keep: int) -> Tensor:
        return completion_values(self.trunk, self.head, input_ids, attention_mask, keep)


def _average_gradient(parameter: Any) -> None:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    torch.distributed.all_reduce(parameter.grad)
    parameter.grad /= torch.distributed.get_world_size()


def value_loss(
    values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, clip: float | None, tokens: Tensor | None = None
) -> Tensor:
    """Half the sum of squared errors over the tokens of `mask`, divided by `tokens`; clipped as in PPO's code (Schulman et al.
    2017).

    With `clip`, a value that moved further than it from `old` is also judged at the edge of that range, and the larger error
    counts: 0.5 * max((V - R)^2, (old + clip(V - old) - R)^2).

    Args:
        values, old, returns, mask: (B, T).
        clip: range of the clipped loss; None for none.
        tokens: a scalar: the tokens of an optimizer step. Default: those of `mask`.
    """
    errors = (values - returns) ** 2
    if clip is not None:
        held = old + (values - old).clamp(-clip, clip)
        errors = torch.maximum(errors, (held - returns) ** 2)
    return 0.5 * (errors * mask).sum() / (mask.sum().clamp(min=1.0) if tokens is None else tokens)


Moments = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor, moments: Moments) -> float:
    """1 - Var(R - V) / Var(R) over the tokens of `mask`: 1 is a perfect critic, 0 one that knows only the mean.

    Args:
        values, returns, mask: (B, T).
        moments: values and mask to mean, biased variance and number, over all processes; see `RolloutBatch.moments`.
    """
    _, spread, _ = moments(returns, mask)
    _, left, _ = moments(returns - values, mask)
    return float(1 - left / spread) if spread > 0 else 0.0
