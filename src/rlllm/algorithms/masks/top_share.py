"""Masks that choose the same share of every completion's tokens: ICT by divergence from the siblings, and its two controls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.protocols import Mask
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch

_NOTHING = 1e-6
"""Divergence in nats that rounding alone may give."""


@dataclass(frozen=True)
class TopShare(Mask, ABC):
    """In every completion of T tokens the ceil(fraction * T) tokens of highest score learn; ties go to the earlier token.

    The loss divides by the tokens that learn, and its KL term is taken over them. The choice is made once a rollout.

    Args:
        fraction: share of each completion's tokens that learn; 1 is the whole mask.
        warmup_steps: optimizer steps after which the choice begins; a rollout before them is learned from whole.
    """

    fraction: float = 0.1
    warmup_steps: int = 20
    _logged: dict[str, float] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ConfigError(
                "a mask of a share of each completion: fraction is above 0 and at most 1",
                given=f"fraction={self.fraction}",
            )
        if self.warmup_steps < 0:
            raise ConfigError("warmup_steps of a mask is 0 or more", given=f"warmup_steps={self.warmup_steps}")

    def same_as(self, settings: Mapping[str, Any]) -> str:
        held = 0 < settings.get("max_steps", -1) <= self.warmup_steps
        return "all" if self.fraction == 1 or held else ""

    def __call__(self, batch: RolloutBatch) -> Tensor:
        self._logged.clear()
        if self.fraction == 1:
            return batch.loss_mask
        whole = batch.step < self.warmup_steps
        scores = None if whole and not self._measures_warmup else self._scores(batch)
        if scores is None:
            return batch.loss_mask
        chosen = top_share(scores, batch.loss_mask, self.fraction)
        self._logged.update(self._describe(batch, scores, chosen))
        return batch.loss_mask if whole else chosen

    _measures_warmup = True
    """Whether what would be chosen is logged during the warm-up."""

    @abstractmethod
    def _scores(self, batch: RolloutBatch) -> Tensor:
        """(B, T) float: the higher, the sooner a token is chosen."""

    def _describe(self, batch: RolloutBatch, scores: Tensor, chosen: Tensor) -> dict[str, float]:
        """Metrics of a choice; means over the chosen tokens of all processes, unless they say otherwise."""
        inside = batch.loss_mask
        place = inside.cumsum(1) / inside.sum(1, keepdim=True).clamp(min=1)
        values = {"selected_share": batch.mean(chosen.float(), inside), "selected_position": batch.mean(place, chosen)}
        if batch.entropies is not None:
            values["entropy_overlap"] = batch.mean(top_share(batch.entropies, inside, self.fraction).float(), chosen)
        return {f"mask/{name}": float(mean) for name, (mean, _) in values.items()}

    @property
    def metrics(self) -> Mapping[str, float]:
        """For the log, after a rollout."""
        return self._logged


@dataclass(frozen=True)
class ICT(TopShare):
    """The tokens learn whose next-token distribution departs most from the siblings' (Feng et al. 2026, arXiv 2606.19771).

    The score is the Jensen-Shannon divergence of a token's distribution from the mean of its group's at the same position.
    Where it is 0, as at the first token, whose prefix all siblings share, a token is chosen only if too few others are left.
    """

    compares_group = True

    @property
    def needs(self) -> Sequence[str]:
        return ("sibling_divergence", "logps", "entropies", "purity") if self.fraction < 1 else ()

    def _scores(self, batch: RolloutBatch) -> Tensor:
        return batch.signals["sibling_divergence"]

    def _describe(self, batch: RolloutBatch, scores: Tensor, chosen: Tensor) -> dict[str, float]:
        import torch

        assert batch.logps is not None
        probability, inside = batch.logps.exp(), batch.loss_mask
        gap = (probability - batch.signals["purity"]).abs()
        lowest = scores.masked_fill(chosen == 0, torch.inf).amin(1)
        some = chosen.any(1)
        values = {
            "divergence": batch.mean(scores, inside),
            "threshold": batch.mean(lowest.masked_fill(~some, 0.0), some),
            "tied_share": batch.mean((scores <= _NOTHING).float(), chosen),
            "selected_probability": batch.mean(probability, chosen),
            "purity_gap": batch.mean(gap, chosen),
            "purity_gap_rest": batch.mean(gap, inside - chosen),
        }
        own = {f"ict/{name}": float(mean) for name, (mean, _) in values.items()}
        return {**super()._describe(batch, scores, chosen), **own}


@dataclass(frozen=True)
class EntropyPerCompletion(TopShare):
    """The tokens of highest entropy in each completion learn: the control of ICT that needs no siblings.

    The mask `entropy` is another: it ranks the tokens of a forward pass together, and the loss divides by all of them.
    """

    @property
    def needs(self) -> Sequence[str]:
        return ("entropies",) if self.fraction < 1 else ()

    def _scores(self, batch: RolloutBatch) -> Tensor:
        assert batch.entropies is not None
        return batch.entropies


@dataclass(frozen=True)
class RandomPerCompletion(TopShare):
    """Random tokens of each completion learn: the control of ICT of the same size.

    The mask `random` is another: it draws for every token alone, so that a completion's share varies. Drawn from the global
    generator, so that a resumed run draws what the uninterrupted one would have drawn.
    """

    _measures_warmup = False

    def _scores(self, batch: RolloutBatch) -> Tensor:
        import torch

        return torch.rand(batch.loss_mask.shape, device=batch.loss_mask.device)


def top_share(scores: Tensor, mask: Tensor, fraction: float) -> Tensor:
    """(B, T) 0/1: in each row the ceil(fraction * tokens) tokens of `mask` with the highest scores; of equals the earlier.

    Args:
        scores: (B, T) float; values outside of `mask` mean nothing.
        mask: (B, T) 0/1.
        fraction: above 0, at most 1. A row with a token in `mask` has at least one that is chosen.
    """
    import torch

    inside = mask.bool()
    counts = (inside.sum(1).double() * fraction - 1e-9).ceil().long()
    order = scores.masked_fill(~inside, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(mask.size(1), device=mask.device).expand_as(order))
    return mask * (rank < counts.unsqueeze(1))
