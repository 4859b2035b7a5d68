"""Several tests, detectable effects and intervals that are valid at all times: against formulas and literal values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rlllm.core.errors import ConfigError, DataError
from rlllm.evals.statistics.confidence_sequence import Bets, ConfidenceSequence
from rlllm.evals.statistics.intervals import clustered_wilson, mean_interval, wilson
from rlllm.evals.statistics.paired_tests import holm, matched_t, paired_difference
from rlllm.evals.statistics.power import detectable, minimum_detectable_effect


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.02, 0.03], [0.03, 0.04, 0.04]),
        ([0.03, 0.01, 0.5], [0.06, 0.03, 0.5]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.0, 1.0], [0.0, 1.0]),
    ],
)
def test_holm_adjusts_in_the_order_given(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_exactly_what_its_step_down_rule_rejects_and_never_less_than_bonferroni(ps: list[float]) -> None:
    adjusted, order = holm(ps), np.argsort(ps, kind="stable")
    rejected: set[int] = set()
    for rank, place in enumerate(order):
        if (len(ps) - rank) * ps[place] > 0.05:
            break
        rejected.add(int(place))
    assert {place for place, value in enumerate(adjusted) if value <= 0.05} == rejected
    assert all(p <= value <= min(1, len(ps) * p) + 1e-12 for p, value in zip(ps, adjusted, strict=True))


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_probability(p: float) -> None:
    with pytest.raises(DataError, match="p-value"):
        holm([0.5, p])


def test_the_detectable_effect_is_the_textbook_formula() -> None:
    """Unpaired, one sample: the two-sample comparison of proportions with variance 2 p (1 - p) / n."""
    expected = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * math.sqrt(2 * 0.25 / 400)
    assert minimum_detectable_effect(400, 1, paired=False) == pytest.approx(expected)
    assert detectable(0.01) == pytest.approx(0.01 * (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)))


def test_pairing_problems_and_samples_each_make_smaller_effects_detectable() -> None:
    base = minimum_detectable_effect(200, 1, paired=True)
    assert base < minimum_detectable_effect(200, 1, paired=False)
    assert minimum_detectable_effect(200, 8, paired=True) < base
    assert minimum_detectable_effect(800, 1, paired=True) == pytest.approx(base / 2)
    assert minimum_detectable_effect(200, 10**9, paired=True, agreement=0.7) > 0.05
    assert minimum_detectable_effect(1, 1, paired=False) == 1.0


@pytest.mark.parametrize(
    "arguments", [{"rate": 1.5}, {"agreement": -0.1}, {"between": 2}, {"alpha": 0.0}, {"power": 1.0}, {"samples": 0}]
)
def test_impossible_settings_of_a_detectable_effect_are_refused(arguments: dict[str, float]) -> None:
    settings = {"problems": 10, "samples": 1, **arguments}
    with pytest.raises(ConfigError):
        minimum_detectable_effect(paired=True, **settings)  # type: ignore[arg-type]


def test_the_confidence_sequence_holds_what_the_hedged_capital_does_not_rule_out() -> None:
    """Against the definition, one value and one candidate at a time."""
    values, alpha = [0.2, 0.9, 0.5, 1.0, 0.0, 0.7, 0.7], 0.05
    for mean in (0.05, 0.31, 0.6, 0.98):
        up, down, total, squares = 1.0, 1.0, 0.5, 0.25
        for t, x in enumerate(values, 1):
            bet = math.sqrt(2 * math.log(2 / alpha) / (squares / t * t * math.log(t + 1)))
            up *= 1 + min(bet, 0.5 / mean) * (x - mean)
            down *= 1 - min(bet, 0.5 / (1 - mean)) * (x - mean)
            total += x
            squares += (x - total / (t + 1)) ** 2
        above, below = Bets(alpha).log_capital(values, np.array([mean]))
        assert (above[-1, 0], below[-1, 0]) == pytest.approx((math.log(up), math.log(down)))


def test_a_confidence_sequence_does_not_depend_on_how_its_values_were_cut_into_blocks() -> None:
    values = (np.random.default_rng(0).binomial(4, 0.6, size=700) / 4).tolist()
    whole, pieces = ConfidenceSequence(), ConfidenceSequence()
    whole.update(values)
    for start in range(0, 700, 33):
        pieces.update(values[start : start + 33])
    assert (whole.interval.low, whole.interval.high) == (pieces.interval.low, pieces.interval.high)
    assert whole.interval.n == 700
    assert whole.interval.low < np.mean(values) < whole.interval.high
    assert whole.interval.high - whole.interval.low < 0.09


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_confidence_sequence_of_a_constant_narrows_towards_it_and_keeps_it(value: float) -> None:
    sequence = ConfidenceSequence()
    sequence.update([value] * 200)
    assert min(abs(sequence.interval.low - value), abs(sequence.interval.high - value)) == 0
    assert 0 < sequence.interval.high - sequence.interval.low < 0.05


def test_a_higher_confidence_gives_a_wider_sequence() -> None:
    widths = []
    for confidence in (0.8, 0.95, 0.99):
        sequence = ConfidenceSequence(confidence)
        sequence.update([0.0, 1.0] * 100)
        widths.append(sequence.interval.high - sequence.interval.low)
    assert widths == sorted(widths)
    assert len(set(widths)) == 3


def test_a_confidence_sequence_refuses_other_ranges_and_has_nothing_to_say_before_its_first_value() -> None:
    sequence = ConfidenceSequence()
    with pytest.raises(DataError, match="before its first value"):
        _ = sequence.interval
    for bad in (-0.01, 1.01, math.nan):
        with pytest.raises(DataError, match="between 0 and 1"):
            sequence.update([0.5, bad])
    sequence.update([])
    with pytest.raises(DataError):
        _ = sequence.interval
    with pytest.raises(ConfigError):
        ConfidenceSequence(1.0)


def test_clustered_wilson_tends_to_wilson_of_all_completions_where_problems_are_alike() -> None:
    generator = np.random.default_rng(0)
    means = generator.binomial(4, 0.4, size=2_000) / 4
    ours, theirs = clustered_wilson(means.tolist()), wilson(float(means.sum() * 4), 8_000)
    assert ours.high - ours.low == pytest.approx(theirs.high - theirs.low, rel=0.05)


def test_clustered_wilson_tends_to_wilson_of_problems_where_each_is_all_or_nothing() -> None:
    means = [1.0] * 700 + [0.0] * 1_299 + [0.5]
    ours, theirs = clustered_wilson(means), wilson(700.5, 2_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=2e-4)


@given(st.lists(st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.9375, 1.0]), min_size=2, max_size=20))
def test_intervals_of_unit_means_stay_inside_the_unit_interval_around_their_estimate(means: list[float]) -> None:
    interval = mean_interval([[value] for value in means])
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1


def test_matched_t_of_zero_one_pairs_is_agresti_and_mins_interval_with_students_quantile() -> None:
    n, gained, lost = 60, 9, 3
    ours = matched_t([1.0] * gained + [-1.0] * lost + [0.0] * (n - gained - lost))
    total, cells = n + 2, (gained + 0.5, lost + 0.5)
    centre = (cells[0] - cells[1]) / total
    wald = math.sqrt(sum(cells) - (cells[0] - cells[1]) ** 2 / total) / total
    half = stats.t.ppf(0.975, n - 1) * wald * math.sqrt(total / n)
    assert (ours.low, ours.high) == pytest.approx((centre - half, centre + half))
    assert ours.estimate == pytest.approx(0.1)


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 1.0])] * 2), min_size=1, max_size=15))
def test_a_difference_of_unit_scores_lies_in_its_interval(rows: list[tuple[float, float]]) -> None:
    before, after = [a for a, _ in rows], [b for _, b in rows]
    found, swapped = paired_difference(before, after).interval, paired_difference(after, before).interval
    assert -1 <= found.low <= found.estimate + 1e-12
    assert found.estimate - 1e-12 <= found.high <= 1
    assert (found.low, found.high) == pytest.approx((-swapped.high, -swapped.low))
