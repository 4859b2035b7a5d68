"""How often intervals hold the truth and tests err, by seeded simulation; see docs/concepts/statistics.md.

A nominal 95 % interval has to hold the truth in 93 to 97 of 100 data sets; the bands below are wider by about two standard
errors of the simulation itself. Where an interval is known to hold it more often, only the lower side is asserted.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rlllm.evals.statistics.calibration import calibration_error
from rlllm.evals.statistics.confidence_sequence import Bets, ConfidenceSequence
from rlllm.evals.statistics.intervals import Interval, bootstrap_mean, mean_interval, wilson
from rlllm.evals.statistics.length_control import controlled_difference, controlled_win_rate
from rlllm.evals.statistics.paired_tests import mcnemar_exact, paired_difference, sign_flip_p
from rlllm.evals.statistics.pass_estimators import cost_per_success, pass_table
from rlllm.evals.statistics.power import minimum_detectable_effect
from rlllm.evals.statistics.seeds import crossed_bootstrap, t_interval

LEAST, MOST = 0.93, 0.97
DATA_SETS = 1_000
NOISE = 0.014
"""Two standard errors of a coverage of 95 % over 1,000 data sets."""


def holds(interval: Interval, truth: float) -> bool:
    return interval.low - 1e-9 <= truth <= interval.high + 1e-9


def chances(generator: np.random.Generator, rate: float, concentration: float | None, n: int) -> np.ndarray:
    """Solve chances of n problems with this mean: all equal, or Beta with a + b = concentration (small: all or nothing)."""
    if concentration is None:
        return np.full(n, rate)
    return generator.beta(rate * concentration, (1 - rate) * concentration, size=n)


@pytest.mark.parametrize("n", [20, 50, 200])
def test_wilson_holds_95_times_in_100_on_average_over_rates_and_never_far_below(n: int) -> None:
    """Exact, no simulation: a count is discrete, so the coverage jumps up and down with the rate."""
    rates = np.linspace(0.05, 0.95, 181)
    intervals = [wilson(k, n) for k in range(n + 1)]
    held = np.array([[holds(interval, rate) for interval in intervals] for rate in rates.tolist()])
    coverage = (stats.binom.pmf(np.arange(n + 1), n, rates[:, None]) * held).sum(axis=1)
    assert 0.94 <= coverage.mean() <= 0.96
    assert coverage.min() >= 0.91


@pytest.mark.parametrize("concentration", [None, 10.0, 1.0, 0.2])
@pytest.mark.parametrize(
    ("n", "samples", "rate"),
    [(50, 4, 0.2), (50, 16, 0.5), (50, 4, 0.9), (200, 4, 0.05), (200, 16, 0.5), (200, 16, 0.9)],
)
def test_the_mean_of_problems_is_held_95_times_in_100(
    n: int, samples: int, rate: float, concentration: float | None
) -> None:
    generator = np.random.default_rng([n, samples])
    hits = 0
    for _ in range(DATA_SETS):
        chance = chances(generator, rate, concentration, n)
        means = generator.binomial(samples, chance) / samples
        hits += holds(mean_interval([[value] for value in means.tolist()]), rate)
    # Equal problems sampled often differ so little that the added item shows: a conservative corner.
    most = 1.0 if concentration is None and samples >= 16 else MOST + NOISE
    assert LEAST - NOISE <= hits / DATA_SETS <= most


@pytest.mark.parametrize(("n", "samples", "rate"), [(20, 4, 0.05), (20, 16, 0.1), (20, 16, 0.9), (50, 16, 0.05)])
@pytest.mark.parametrize("concentration", [None, 1.0, 0.2])
def test_few_problems_of_which_fewer_are_solved_are_not_overconfident(
    n: int, samples: int, rate: float, concentration: float | None
) -> None:
    generator = np.random.default_rng([n, samples, 7])
    hits = 0
    for _ in range(DATA_SETS):
        means = generator.binomial(samples, chances(generator, rate, concentration, n)) / samples
        hits += holds(mean_interval([[value] for value in means.tolist()]), rate)
    assert hits / DATA_SETS >= 0.92 - NOISE


@pytest.mark.parametrize(("n", "k", "concentration"), [(60, 4, 1.0), (60, 8, 0.5), (200, 4, 4.0)])
def test_unbiased_pass_at_k_is_held(n: int, k: int, concentration: float) -> None:
    generator, samples, rate = np.random.default_rng(n + k), 8, 0.3
    every = generator.beta(rate * concentration, (1 - rate) * concentration, size=400_000)
    truth = float((1 - (1 - every) ** k).mean())
    hits = 0
    for _ in range(DATA_SETS):
        passed = generator.binomial(samples, chances(generator, rate, concentration, n))
        values = pass_table([(samples, int(count)) for count in passed], [k])
        hits += holds(mean_interval(values.tolist()), truth)
    assert LEAST - NOISE <= hits / DATA_SETS <= MOST + NOISE


def two_models(
    generator: np.random.Generator, n: int, samples: int, gain: float, lose: float
) -> tuple[np.ndarray, np.ndarray]:
    """Means of two models: a share `gain` of the problems becomes always solved, a share `lose` never."""
    before = generator.beta(0.6, 0.6, size=n)
    u = generator.random(n)
    after = np.where(u < gain, 1.0, np.where(u > 1 - lose, 0.0, before))
    return generator.binomial(samples, before) / samples, generator.binomial(samples, after) / samples


@pytest.mark.parametrize(
    ("n", "samples", "gain", "lose"),
    [(50, 1, 0.1, 0.1), (50, 4, 0.2, 0.05), (200, 1, 0.1, 0.0), (200, 4, 0.05, 0.05), (200, 16, 0.3, 0.1)],
)
def test_a_paired_difference_is_held_95_times_in_100(n: int, samples: int, gain: float, lose: float) -> None:
    generator, hits = np.random.default_rng([n, samples]), 0
    truth = (gain - lose) * 0.5
    for _ in range(DATA_SETS):
        before, after = two_models(generator, n, samples, gain, lose)
        hits += holds(paired_difference(before.tolist(), after.tolist(), resamples=1).interval, truth)
    assert LEAST - NOISE <= hits / DATA_SETS <= MOST + NOISE


@pytest.mark.parametrize(("gain", "lose"), [(0.1, 0.0), (0.04, 0.02), (0.2, 0.05)])
@pytest.mark.parametrize(("n", "samples"), [(20, 1), (20, 4), (30, 16)])
def test_a_paired_difference_of_few_problems_is_not_overconfident(
    n: int, samples: int, gain: float, lose: float
) -> None:
    generator, hits = np.random.default_rng([n, samples]), 0
    for _ in range(DATA_SETS):
        before, after = two_models(generator, n, samples, gain, lose)
        found = paired_difference(before.tolist(), after.tolist(), resamples=1).interval
        hits += holds(found, (gain - lose) * 0.5)
    # The last row of these: three problems of thirty change, all for the better. Nothing shows how many could get worse.
    assert hits / DATA_SETS >= 0.90


@pytest.mark.parametrize(("n", "shape"), [(50, 4.0), (100, 1.0)])
def test_the_bootstrap_of_skewed_utilities_is_held(n: int, shape: float) -> None:
    generator, data_sets = np.random.default_rng(n), 500
    draws = generator.gamma(shape, size=(data_sets, n))
    found = [bootstrap_mean([[v] for v in row], resamples=400, bounds=None) for row in draws.tolist()]
    hits = sum(holds(interval, shape) for interval in found)
    assert 0.91 <= hits / data_sets <= 0.985


def test_intervals_over_seeds_are_held() -> None:
    generator, hits, crossed, data_sets = np.random.default_rng(5), 0, 0, 300
    for _ in range(data_sets):
        problems, seeds = generator.normal(0.5, 0.2, size=60), generator.normal(0, 0.05, size=8)
        table = problems + seeds[:, None] + generator.normal(0, 0.2, size=(8, 60))
        crossed += holds(crossed_bootstrap(table.tolist(), resamples=300), 0.5)
        hits += holds(t_interval((0.5 + seeds).tolist()), 0.5)
    assert 0.92 <= hits / data_sets <= 0.98
    assert crossed / data_sets >= 0.90


@pytest.mark.parametrize(("n", "samples", "advantage"), [(60, 1, 0.0), (60, 4, 0.8), (150, 1, 1.5)])
def test_a_length_controlled_win_rate_is_held_where_lengths_decide_too(n: int, samples: int, advantage: float) -> None:
    generator, hits, data_sets = np.random.default_rng(n + samples), 0, 500
    for _ in range(data_sets):
        ours, theirs = generator.normal(130, 20, (n, samples)), generator.normal(100, 20, (n, samples))
        bonus = 0.7 * np.tanh((ours - theirs) / math.hypot(30, 20 * math.sqrt(2))) if samples == 1 else 0.0
        mine = advantage + bonus + generator.gumbel(size=(n, samples))
        other = generator.gumbel(size=(n, samples))
        found = controlled_win_rate(mine.tolist(), other.tolist(), ours.tolist(), theirs.tolist())
        hits += holds(found, 1 / (1 + math.exp(-advantage)))
    assert LEAST - 0.02 <= hits / data_sets <= MOST + 0.02


def test_accuracy_at_equal_length_is_held() -> None:
    """Correctness depends on length alone, and the tuned model writes more: the controlled difference is near 0."""
    generator, hits, data_sets, n = np.random.default_rng(2), 0, 200, 150
    for _ in range(data_sets):
        lengths = [generator.normal(mean, 20, size=(n, 4)) for mean in (100, 110)]
        levels = [np.digitize(sizes, [85, 95, 105, 115, 125]) for sizes in lengths]
        right = [(generator.random((n, 4)) < 0.2 + 0.1 * level).astype(float) for level in levels]
        found = controlled_difference(*(table.tolist() for table in (*right, *lengths)))
        assert found is not None
        hits += holds(found, 0.0)
    # What lengths still differ within a stratum is left in the difference: about a tenth of its raw size here.
    assert hits / data_sets >= 0.85


@pytest.mark.parametrize(("n", "overconfidence"), [(100, 0.0), (300, 0.0), (100, 0.3)])
def test_a_calibration_error_is_held_at_least_95_times_in_100(n: int, overconfidence: float) -> None:
    generator, hits, data_sets = np.random.default_rng(n), 0, 250
    for _ in range(data_sets):
        confidence = np.maximum(generator.binomial(8, generator.beta(2, 1, size=n)), 1) / 8
        right = generator.random(n) < confidence * (1 - overconfidence)
        interval = calibration_error(confidence.tolist(), right.astype(float).tolist())
        hits += holds(interval, overconfidence * 0.6672)
    assert hits / data_sets >= 0.92


def test_tokens_for_each_correct_answer_are_held() -> None:
    generator, hits, data_sets = np.random.default_rng(4), 0, 300
    for _ in range(data_sets):
        right = generator.binomial(4, generator.beta(2, 2, size=80))
        tokens = generator.gamma(20, 10, size=80)
        found = cost_per_success(tokens.tolist(), right.tolist())
        assert found is not None
        hits += holds(found, 100.0)
    assert LEAST - 0.02 <= hits / data_sets <= MOST + 0.02


@pytest.mark.parametrize(("n", "samples"), [(12, 1), (60, 4)])
def test_the_permutation_test_errs_five_times_in_100(n: int, samples: int) -> None:
    generator, errors, data_sets = np.random.default_rng(n), 0, 800
    for seed in range(data_sets):
        chance = generator.beta(0.6, 0.6, size=n)
        difference = (generator.binomial(samples, chance) - generator.binomial(samples, chance)) / samples
        errors += sign_flip_p(difference.tolist(), seed, resamples=299) <= 0.05
    assert errors / data_sets <= 0.05 + 0.016


@pytest.mark.parametrize(("n", "changed"), [(50, 0.2), (400, 0.1)])
def test_mcnemars_exact_test_errs_at_most_five_times_in_100(n: int, changed: float) -> None:
    generator = np.random.default_rng(n)
    moved = generator.binomial(n, changed, size=4_000)
    gained = generator.binomial(moved, 0.5)
    p_values = [mcnemar_exact(int(up), int(all_ - up)) for up, all_ in zip(gained, moved, strict=True)]
    assert np.mean(np.asarray(p_values) <= 0.05) <= 0.05 + 0.007


@pytest.mark.parametrize(("rate", "samples"), [(0.5, 1), (0.1, 1), (0.7, 4)])
def test_looking_after_every_problem_errs_at_most_five_times_in_100(rate: float, samples: int) -> None:
    """Optional stopping at its worst: one look after each of 500 problems, and any of them may end it."""
    generator, wrong, naive, data_sets = np.random.default_rng(samples), 0, 0, 1_000
    for _ in range(data_sets):
        values = generator.binomial(samples, rate, size=500) / samples
        above, below = Bets(0.05).log_capital(values.tolist(), np.array([rate]))
        wrong += bool(max(above.max(), below.max()) >= math.log(40))
        counts = np.arange(1, 501)
        error = 1.96 * np.sqrt(rate * (1 - rate) / samples / counts)
        naive += bool((np.abs(values.cumsum() / counts - rate) > error)[20:].any())
    assert wrong / data_sets <= 0.05 + 0.014
    assert naive / data_sets > 0.2


def test_an_evaluation_stopped_when_its_interval_is_narrow_still_holds_the_truth() -> None:
    generator, hits, data_sets = np.random.default_rng(0), 0, 120
    for _ in range(data_sets):
        sequence = ConfidenceSequence()
        for _ in range(40):
            sequence.update((generator.binomial(4, 0.3, size=16) / 4).tolist())
            if sequence.interval.high - sequence.interval.low < 0.12:
                break
        hits += holds(sequence.interval, 0.3)
    assert hits / data_sets >= 0.93


@pytest.mark.parametrize(("problems", "samples", "least"), [(200, 1, 0.65), (256, 4, 0.74), (64, 16, 0.74)])
def test_the_smallest_detectable_effect_is_found_eight_times_in_10(problems: int, samples: int, least: float) -> None:
    """Chances with half of the variance between problems and a correlation of 0.7, as a mixture: shared, or drawn anew."""
    effect = minimum_detectable_effect(problems, samples, paired=True)
    generator, found, data_sets = np.random.default_rng(problems), 0, 400
    for seed in range(data_sets):
        before = generator.beta(0.5, 0.5, size=problems)
        after = np.where(generator.random(problems) < 0.7, before, generator.beta(0.5, 0.5, size=problems))
        # The effect moves chances towards 1 in proportion to their distance from it, which keeps them chances.
        after = after + 2 * effect * (1 - after)
        a, b = (generator.binomial(samples, chance) / samples for chance in (before, after))
        found += sign_flip_p((b - a).tolist(), seed, resamples=299) <= 0.05
    assert least <= found / data_sets <= 0.88
