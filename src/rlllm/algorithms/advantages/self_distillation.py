"""Advantages by self-distillation: the same policy, shown the row's solution, says token by token what it would have written.

p is the policy, q the policy with the solution in its prompt, o_t the token that was sampled. The gap d_t = log q(o_t) -
log p(o_t) is positive where the teacher would sooner have written the token. Neither has a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rlllm.algorithms.protocols import Advantage, Setup
from rlllm.algorithms.signals.teacher_logps import TeacherLogps
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch

_EPSILON = 1e-6


@dataclass(frozen=True)
class SelfDistillation(Advantage):
    """An estimator that reads the gap between the policy and itself with the solution in its prompt.

    A row without privileged text has no gap: its completions keep the advantage that the reward gives them. Where no row has
    any, the run is refused.

    Args:
        column: column of the data with the privileged text; `answer` is the reference answer.
        template: the teacher's prompt, from `{prompt}` and `{privileged_context}`.
    """

    column: str = "solution"
    template: str = TeacherLogps.template
    _logged: dict[str, float] = field(init=False, repr=False, compare=False, default_factory=dict)
    per_token = True
    reads_kl_penalty = False

    @property
    def _teacher(self) -> TeacherLogps:
        return TeacherLogps(self.column, self.template, optional=True)

    def check(self, setup: Setup) -> None:
        """Raise ConfigError where no row has privileged text, or where the data's completions stand among the sampled ones."""
        if not self.needs:
            return
        if setup.off_policy:
            raise ConfigError(
                "self-distillation corrects tokens that the policy sampled, and some completions of this run are the data's",
                given="off_policy",
                hint="leave out one of them; the solution reaches the policy by either",
            )
        if setup.tasks and not any(self._teacher.text(task) for task in setup.tasks):
            columns = sorted({column for task in setup.tasks[:100] for column in task.meta})
            raise ConfigError(
                "a self-teacher is shown a text that the policy is not, and no row of the data has one",
                given=f"advantage.column={self.column}",
                exists=["answer", *columns],
                hint="advantage.column=answer shows it the reference answer",
            )

    def _gaps(self, batch: RolloutBatch) -> tuple[Tensor, Tensor]:
        """(B, T) gaps, 0 where there is none, and the (B, T) mask of the tokens that have one."""
        assert batch.logps is not None
        gaps = batch.signals["teacher_logps"] - batch.logps
        mask = batch.loss_mask.bool() & ~gaps.isnan()
        return gaps.masked_fill(~mask, 0.0), mask

    def _note_gaps(self, batch: RolloutBatch, gaps: Tensor, mask: Tensor, **values: tuple[Tensor, Tensor]) -> None:
        """Log means over all processes: those of the gaps, and `values` (what is averaged, over which mask) by their names."""
        means = {
            "gap": (gaps, mask),
            "gap_size": (gaps.abs(), mask),
            "completions": (mask.any(1).float(), batch.loss_mask.any(1)),
            **values,
        }
        self._logged.clear()
        self._logged.update({f"teacher/{name}": float(batch.mean(*pair)[0]) for name, pair in means.items()})

    @property
    def metrics(self) -> Mapping[str, float]:
        """For the log, after a rollout."""
        return self._logged


