"""What is done about a mismatch: importance weights on the loss, and rejection of tokens or completions. verl's names.

Made without torch, so that its settings can be checked when a run is planned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlllm.core.errors import ConfigError, closest, unknown

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = ("token", "sequence")
CRITERIA = (
    *(f"{level}_k{kind}" for level in ("token", "seq_sum", "seq_mean") for kind in (1, 2, 3)),
    "seq_max_k2",
    "seq_max_k3",
)
"""verl's criteria: a divergence (k1, k2 or k3) of a token, or its sum, mean or maximum over a completion."""
FORMER_CRITERIA = {"token": "token_k1", "sequence": "seq_sum_k1", "geometric": "seq_mean_k1"}
"""Names of criteria in earlier versions of verl."""
Bounds = tuple[float | None, float]
"""Lower and upper bound; a lower one of None is no bound."""


@dataclass(frozen=True)
class RolloutCorrection:
    """verl's `rollout_correction`: truncated importance sampling, IcePop, and rejection by divergence.

    A ratio is the trainer's probability over the sampler's, taken before the first update on a rollout.
    """

    rollout_is: str | None = None
    """`token`: each token's loss is weighted by its ratio; `sequence`: by the product of its completion's ratios. None: not."""
    rollout_is_threshold: float | str = 2.0
    """A number truncates weights from above (TIS: Yao et al. 2025); `"0.5_5"` gives weight 0 to those outside (IcePop)."""
    rollout_is_batch_normalize: bool = False
    """Divide the weights by their mean over the rollout."""
    rollout_rs: str | None = None
    """Criteria by which tokens or completions are left out, joined by commas: all have to hold. None: nothing is left out."""
    rollout_rs_threshold: float | str | None = None
    """Bound of each criterion, joined by commas; one number holds for all. Of a k1 criterion `"lower_upper"` are bounds of the
    sampler's probability over the trainer's, and one number `c` stands for `1/c` to `c`."""
    is_bounds: Bounds = field(init=False)
    rs_bounds: Mapping[str, Bounds] = field(init=False)

    def __post_init__(self) -> None:
        if self.rollout_is is not None and self.rollout_is not in LEVELS:
            raise unknown("rollout_correction.rollout_is", self.rollout_is, LEVELS)
        lower, upper = _numbers(self.rollout_is_threshold, "rollout_is_threshold")
        object.__setattr__(self, "is_bounds", (lower, upper))
        object.__setattr__(self, "rs_bounds", self._rejection())

    @property
    def active(self) -> bool:
        """Whether anything is corrected."""
        return self.rollout_is is not None or bool(self.rs_bounds)

    def describe(self) -> str:
        """What is done, in words."""
        lower, upper = self.is_bounds
        parts = []
        if self.rollout_is:
            how = f"at most {upper:g}" if lower is None else f"0 outside of {lower:g} to {upper:g}"
            parts.append(f"weights by {self.rollout_is}, {how}")
        for name, (low, high) in self.rs_bounds.items():
            parts.append(f"{name} {f'{low:g} to {high:g}' if low is not None else f'at most {high:g}'}")
        return "; ".join(parts)

    def _rejection(self) -> dict[str, Bounds]:
        names = list(dict.fromkeys(name.strip() for name in (self.rollout_rs or "").split(",") if name.strip()))
        for name in names:
            if name not in CRITERIA:
                near = FORMER_CRITERIA.get(name) or closest(name, CRITERIA)
                raise ConfigError(
                    f"rollout_correction.rollout_rs knows no {name}",
                    given=str(self.rollout_rs),
                    exists=CRITERIA,
                    hint=f"did you mean {near}?" if near else "name one of them, or several joined by commas",
                )
        if not names:
            if self.rollout_rs_threshold is not None:
                raise ConfigError(
                    "rollout_correction.rollout_rs_threshold bounds a criterion, and none is named",
                    given=f"rollout_rs_threshold={self.rollout_rs_threshold}",
                    hint="rollout_correction.rollout_rs=seq_mean_k3, or leave the threshold out",
                )
            return {}
        if self.rollout_rs_threshold is None:
            raise ConfigError(
                "rollout_correction.rollout_rs needs a threshold",
                given=f"rollout_rs={self.rollout_rs}",
                hint='rollout_rs_threshold="0.5_2" for a k1 criterion, 0.01 for a k2 or k3 one',
            )
        given = [part.strip() for part in str(self.rollout_rs_threshold).split(",") if part.strip()]
        if len(given) not in (1, len(names)):
            raise ConfigError(
                f"{len(names)} criteria have {len(names)} thresholds or one",
                given=f"rollout_rs={self.rollout_rs}, rollout_rs_threshold={self.rollout_rs_threshold}",
                hint="join the thresholds by commas, in the order of the criteria",
            )
        thresholds = given * len(names) if len(given) == 1 else given
        return {name: _of_criterion(name, text) for name, text in zip(names, thresholds, strict=True)}

    def weights(
        self, log_ratio: Tensor, mask: Tensor, reduce: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """(B, T) weights of the tokens' losses, without gradient, 0 off the mask; and what is logged of them.

        Args:
            log_ratio: (B, T) log of trainer over sampler, in nats; 0 where it is not known.
            mask: (B, T) 0/1 tokens that count.
            reduce: sum over all processes.
        """
        import torch

        from rlllm.algorithms.mismatch.measures import bounded_exp

        counted = mask.to(log_ratio.dtype)
        whole = (log_ratio * counted).sum(-1, keepdim=True).expand_as(log_ratio)
        raw = bounded_exp(log_ratio if self.rollout_is == "token" else whole) * counted
        lower, upper = self.is_bounds
        above, below = raw > upper, (raw < (1 / upper if lower is None else lower)) & mask.bool()
        weights = raw.clamp(max=upper) if lower is None else raw.masked_fill(above | below, 0.0)
        sums = torch.stack([part.sum().float() for part in (counted, weights, weights.square(), above, below)])
        count, total, squares, high, low = reduce(sums).tolist()
        count = max(count, 1.0)
        values = {
            "rollout_is_mean": total / count,
            "rollout_is_eff_sample_size": total**2 / (count * squares) if squares else 0.0,
            "rollout_is_ratio_fraction_high": high / count,
            "rollout_is_ratio_fraction_low": low / count,
        }
        if self.rollout_is_batch_normalize:
            mean = self._mean_weight(weights, counted, reduce)
            weights = weights / mean if mean > 0 else weights
            values["rollout_is_batch_norm_factor"] = mean
        return weights.detach(), values

    def _mean_weight(self, weights: Tensor, mask: Tensor, reduce: Callable[[Tensor], Tensor]) -> float:
        """Mean over tokens; where completions have one weight, over completions."""
        import torch

        has = (mask.sum(-1) > 0).to(weights.dtype)
        of_rows = weights.amax(-1) * has
        parts = (weights.sum(), mask.sum()) if self.rollout_is == "token" else (of_rows.sum(), has.sum())
        total, count = reduce(torch.stack([part.float() for part in parts])).tolist()
        return float(total / max(count, 1.0))

    def keeps(
        self, log_ratio: Tensor, mask: Tensor, reduce: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """(B, T) bool: tokens that meet every criterion; and what is logged of it. Arguments as for `weights`."""
        import torch

        kept = torch.ones_like(mask, dtype=torch.bool)
        for name, bounds in self.rs_bounds.items():
            kept &= _meets(name, bounds, log_ratio, mask)
        rejected = ~kept & mask.bool()
        rows = mask.bool().any(-1)
        sums = [part.sum().float() for part in (mask, rejected, rows, rejected.any(-1))]
        tokens, without, completions, cut = reduce(torch.stack(sums)).tolist()
        return kept, {
            "rollout_rs_masked_fraction": without / max(tokens, 1.0),
            "rollout_rs_seq_masked_fraction": cut / max(completions, 1.0),
        }


def _meets(name: str, bounds: Bounds, log_ratio: Tensor, mask: Tensor) -> Tensor:
    """(B, T) or (B, 1) bool: whether one criterion holds.

    As in verl, k1 is the log of sampler over trainer, k2 half the squared log-ratio, and k3 Schulman's estimator.
    """
    from rlllm.algorithms.mismatch.measures import BOUND

    level, _, kind = name.rpartition("_")
    safe = log_ratio.clamp(-BOUND, BOUND)
    values = {"k1": -safe, "k2": 0.5 * safe**2, "k3": safe.exp() - 1 - safe}[kind]
    if level != "token":
        counted = mask.to(values.dtype)
        sums = (values * counted).sum(-1, keepdim=True)
        values = {
            "seq_sum": sums,
            "seq_mean": sums / counted.sum(-1, keepdim=True).clamp(min=1),
            "seq_max": (values * counted).amax(-1, keepdim=True),
        }[level]
    lower, upper = bounds
    if kind == "k1":
        assert lower is not None
        return (values >= math.log(lower)) & (values <= math.log(upper))
    return values <= upper


def _of_criterion(name: str, text: str) -> Bounds:
    lower, upper = _numbers(text, f"the threshold of {name}")
    if name.endswith("k1"):
        return (1 / upper if lower is None else lower), upper
    if lower is not None:
        raise ConfigError(
            f"the threshold of {name} is one number: a k2 or k3 is never negative",
            given=text,
            hint="rollout_rs_threshold=0.01",
        )
    return None, upper


def _numbers(given: float | str, name: str) -> Bounds:
    """Lower and upper bound of `2.0`, `"2.0"` or `"0.5_2.0"`."""
    parts = str(given).split("_")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 2 or not all(0 < number < math.inf for number in numbers) or numbers != sorted(numbers):
        raise ConfigError(
            f"rollout_correction: {name} is a number above 0, or a lower and an upper one joined by an underscore",
            given=repr(given),
            hint='2.0, or "0.5_2.0"',
        )
    return (numbers[0] if len(numbers) == 2 else None), numbers[-1]
