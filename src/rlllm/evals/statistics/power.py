"""Statistical power: the smallest true difference between two models that a number of problems and samples can find."""

from __future__ import annotations

import math
from statistics import NormalDist

from rlllm.core.errors import ConfigError

_BETWEEN = 0.5
"""Share of the variance of one completion's correctness that lies between problems. One half is that of chances spread as
Beta(1/2, 1/2): many problems almost always solved, many almost never."""
AGREEMENT = 0.7
"""Correlation over problems of the two models' chances: a model and its fine-tuned self find the same problems hard."""


def minimum_detectable_effect(
    problems: int,
    samples: int,
    *,
    paired: bool,
    rate: float = 0.5,
    agreement: float = AGREEMENT,
    alpha: float = 0.05,
    power: float = 0.8,
    between: float = _BETWEEN,
) -> float:
    """Smallest true difference of two accuracies that a two-sided test at `alpha` finds with probability `power`.

    Normal approximation: (z of 1 - alpha/2 plus z of power) times the standard error of the difference. A completion has
    variance V = rate (1 - rate), of which V * between is that of the problems' chances. With m samples of n problems

        paired:    SE^2 = 2 V (between (1 - agreement) + (1 - between) / m) / n
        unpaired:  SE^2 = 2 V (between + (1 - between) / m) / n

    More samples lower the second term only; more problems lower both. With one sample of fewer than about 500 problems the
    permutation test, which can only take a few values then, finds the effect about 7 times in 10 instead of 8.

    Args:
        problems: items that both models answer (paired), or that each of them answers.
        samples: completions of each problem.
        paired: both models answer the same problems.
        rate: accuracy around which the models lie; one half is the hardest case.
        agreement: correlation over problems of the two models' chances, in [0, 1]; used where paired.
        between: share of the variance between problems, in [0, 1].

    Returns:
        The effect as a difference of accuracies, at most 1, which says that no effect can be found.

    Raises:
        ConfigError: an argument outside of its range.
    """
    if problems < 1 or samples < 1:
        raise ConfigError("a detectable effect needs problems and samples", given=f"{problems}, {samples}")
    _check_shares(rate=rate, agreement=agreement, between=between)
    if not 0 < alpha < 1 or not 0 < power < 1:
        raise ConfigError("alpha and power lie between 0 and 1, exclusive", given=f"{alpha}, {power}")
    common = 1 - agreement if paired else 1.0
    variance = 2 * rate * (1 - rate) * (between * common + (1 - between) / samples)
    return min(1.0, detectable(math.sqrt(variance / problems), alpha=alpha, power=power))


def detectable(standard_error: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The effect found with probability `power` where its estimate has this standard error."""
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * standard_error


def _check_shares(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} lies between 0 and 1", given=value)
