"""Fit of the entropy law R = -a exp(H) + b: the reward that a policy gains for the entropy that it loses.

R is the reward of a step, H its policy entropy in nats per token. The fit is linear in exp(H), so it has a closed form.
Source: Cui et al. 2025, arXiv 2505.22617, equation 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.report.axes import ends
from rlllm.report.charts import relation
from rlllm.report.curves import finite_points
from rlllm.report.markup import Html, join, tag
from rlllm.report.wording import count, fixed, number

MIN_STEPS = 12
"""Steps below which two fitted numbers say nothing."""
_MIN_R2 = 0.5
"""Share of the variance of the reward that the law must explain to be shown."""


@dataclass(frozen=True, slots=True)
class _EntropyLaw:
    """A fitted law."""

    a: float
    """Reward gained for each unit by which exp(H) falls."""
    b: float
    r2: float
    """Share of the reward's variance that the law explains; 1 is all of it."""
    steps: int

    @property
    def ceiling(self) -> float:
        """Reward that the law predicts for entropy 0."""
        return self.b - self.a

    def reward(self, entropy: float) -> float:
        """Predicted reward at an entropy in nats."""
        return self.b - self.a * math.exp(entropy)


def fit(pairs: Sequence[tuple[float, float]]) -> _EntropyLaw | None:
    """Least squares of reward on exp(entropy).

    Args:
        pairs: (entropy in nats, reward) of each step; those with a number that is not finite are left out.

    Returns:
        The law, or None where the pairs do not determine it: fewer than 2, or no spread in entropy or reward.
    """
    points = [(math.exp(h), r) for h, r in pairs if math.isfinite(h) and math.isfinite(r) and h < 100]
    if len(points) < 2:
        return None
    mean_x, mean_r = (math.fsum(column) / len(points) for column in zip(*points, strict=True))
    spread_x = math.fsum((x - mean_x) ** 2 for x, _ in points)
    spread_r = math.fsum((r - mean_r) ** 2 for _, r in points)
    if spread_x <= 1e-18 * max(1.0, mean_x**2) or spread_r <= 1e-18 * max(1.0, mean_r**2):
        return None
    slope = math.fsum((x - mean_x) * (r - mean_r) for x, r in points) / spread_x
    rest = math.fsum((r - mean_r - slope * (x - mean_x)) ** 2 for x, r in points)
    return _EntropyLaw(-slope, mean_r - slope * mean_x, 1 - rest / spread_r, len(points))


def fit_if_informative(pairs: Sequence[tuple[float, float]]) -> _EntropyLaw | None:
    """The fit if it has `MIN_STEPS` steps, gains reward for entropy (a above 0) and explains `_MIN_R2`; else None."""
    law = fit(pairs)
    return law if law is not None and law.steps >= MIN_STEPS and law.a > 0 and law.r2 >= _MIN_R2 else None


def entropy_figure(metrics: Sequence[dict[str, Any]]) -> Html | None:
    """Reward against entropy with the fitted law, its R^2 and what it predicts; None where the fit means nothing."""
    entropies, rewards = dict(finite_points(metrics, "entropy")), finite_points(metrics, "reward")
    pairs = [(entropies[step], reward) for step, reward in rewards if step in entropies]
    law = fit_if_informative(pairs)
    if law is None:
        return None
    last = ends([(step, reward) for step, reward in rewards if step in entropies])[1]
    formula = f"R = {number(law.b)} - {number(law.a)} exp(H)".replace("- -", "+ ")
    sentences = (
        f"{formula} explains {fixed(100 * law.r2, 0)} % of the reward's variance over {count(law.steps, 'step')} "
        f"(R² = {fixed(law.r2)}). At entropy 0 it predicts a reward of {number(law.ceiling)}; the last tenth of "
        f"the run has {number(last)}, {number(abs(law.ceiling - last))} {'below' if last < law.ceiling else 'above'} that. "
        "This extends a fit beyond what was seen; it does not hold for a run that keeps its entropy up."
    )
    figure = relation("Reward against entropy", "one dot a step, nats per token", pairs, law.reward, "entropy")
    return join([tag("div", figure, class_="curves"), tag("p", sentences, class_="note")])
