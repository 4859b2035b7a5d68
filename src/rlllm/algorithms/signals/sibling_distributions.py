"""Next-token distributions of a group's completions side by side, a few positions at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.signals.base import Signal, SignalContext
from rlllm.core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.forward_pass import Pass

_CHUNK_BYTES = 16 * 2**20
"""Memory of one tensor of log-probabilities, which bounds how many positions are compared at once."""
_SMALLEST = 1e-38
"""Probability below which 32-bit floats have no logarithm."""
_LOWEST = -1e4
"""Log-probability in the place of minus infinity, which 0 cannot be multiplied with."""


@dataclass(frozen=True)
class Distributions:
    """The distributions of a rollout, never held in memory as a whole; `reduce` walks over them."""

    context: SignalContext
    positions: int
    """Positions for which the vocabulary of a group is in memory at once."""

    def reduce(self, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """(B, T) values of `function`, which is called for each group and chunk of positions; 0 where there is no token.

        Args:
            function: takes (G, c, V) log-probabilities in nats at the run's temperature, and the (G, c) 0/1 mask of real
                tokens; returns (G, c) float. Position t of one completion stands beside position t of its siblings.

        Raises:
            ModelError: the model's logits are not its output embedding applied to its last hidden state.
        """
        import torch

        from rlllm.algorithms.forward_pass import Window
        from rlllm.algorithms.tensor_dict import prompts_with_completions

        ids, mask = prompts_with_completions(self.context.output)
        keep, size = self.context.output["completion_ids"].size(1), self.context.group_size
        groups = []
        with torch.no_grad():
            for group_ids, group_mask in zip(ids.split(size), mask.split(size), strict=True):
                window = Window.of(group_ids, group_mask, keep)
                groups.append(window.pad(self._reduce_group(window, function)))
        return torch.cat(groups)

    def _reduce_group(self, window: Any, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        import torch

        model = self.context.model
        hidden = _trunk(model)(
            input_ids=window.ids, attention_mask=window.mask, position_ids=window.positions, use_cache=False
        ).last_hidden_state[:, -window.kept - 1 : -1]
        self._check_head(model, window, hidden)
        columns = []
        for states, mask in zip(
            hidden.split(self.positions, dim=1), window.target_mask.split(self.positions, dim=1), strict=True
        ):
            logps = torch.log_softmax(_head(model, states).float() / self.context.temperature, dim=-1)
            columns.append(function(logps, mask) * mask)
        return torch.cat(columns, dim=1)

    def _check_head(self, model: Any, window: Any, hidden: Tensor) -> None:
        """Compare one position with the logits of the model itself, which may scale or bound them in its own way."""
        import torch

        own = model(
            input_ids=window.ids[:1, : window.prefix + 1],
            attention_mask=window.mask[:1, : window.prefix + 1],
            position_ids=window.positions[:1, : window.prefix + 1],
            logits_to_keep=1,
            use_cache=False,
        ).logits[0, -1]
        if not torch.allclose(_head(model, hidden[:1, :1])[0, 0].float(), own.float(), atol=1e-2, rtol=1e-2):
            raise ModelError(
                "sibling distributions cannot be computed in chunks for this model: its logits are more than its output "
                "embedding applied to the last hidden state",
                given=type(model).__name__,
                hint="use a component that does not need the signal sibling_distributions",
            )


@dataclass(frozen=True)
class SiblingDistributions(Signal):
    """A `Distributions` object: the next-token distributions of each group, in chunks of `positions`."""

    positions: int = 16
    name = "sibling_distributions"
    summary = "next-token distributions of a group's completions, in chunks of positions; reduce(function) -> (B, T)"
    cost = "pass"
    per_token = False

    def compute(self, context: SignalContext) -> Distributions:
        return Distributions(context, self.positions)

    def example(self, rows: int, tokens: int) -> Any:
        return _ExampleDistributions(rows, tokens)


@dataclass(frozen=True)
class SiblingDivergence(Signal):
    """(B, T) Jensen-Shannon divergence (nats) of each token's distribution from the mean of its group's.

    The mean is taken over the completions that have a token at this position, the completion itself included (ICT: Feng et al.
    2026, arXiv 2606.19771). So log 2 is never reached: among n completions at most 0.2158 (n = 2), 0.4969 (n = 8); 0 where one
    is left. Distributions are those of the run's temperature. Tokens that tools wrote count as positions.
    """

    positions: int = 16
    name = "sibling_divergence"
    summary = "Jensen-Shannon divergence of each token's distribution from its group's mean, in nats (B, T)"
    cost = "shared pass"
    compares_groups = True
    any_layout = True

    def from_pass(self, part: Pass, context: SignalContext) -> Tensor:
        import torch

        logits, mask, (rows, columns) = part.view.logits, part.window.target_mask, part.places
        size = context.group_size
        positions = max(_CHUNK_BYTES // (4 * logits.size(-1) * len(mask)), 1)
        values = []
        for row, column, real in zip(*(part.split(positions, dim=1) for part in (rows, columns, mask)), strict=True):
            logps = torch.log_softmax(logits[row, column].float() / context.temperature, dim=-1)
            groups = divergence_from_mean(logps.unflatten(0, (-1, size)), real.unflatten(0, (-1, size)))
            values.append(groups.flatten(0, 1) * real)
        return torch.cat(values, dim=1)

    def compute(self, context: SignalContext) -> Tensor:
        return Distributions(context, self.positions).reduce(divergence_from_mean)

    def example(self, rows: int, tokens: int) -> Tensor:
        import torch

        return torch.rand(rows, tokens)


def divergence_from_mean(logps: Tensor, mask: Tensor) -> Tensor:
    """(..., G, c, V) log-probabilities and (..., G, c) mask to (..., G, c) Jensen-Shannon divergences from the masked mean.

    In nats; exactly 0 where one completion or none has the position.
    """
    shares = logps.exp()
    present = mask.sum(-2, keepdim=True)
    weights = (mask / present.clamp(min=1)).unsqueeze(-1).to(shares.dtype)
    mean = (shares * weights).sum(-3, keepdim=True)
    middle = ((shares + mean) / 2).clamp(min=_SMALLEST).log()
    own = (shares * (logps.clamp(min=_LOWEST) - middle)).sum(-1)
    other = (mean * (mean.clamp(min=_SMALLEST).log() - middle)).sum(-1)
    return ((own + other) / 2).clamp(min=0.0).masked_fill(present <= 1, 0.0)


@dataclass(frozen=True)
class _ExampleDistributions:
    rows: int
    tokens: int

    def reduce(self, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        import torch

        logps = torch.log_softmax(torch.rand(self.rows, self.tokens, 12), dim=-1)
        return function(logps, torch.ones(self.rows, self.tokens, dtype=torch.long))


def _trunk(model: Any) -> Any:
    return getattr(model, model.base_model_prefix) if hasattr(model, "base_model_prefix") else model.model


def _head(model: Any, states: Tensor) -> Tensor:
    return model.get_output_embeddings()(states)