@dataclass(frozen=True)
class DASD(SelfDistillation):
    """Group advantage, plus beta w dbar at each token: towards the teacher where the policy is sure, away from it at forks.

    dbar is the gap over the median gap size of its completion, and w = z g. The direction is z = tanh((tau - H) / s), with tau
    a quantile and s the mean absolute deviation of the completion's entropies H. The gate is g = sigmoid(|dbar| - 1) (Zhang et
    al. 2026, arXiv 2605.22263). All statistics are those of a completion. Quantiles interpolate: the median of an even number
    of tokens is the mean of the two in the middle.

    Args:
        dasd_beta: strength of the correction; 0 is the group advantage, bit for bit, without a teacher. No number is published.
        quantile: share of a completion's tokens below the entropy tau at which the direction turns.
        gap_clip: largest size of dbar; None leaves it unbounded, as it is printed.
        median_floor: smallest median, in nats, that gaps are divided by; 0 is the printed formula.
        direction: `entropy` routes by entropy; `attract` and `repel` fix z at +1 and -1.
        gate: whether small gaps count less; without it g is 1.
        shuffle_gaps: permute the gaps within each completion: the control that keeps their sizes and loses their places.
    """

    dasd_beta: float = 0.1
    quantile: float = 0.2
    gap_clip: float | None = 5.0
    median_floor: float = 1e-3
    direction: Literal["entropy", "attract", "repel"] = "entropy"
    gate: bool = True
    shuffle_gaps: bool = False
    compares_group = True

    def __post_init__(self) -> None:
        if not 0 <= self.quantile <= 1:
            raise ConfigError("advantage dasd: quantile is between 0 and 1", given=f"quantile={self.quantile}")
        if self.dasd_beta < 0 or self.median_floor < 0:
            raise ConfigError(
                "advantage dasd: dasd_beta and median_floor are 0 or more",
                given=f"dasd_beta={self.dasd_beta} median_floor={self.median_floor}",
                hint="direction=repel turns every token away from the teacher",
            )
        if self.gap_clip is not None and self.gap_clip <= 0:
            raise ConfigError(
                "advantage dasd: gap_clip is above 0", given=f"gap_clip={self.gap_clip}", hint="gap_clip=null"
            )

    @property
    def needs(self) -> Sequence[Any]:
        return ("logps", "entropies", self._teacher) if self.dasd_beta else ()

    def same_as(self, settings: Mapping[str, Any]) -> str:
        return "" if self.dasd_beta else "group"

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B,) group advantages where `dasd_beta` is 0, else (B, T)."""
        if not self.dasd_beta:
            return batch.trl_advantages
        assert batch.entropies is not None
        gaps, mask = self._gaps(batch)
        mask = mask & ~batch.summed_reward.isnan().unsqueeze(1)
        if self.shuffle_gaps:
            gaps = shuffled(gaps, mask)
        direction, scaled = self.route(gaps, batch.entropies, mask)
        correction = self.dasd_beta * direction * scaled
        group = batch.trl_advantages.unsqueeze(1)
        advantages = group + correction.to(group.dtype)
        turned = (advantages.sign() != group.sign()).float()
        largest = correction.abs().masked_fill(~mask, 0.0)
        bound = float("inf") if self.gap_clip is None else self.gap_clip
        self._note_gaps(
            batch,
            gaps,
            mask,
            attract_share=((direction > 0).float(), mask),
            repel_share=((direction < 0).float(), mask),
            flip_share=(turned, mask & (group != 0)),
            correction=(largest, mask),
            clipped_share=((scaled.abs() >= bound).float(), mask),
            correction_p99=_high_percentile(largest, mask),
        )
        return advantages

    def route(self, gaps: Tensor, entropies: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) weights w and scaled gaps dbar, both 0 outside of `mask`.

        Args:
            gaps: (B, T) in nats.
            entropies: (B, T) of the policy, in nats.
            mask: (B, T) bool.
        """
        import torch

        unit = row_quantile(gaps.abs(), mask, 0.5).clamp(min=self.median_floor)
        scaled = gaps / (unit + _EPSILON)
        if self.gap_clip is not None:
            scaled = scaled.clamp(-self.gap_clip, self.gap_clip)
        if self.direction == "entropy":
            count = mask.sum(1, keepdim=True).clamp(min=1)
            mean = entropies.masked_fill(~mask, 0.0).sum(1, keepdim=True) / count
            spread = (entropies - mean).abs().masked_fill(~mask, 0.0).sum(1, keepdim=True) / count
            direction = torch.tanh((row_quantile(entropies, mask, self.quantile) - entropies) / (spread + _EPSILON))
        else:
            direction = torch.full_like(gaps, 1.0 if self.direction == "attract" else -1.0)
        weights = direction * torch.sigmoid(scaled.abs() - 1) if self.gate else direction
        return weights.masked_fill(~mask, 0.0), scaled.masked_fill(~mask, 0.0)


