"""What completions of some prompts say about those of others: the Dirichlet-multinomial over prompts.

Each prompt has its own chances of the outcomes (two for right and wrong: then this is the Beta-binomial). Chances of all
prompts are drawn from one Dirichlet, whose mean is the share of each outcome and whose concentration says how alike prompts
are. Predictions are drawn from the posterior: their intervals hold what is not known of the chances, and the chance of the
completions to come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rlllm.core.errors import DataError
from rlllm.evals.statistics.intervals import Interval

if TYPE_CHECKING:
    from numpy import ndarray

CONFIDENCE = 0.8
"""Of every interval of a prediction."""
_CONCENTRATIONS = (0.02, 200.0, 48)
"""Smallest and largest concentration that is tried, and how many between them, in equal steps of the logarithm."""
_DRAWS = 2000
_NUMBERS = 8_000_000
"""Random numbers of one prediction, at most."""
_GROUPS = 256
"""Groups of a prediction, at most: a share over more of them is as good as its expectation."""


@dataclass(frozen=True, slots=True)
class GroupPrediction:
    """What groups of completions will show, with intervals that hold `CONFIDENCE`."""

    mixed: Interval
    """Share of the groups whose outcomes are not all the same."""
    mean: Interval
    """Mean of the outcomes over all completions."""


@dataclass(frozen=True)
class PromptChances:
    """The outcomes that were seen.

    Args:
        seen: for each prompt its outcomes, at least one: rewards, or 1.0 and 0.0 for right and wrong. Equal numbers are one
            outcome.
        rows: prompts there are in all; those that were seen come up again.

    Raises:
        DataError: nothing was seen.
    """

    seen: Sequence[Sequence[float]]
    rows: int

    def __post_init__(self) -> None:
        if not self.seen or not all(self.seen):
            raise DataError("a prediction needs outcomes of at least one prompt", given=f"{len(self.seen)} prompts")

    @cached_property
    def outcomes(self) -> list[float]:
        """The different outcomes."""
        return sorted({outcome for row in self.seen for outcome in row})

    @cached_property
    def _counts(self) -> ndarray[Any, Any]:
        """(N, K) how often each prompt had each outcome; with one outcome there is a second one that was never seen."""
        import numpy as np

        place = {outcome: number for number, outcome in enumerate(self.outcomes)}
        counts = np.zeros((len(self.seen), max(2, len(place))))
        for row, outcomes in enumerate(self.seen):
            for outcome in outcomes:
                counts[row, place[outcome]] += 1
        return counts

    @cached_property
    def _mean(self) -> ndarray[Any, Any]:
        """(K,) share of each outcome, each prompt counted once, with half an observation of each."""
        shares = self._counts / self._counts.sum(1, keepdims=True)
        prior = 0.5 / self._counts.shape[1]
        return (shares.sum(0) + prior) / (len(shares) + prior * len(shares[0]))

    @cached_property
    def _posterior(self) -> tuple[ndarray[Any, Any], ndarray[Any, Any]]:
        """Concentrations, and their probabilities given what was seen; before, every order of magnitude is alike."""
        import numpy as np
        from scipy.special import gammaln

        low, high, number = _CONCENTRATIONS
        grid = np.geomspace(low, high, number)
        counts, sizes = self._counts, self._counts.sum(1)
        logs = np.empty(number)
        for place, concentration in enumerate(grid):
            base = concentration * self._mean
            logs[place] = (gammaln(counts + base) - gammaln(base)).sum()
            logs[place] += (gammaln(concentration) - gammaln(sizes + concentration)).sum()
        weights = np.exp(logs - logs.max())
        return grid, weights / weights.sum()

    @property
    def between(self) -> float:
        """Share of the variance of one completion's outcome that lies between prompts."""
        grid, weights = self._posterior
        return float((weights / (1 + grid)).sum())

    def predict(self, group_size: int, groups: int, seed: int = 0) -> GroupPrediction:
        """What `groups` groups of `group_size` completions will show."""
        import numpy as np

        random = np.random.default_rng(seed)
        groups = min(groups, _GROUPS)
        kinds = self._counts.shape[1]
        draws = max(100, min(_DRAWS, _NUMBERS // (groups * kinds)))
        chances = self._chances(random, draws, groups)
        found = random.multinomial(group_size, chances)
        mixed = ((found > 0).sum(2) > 1).mean(1)
        values = np.array([*self.outcomes, *([self._unseen] if len(self.outcomes) == 1 else [])])
        means = (found * values).sum((1, 2)) / (groups * group_size)
        return GroupPrediction(self._interval(mixed), self._interval(means))

    def _chances(self, random: Any, draws: int, groups: int) -> ndarray[Any, Any]:
        """(D, groups, K) chances of the prompts of groups to come."""
        import numpy as np

        grid, weights = self._posterior
        concentrations = random.choice(grid, size=draws, p=weights)
        bases = concentrations[:, None] * self._means(random, draws)
        parameters = np.repeat(bases[:, None, :], groups, axis=1)
        again = random.random((draws, groups)) < len(self.seen) / max(self.rows, len(self.seen))
        which = random.integers(len(self.seen), size=(draws, groups))
        parameters += self._counts[which] * again[:, :, None]
        gammas = random.standard_gamma(np.maximum(parameters, 1e-6)) + 1e-300
        chances = gammas / gammas.sum(2, keepdims=True)
        return np.asarray(chances / chances.sum(2, keepdims=True))

    def _means(self, random: Any, draws: int) -> ndarray[Any, Any]:
        """(D, K) shares of the outcomes as they may be: prompts are weighted anew in each (Rubin 1981)."""
        import numpy as np

        shares = self._counts / self._counts.sum(1, keepdims=True)
        weights = random.standard_exponential((draws, len(shares)))
        means = (weights / weights.sum(1, keepdims=True)) @ shares
        unseen = random.beta(0.5, self._independent + 0.5, size=(draws, 1))
        if len(self.outcomes) == 1:
            return np.hstack([1 - unseen, unseen])
        return np.asarray((1 - unseen) * means + unseen * np.maximum(self._mean, 1e-9))

    @property
    def _independent(self) -> float:
        """Completions that would say as much if each had a prompt of its own."""
        sizes = self._counts.sum(1)
        return float((sizes / (1 + (sizes - 1) * self.between)).sum())

    @property
    def _unseen(self) -> float:
        """The outcome that was never seen beside a single one: right, where all was wrong, and the other way round."""
        return 0.0 if self.outcomes[0] else 1.0

    def _interval(self, values: Any) -> Interval:
        import numpy as np

        low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        estimate = min(max(float(values.mean()), float(low)), float(high))  # a skewed tail pulls the mean out
        return Interval(estimate, float(low), float(high), len(self.seen), "posterior")

    def flat_share(self, group_size: int, least: float = 0.1) -> tuple[float, float]:
        """Shares of prompts whose groups will be mixed with a chance below `least`: below and above the mean outcome.

        With right and wrong these are the prompts that are too hard and those that are too easy.
        """
        import numpy as np

        grid, weights = self._posterior
        concentration = float(math.exp((np.log(grid) * weights).sum()))
        after = self._counts + concentration * self._mean
        chances = after / after.sum(1, keepdims=True)
        flat = 1 - (chances**group_size).sum(1) < least
        values = np.array([*self.outcomes, *([self._unseen] if len(self.outcomes) == 1 else [])])
        own, middle = chances @ values, float(self._mean @ values)
        return float((flat & (own <= middle)).mean()), float((flat & (own > middle)).mean())
