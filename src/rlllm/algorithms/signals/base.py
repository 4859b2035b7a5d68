"""What a signal is: a quantity of each completion or token that slot components ask for by its name in `needs`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlllm.core.records import PromptTask, Sample

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.forward_pass import ForwardView, Pass
    from rlllm.rollouts.config import SamplingConfig


@dataclass(frozen=True)
class SignalContext:
    """What a signal may read of a rollout and of the run. B completions, contiguous in groups."""

    model: Any
    """The policy, unwrapped; no gradient is recorded."""
    tokenizer: Any
    output: Mapping[str, Any]
    """TRL's rollout: `prompt_ids`, `prompt_mask` (B, P), `completion_ids`, `completion_mask` (B, T), and
    `ref_per_token_logps`, `old_per_token_logps` (B, T) where the run has them."""
    tasks: Sequence[PromptTask]
    """B: the row of the data set behind each completion."""
    rows: Sequence[int]
    """B: its number among the training rows."""
    group_size: int
    temperature: float
    rows_per_pass: int
    """Completions that pass through the model together."""
    passes: Callable[[Tensor, Tensor, int], Iterator[Pass]]
    """Forward passes of the policy over the last `keep` tokens of (B, P + keep) ids with their mask, in order: the loop's own,
    which encode a prompt once for all its completions where they can."""
    sampling: SamplingConfig
    """How completions of this run are sampled."""
    score: Callable[[Sequence[Sample]], Sequence[float | None]]
    """Summed rewards of samples, None where undefined."""
    critic: Any = None
    """The value model, where the run has one (`algorithms.ppo.critic.Critic`)."""


class Signal:
    """A quantity of each completion or token.

    A subclass sets `name` and `summary`, and defines one of two methods: `from_forward`, for what follows from the forward
    pass of the policy over the rollout, which is made once for all signals that read it; or `compute`, for everything else. One
    of `any_layout` defines `from_pass` in the place of `from_forward`, and one that `compares_groups` that and `compute`.
    """

    name: str = ""
    """The key in `RolloutBatch.signals` and `LossInputs.signals`."""
    summary: str = ""
    """One line for listings, with shape and unit."""
    cost: str = "none"
    """What it costs beyond the rollout: `none`, `shared pass` (one forward pass of the policy for all such signals),
    `pass` (a forward pass of its own), `rollout` (completions of its own), `critic` (a value model)."""
    reads_hidden_states: bool = False
    """Whether `from_forward` reads `ForwardView.hidden_states`."""
    per_token: bool = True
    """Whether the value has shape (B, T)."""
    compares_groups: bool = False
    """Whether the value follows from the completions of a group together. Its `cost` is `shared pass`: `from_pass` is called
    where memory holds the vocabulary of a whole group at every position, else `compute`, which makes a pass of its own."""
    any_layout: bool = False
    """Whether it finds completions in the pass by itself (`from_pass`). Then the shared pass may lay several of them side by
    side in one row."""
    elementwise: bool = False
    """Whether `from_forward` computes each token's value from that token's logits alone. Then the shared pass may lay several
    completions side by side in one row."""

    def from_forward(self, view: ForwardView, context: SignalContext) -> Tensor:
        """The value for the R rows of one part of the shared pass: (R, T) if `per_token`, else with R as first dimension.

        Called only where `cost` is `shared pass`.
        """
        return view.logits.new_zeros(view.targets.shape)

    def from_pass(self, part: Pass, context: SignalContext) -> Tensor:
        """The value for the B completions of one part of the shared pass, whole groups where it `compares_groups`: (B, kept) if
        `per_token`, else with B as first dimension. `part.places` says where each token is.

        Called in the place of `from_forward` where `any_layout`.
        """
        return part.view.logits.new_zeros(part.places[0].shape)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The value for all B rows, from those of the parts in order."""
        import torch

        return torch.cat(list(parts))

    def compute(self, context: SignalContext) -> Any:
        """The value for all B completions. Called where `cost` is not `shared pass`."""
        return None

    def example(self, rows: int, tokens: int) -> Any:
        """A value of the right type and shape for B = `rows` and T = `tokens`; `--dry-run` calls components with it."""
        import torch

        return -torch.rand(rows, tokens)
