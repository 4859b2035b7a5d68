"""What a check is, the ragged batches it runs on, and how two results are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rlllm.core.errors import describe
from rlllm.tools.selftest.formulas import Array

EXACT = 1e-6
"""Tolerance in 64-bit arithmetic; what TRL computes in 32 bits has its own."""
SEEDS = range(8)
_ROWS, _TOKENS, _GROUP = 6, 9, 3
_STEP = 1e-6


@dataclass(frozen=True)
class Check:
    """One comparison.

    Args:
        part: what is checked: `loss dual-clip`, `advantage gae`.
        against: what it is compared with: `formula`, or a library with its version.
        measure: nothing -> the largest difference, as a share of the expected value where that is above 1.
        tolerance: largest difference that passes.
    """

    part: str
    against: str
    measure: Callable[[], float]
    tolerance: float = EXACT

    def run(self) -> Result:
        """The comparison, made. What it raises is a failure of this check alone."""
        try:
            return Result(self.part, self.against, self.measure(), self.tolerance)
        except Exception as error:
            return Result(self.part, self.against, None, self.tolerance, describe(error))


@dataclass(frozen=True)
class Result:
    """What a check found.

    Args:
        part, against, tolerance: of the check.
        difference: the largest one; None where the check could not be made.
        error: what it raised, else empty.
    """

    part: str
    against: str
    difference: float | None
    tolerance: float
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the difference is within the tolerance. NaN is not."""
        return self.difference is not None and self.difference <= self.tolerance


@dataclass(frozen=True)
class Batch:
    """Six completions of up to nine tokens in two groups, as NumPy arrays of 64-bit floats; see `formulas` for the names."""

    new: Array
    old: Array
    ref: Array
    mask: Array
    advantages: Array
    """(B, 1): one for each completion."""
    rewards: Array
    """(N, G); one of them unknown."""
    values: Array
    off_policy: Array
    """(B, T) 0/1."""

    @property
    def lengths(self) -> Array:
        """(B,) tokens of each completion."""
        return self.mask.sum(1)


def batches() -> Iterator[Batch]:
    """Random batches of ragged rows, one for each seed. What stands outside the mask means nothing and is large."""
    for seed in SEEDS:
        draw = np.random.default_rng(seed)
        shape = (_ROWS, _TOKENS)
        lengths = draw.permutation([_TOKENS, 1, 4, 2, 7, 3])
        mask = (np.arange(_TOKENS) < lengths[:, None]).astype(np.float64)
        new = np.where(mask > 0, draw.uniform(-4, -0.05, shape), -9.0)
        rewards = draw.normal(size=(_ROWS // _GROUP, _GROUP))
        rewards[seed % len(rewards), seed % _GROUP] = np.nan
        yield Batch(
            new=new,
            old=new + draw.normal(scale=0.4, size=shape) * mask,
            ref=new + draw.normal(scale=0.4, size=shape) * mask,
            mask=mask,
            advantages=draw.normal(size=(_ROWS, 1)),
            rewards=rewards,
            values=draw.normal(size=shape),
            off_policy=(np.arange(_ROWS) % _GROUP == 0)[:, None] * mask,
        )


def over_batches(compare: Callable[[Batch], float]) -> Callable[[], float]:
    """`Check.measure`: the largest difference over all batches."""
    return lambda: max(compare(batch) for batch in batches())


def difference(computed: Any, expected: Any) -> float:
    """Largest difference of two arrays of one shape, each as a share of the expected value where that is above 1."""
    both = (values.detach() if isinstance(values, torch.Tensor) else values for values in (computed, expected))
    first, second = (np.asarray(values, dtype=np.float64) for values in both)
    if first.shape != second.shape:
        raise ValueError(f"shapes {first.shape} and {second.shape}")
    return float(np.max(np.abs(first - second) / np.maximum(1, np.abs(second)), initial=0.0))


def slope(function: Callable[[Array], float], at: Array) -> Array:
    """Derivative of a number by every entry of an array, by central differences."""
    result = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[place] = _STEP
        result[place] = (function(at + step) - function(at - step)) / (2 * _STEP)
    return result


def with_gradient(
    loss: Callable[[torch.Tensor], torch.Tensor], formula: Callable[[Array], float], batch: Batch
) -> float:
    """The larger difference of a loss and of its gradient by the log-probabilities from those of a formula.

    Args:
        loss: (B, T) log-probabilities -> a scalar.
        formula: the same in NumPy.
        batch: where both are taken.
    """
    new = torch.tensor(batch.new, requires_grad=True)
    value = loss(new)
    (gradient,) = torch.autograd.grad(value, new)
    return max(difference(value, formula(batch.new)), difference(gradient, slope(formula, batch.new)))


def same_loss(
    ours: Callable[[torch.Tensor], torch.Tensor], theirs: Callable[[torch.Tensor], torch.Tensor], batch: Batch
) -> float:
    """The larger difference of two losses of log-probabilities and of their gradients."""
    results = []
    for loss in (ours, theirs):
        new = torch.tensor(batch.new, requires_grad=True)
        value = loss(new)
        (gradient,) = torch.autograd.grad(value, new)
        results.append((value, gradient))
    return max(difference(own, other) for own, other in zip(*results, strict=True))