@dataclass(frozen=True)
class OPSD(SelfDistillation):
    """The gap itself, at every token alike and whatever the reward: uniform on-policy self-distillation.

    Its gradient is the one-sample estimate of that of KL(p || q) (OPSD: Zhao et al. 2026, arXiv 2601.18734, which sums over
    the vocabulary). A completion without privileged text learns nothing.

    Args:
        gap_clip: largest size of a gap, in nats; None leaves it unbounded.
    """

    gap_clip: float | None = 5.0
    ignores_rewards = True

    @property
    def needs(self) -> Sequence[Any]:
        return ("logps", self._teacher)

    def __post_init__(self) -> None:
        if self.gap_clip is not None and self.gap_clip <= 0:
            raise ConfigError(
                "advantage opsd: gap_clip is above 0", given=f"gap_clip={self.gap_clip}", hint="gap_clip=null"
            )

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B, T) advantages in nats."""
        gaps, mask = self._gaps(batch)
        clipped = gaps if self.gap_clip is None else gaps.clamp(-self.gap_clip, self.gap_clip)
        self._note_gaps(batch, gaps, mask, clipped_share=((clipped != gaps).float(), mask))
        return clipped


@dataclass(frozen=True)
class RLSD(SelfDistillation):
    """Group advantage whose size at each token follows the gap: A ((1 - mix) + mix clip(exp(sign(A) d), 1 - c, 1 + c)).

    The reward keeps the sign (RLSD: Yang et al. 2026, arXiv 2604.03128).

    Args:
        mix: share of the advantage that is reweighted, lambda; 0 is the group advantage, bit for bit.
        weight_clip: c.
        decay_steps: optimizer steps over which `mix` falls to 0 in a straight line; 0 keeps it.
    """

    mix: float = 0.5
    weight_clip: float = 0.2
    decay_steps: int = 0
    compares_group = True

    def __post_init__(self) -> None:
        if not 0 <= self.mix <= 1 or self.weight_clip < 0 or self.decay_steps < 0:
            raise ConfigError(
                "advantage rlsd or rlrt: mix is between 0 and 1, weight_clip and decay_steps are 0 or more",
                given=f"mix={self.mix} weight_clip={self.weight_clip} decay_steps={self.decay_steps}",
            )

    @property
    def needs(self) -> Sequence[Any]:
        return ("logps", self._teacher) if self.mix else ()

    def same_as(self, settings: Mapping[str, Any]) -> str:
        return "" if self.mix else "group"

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B,) group advantages where `mix` is 0, else (B, T)."""
        import torch

        if not self.mix:
            return batch.trl_advantages
        gaps, mask = self._gaps(batch)
        group = batch.trl_advantages.unsqueeze(1)
        ratio = torch.exp((self._sign(group) * gaps).clamp(max=20.0))
        weights = ratio.clamp(max(1 - self.weight_clip, 0.0), 1 + self.weight_clip)
        mix = self.mix * (max(0.0, 1 - batch.step / self.decay_steps) if self.decay_steps else 1.0)
        self._note_gaps(batch, gaps, mask, weight=(weights, mask), clipped_share=((weights != ratio).float(), mask))
        return group * ((1 - mix) + mix * weights).to(group.dtype)

    def _sign(self, group: Tensor) -> Tensor:
        """(B, 1) in which direction a gap counts, from the (B, 1) advantages."""
        return group.sign()


@dataclass(frozen=True)
class RLRT(RLSD):
    """The reverse of RLSD, on completions that beat their group: tokens that the teacher would not have written count more.

    (RLRT: Kim et al. 2026, arXiv 2605.10781.) With rewards of 0 and 1 these are the right completions.
    """

    weight_clip: float = 1.0

    def _sign(self, group: Tensor) -> Tensor:
        return -(group > 0).to(group.dtype)


def row_quantile(values: Tensor, mask: Tensor, share: float) -> Tensor:
    """(B, 1) quantile of each row's values under the (B, T) bool mask, interpolated in a straight line; 0 where it has none."""
    import torch

    return torch.nanquantile(values.masked_fill(~mask, torch.nan), share, dim=1, keepdim=True).nan_to_num(nan=0.0)


def shuffled(values: Tensor, mask: Tensor) -> Tensor:
    """The (B, T) values, those under the (B, T) bool mask in another, random order in each row.

    Drawn from the global generator, so that a resumed run draws what the uninterrupted one would have drawn.
    """
    import torch

    keys = torch.rand(values.shape, device=values.device)
    places = torch.arange(values.size(1), device=values.device).expand_as(values)
    own = torch.where(mask, places, places + values.size(1)).argsort(1)  # those of the mask first, in order
    drawn = keys.masked_fill(~mask, 2.0).argsort(1)
    moved = torch.empty_like(values).scatter_(1, own, values.gather(1, drawn))
    return torch.where(mask, moved, values)


def _high_percentile(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The 99th percentile of the values under the mask as a mean of one number; several processes log the mean of theirs."""
    import torch

    chosen = values[mask]
    value = torch.quantile(chosen[:_MOST_SORTED], 0.99) if len(chosen) else values.new_zeros(())
    return value.view(1), torch.ones_like(value).view(1)


_MOST_SORTED = 2**24
"""Values of which torch takes a quantile at once."""
