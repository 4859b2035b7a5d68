"""How often intervals hold the truth, by simulation, and which effects can be found: the tables of docs/concepts/statistics.md.

    python bench/interval_coverage.py [--evaluations 2000] [--bootstraps 500] [--output FILE]

A problem's chance is drawn from a Beta distribution with the rate as its mean and a + b as given; None makes all problems
alike. The percentile bootstrap is computed on the first evaluations of the same data. Wilson's own interval is counted exactly.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from results_file import add_output, write_results
from scipy import stats

from rlllm.evals.statistics.intervals import Interval, bootstrap_mean, mean_interval, wilson
from rlllm.evals.statistics.paired_tests import paired_difference
from rlllm.evals.statistics.power import minimum_detectable_effect

MEANS: tuple[tuple[int, int, float, float | None], ...] = (
    (20, 4, 0.05, 1),
    (20, 16, 0.1, 1),
    (50, 4, 0.2, 1),
    (50, 4, 0.9, 0.2),
    (50, 16, 0.05, 0.2),
    (50, 16, 0.5, None),
    (200, 4, 0.05, 1),
    (200, 4, 0.5, 10),
    (200, 16, 0.9, 0.2),
)
"""Problems, samples, rate, a + b."""
PAIRS = (
    (20, 4, 0.2, 0.05),
    (30, 16, 0.1, 0.0),
    (50, 1, 0.1, 0.1),
    (50, 4, 0.2, 0.05),
    (200, 4, 0.05, 0.05),
    (200, 16, 0.3, 0.1),
)
"""Problems, samples, share that becomes always solved, share that becomes never solved."""
SIZES = (50, 100, 200, 500, 1000, 2000)


def holds(interval: Interval, truth: float) -> bool:
    return interval.low - 1e-9 <= truth <= interval.high + 1e-9


def mean_row(problems: int, samples: int, rate: float, concentration: float | None, given: Any) -> dict[str, Any]:
    """How often the interval of a mean of problems holds the rate, and its mean width."""
    draw = np.random.default_rng([problems, samples])
    held, widths, boot, boot_widths = 0, [], 0, []
    for number in range(given.evaluations):
        if concentration is None:
            chance = np.full(problems, rate)
        else:
            chance = draw.beta(rate * concentration, (1 - rate) * concentration, size=problems)
        scores = [[value] for value in (draw.binomial(samples, chance) / samples).tolist()]
        interval = mean_interval(scores)
        held += holds(interval, rate)
        widths.append(interval.high - interval.low)
        if number < given.bootstraps:
            interval = bootstrap_mean(scores, seed=number)
            boot += holds(interval, rate)
            boot_widths.append(interval.high - interval.low)
    return {
        "problems": problems,
        "samples": samples,
        "rate": rate,
        "concentration": concentration,
        "held": held / given.evaluations,
        "width": float(np.mean(widths)),
        "bootstrap_held": boot / given.bootstraps,
        "bootstrap_width": float(np.mean(boot_widths)),
    }


def pair_row(problems: int, samples: int, always: float, never: float, evaluations: int) -> dict[str, Any]:
    """How often the interval of a paired difference holds the true one."""
    draw = np.random.default_rng([problems, samples, 1])
    held = 0
    truth = always * (1 - 0.5) - never * 0.5
    for _ in range(evaluations):
        before = draw.beta(0.6, 0.6, size=problems)
        kind = draw.random(problems)
        after = np.where(kind < always, 1.0, np.where(kind < always + never, 0.0, before))
        scores = [(draw.binomial(samples, chance) / samples).tolist() for chance in (before, after)]
        held += holds(paired_difference(*scores, resamples=20).interval, truth)
    kinds = {"problems": problems, "samples": samples, "always": always, "never": never}
    return {**kinds, "held": held / evaluations}


def wilson_row(problems: int) -> dict[str, Any]:
    """Coverage of Wilson's interval over rates from 0.05 to 0.95, counted exactly."""
    rates = np.linspace(0.05, 0.95, 181)
    intervals = [wilson(k, problems) for k in range(problems + 1)]
    held = np.array([[holds(interval, rate) for interval in intervals] for rate in rates.tolist()])
    coverage = (stats.binom.pmf(np.arange(problems + 1), problems, rates[:, None]) * held).sum(axis=1)
    return {"problems": problems, "mean": coverage.mean(), "low": coverage.min(), "high": coverage.max()}


def effects(problems: int) -> dict[str, Any]:
    """The smallest effects that are found with probability 0.8, by number of samples."""
    sizes = (1, 4, 16)
    found = {
        name: {str(samples): minimum_detectable_effect(problems, samples, paired=paired) for samples in sizes}
        for name, paired in (("paired", True), ("unpaired", False))
    }
    return {"problems": problems, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--bootstraps", type=int, default=500)
    add_output(parser)
    given = parser.parse_args()
    results = {
        "means": [mean_row(*row, given) for row in MEANS],
        "pairs": [pair_row(*row, given.evaluations) for row in PAIRS],
        "wilson": [wilson_row(problems) for problems in (20, 50, 200)],
        "effects": [effects(problems) for problems in SIZES],
    }
    print(json.dumps(results, indent=1, default=float))
    results = json.loads(json.dumps(results, default=float))
    write_results(given.output, results, sources=["src/rlllm/evals/statistics"])


if __name__ == "__main__":
    main()
