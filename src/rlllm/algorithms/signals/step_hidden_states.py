"""Hidden states by reasoning step: the mean over the tokens of each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.signals.base import Signal, SignalContext

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.forward_pass import ForwardView


@dataclass(frozen=True)
class StepHiddenStates(Signal):
    """(B, S, H) float32: mean hidden state of each step; rows of NaN after a completion's last step.

    A step ends with a token whose text contains `separator`. S is the largest number of steps of the rollout.

    Args:
        layer: index among the hidden states, of which the embeddings are the first and the last layer's output is the last.
        separator: text that ends a step.
    """

    layer: int = -1
    separator: str = "\n"
    name = "step_hidden_states"
    summary = "mean hidden state of each reasoning step (B, S, H), NaN after the last step"
    cost = "shared pass"
    reads_hidden_states = True
    per_token = False

    def from_forward(self, view: ForwardView, context: SignalContext) -> Tensor:
        steps = step_numbers(view.targets, view.mask, context.tokenizer, self.separator)
        return step_means(view.hidden_states[self.layer].float(), steps)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        import torch

        most = max(part.size(1) for part in parts)
        gaps = [(0, 0, 0, most - part.size(1)) for part in parts]
        return torch.cat(
            [torch.nn.functional.pad(part, gap, value=torch.nan) for part, gap in zip(parts, gaps, strict=True)]
        )

    def example(self, rows: int, tokens: int) -> Tensor:
        import torch

        return torch.rand(rows, 2, 8)


def step_numbers(ids: Tensor, mask: Tensor, tokenizer: Any, separator: str) -> Tensor:
    """(R, T) number of the step each token belongs to, from 0; -1 where `mask` is 0."""
    import torch

    distinct = torch.unique(ids).tolist()
    ending = torch.tensor([index for index in distinct if separator in tokenizer.decode([index])], device=ids.device)
    ends = torch.isin(ids, ending) & mask.bool()
    return (ends.cumsum(1) - ends.long()).masked_fill(mask == 0, -1)


def step_means(hidden: Tensor, steps: Tensor) -> Tensor:
    """(R, T, H) hidden states and (R, T) step numbers, -1 for none, to (R, S, H) means; NaN for steps without tokens."""
    import torch

    count = max(int(steps.max()) + 1, 1)
    belongs = torch.nn.functional.one_hot(steps + 1, count + 1)[..., 1:].to(hidden.dtype)
    sizes = belongs.sum(1).unsqueeze(2)
    return (belongs.transpose(1, 2) @ hidden / sizes.clamp(min=1)).masked_fill(sizes == 0, torch.nan)
