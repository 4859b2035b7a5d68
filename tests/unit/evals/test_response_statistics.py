"""What is known of sampled completions beside their values: literal cases, brute force and scipy-free oracles."""

from __future__ import annotations

import json
import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Sample
from rlllm.evals.statistics.calibration import calibration_error, majority_share
from rlllm.evals.statistics.crossover import crossover
from rlllm.evals.statistics.diversity import distinct_n, diversity, self_similarity
from rlllm.evals.statistics.intervals import wilson
from rlllm.evals.statistics.length_control import accuracy_by_length, controlled_difference, controlled_win_rate
from rlllm.evals.statistics.pass_estimators import (
    all_pass_table,
    cost_per_success,
    curve,
    doubling,
    pass_at_k,
    pass_table,
)
from rlllm.evals.statistics.response_statistics import majority_interval, response_rates, response_statistics


@pytest.mark.parametrize(("n", "ks"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])])
def test_a_curve_doubles_up_to_all_samples(n: int, ks: list[int]) -> None:
    assert doubling(n) == ks


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_tables_of_pass_at_k_and_of_all_k_are_the_shares_of_subsets(n: int) -> None:
    ks = list(range(1, n + 1))
    for passed in range(n + 1):
        outcomes = [1] * passed + [0] * (n - passed)
        subsets = {k: list(combinations(outcomes, k)) for k in ks}
        some = [sum(map(any, subsets[k])) / len(subsets[k]) for k in ks]
        every = [sum(map(all, subsets[k])) / len(subsets[k]) for k in ks]
        assert pass_table([(n, passed)], ks)[0] == pytest.approx(some, abs=1e-12)
        assert all_pass_table([(n, passed)], ks)[0] == pytest.approx(every, abs=1e-12)


def test_a_table_to_large_k_agrees_with_pass_at_k_and_items_may_differ_in_samples() -> None:
    counts, ks = [(4096, 1), (2048, 700), (3000, 0)], [1, 64, 2048]
    expected = [[pass_at_k(n, passed, k) for k in ks] for n, passed in counts]
    assert pass_table(counts, ks) == pytest.approx(np.array(expected), abs=1e-9)


@pytest.mark.parametrize("ks", [[0], [5], [1, 9]])
def test_a_k_beyond_the_samples_of_some_item_is_refused(ks: list[int]) -> None:
    with pytest.raises(ConfigError, match="k runs from 1 to 4"):
        pass_table([(4, 1), (8, 1)], ks)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=12))
def test_pass_at_k_rises_and_all_of_k_falls_from_the_same_point(passed: list[int]) -> None:
    counts, ks = [(8, count) for count in passed], doubling(8)
    up = [row["estimate"] for row in curve(pass_table(counts, ks), ks)]
    down = [row["estimate"] for row in curve(all_pass_table(counts, ks), ks)]
    assert up[0] == pytest.approx(down[0])
    assert all(a <= b + 1e-12 for a, b in pairwise(up))
    assert all(a >= b - 1e-12 for a, b in pairwise(down))


def test_tokens_for_each_success_is_a_ratio_of_sums() -> None:
    found = cost_per_success([100.0, 200.0, 300.0], [1.0, 0.0, 2.0])
    assert found is not None
    assert found.estimate == 200
    assert found.low <= 200 <= found.high == math.inf
    assert cost_per_success([100.0], [0.0]) is None


WORDS = [["a", "b"], ["a", "b"]]


@pytest.mark.parametrize(
    ("texts", "n", "expected"),
    [(WORDS, 1, 0.5), (WORDS, 2, 0.5), (WORDS, 3, None), ([["a", "b", "c"]], 1, 1.0), ([[], []], 1, None)],
)
def test_distinct_n_counts_each_n_gram_once(texts: list[list[str]], n: int, expected: float | None) -> None:
    assert distinct_n(texts, n) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([["a"]], None),
        ([["a", "b"], ["a", "b"]], 1.0),
        ([["a"], ["b"]], 0.0),
        ([["a", "b"], ["a", "c"]], 0.2),
        ([[], []], 1.0),
        ([["a"], ["a"], ["b"]], 1 / 3),
    ],
)
def test_self_similarity_is_the_mean_jaccard_of_neighbours(texts: list[list[str]], expected: float | None) -> None:
    assert self_similarity(texts) == (expected if expected is None else pytest.approx(expected))


def test_diversity_splits_words_and_symbols_in_any_script() -> None:
    found = diversity([["1+2=3", "1+2=3"], ["привет, мир", "другой ответ"], ["", ""]])
    assert found["distinct-1"].estimate == pytest.approx((0.5 + 1.0) / 2)
    assert found["distinct-1"].n == 2
    assert found["self-similarity"].estimate == pytest.approx((1 + 0 + 1) / 3)
    assert "self-similarity" not in diversity([["one"], ["two"]])


@pytest.mark.parametrize(
    ("answers", "share"), [(["4", "4", "5", None], 0.5), ([None, None], 0.0), (["7"], 1.0), (["a", "b"], 0.5)]
)
def test_the_confidence_is_the_share_of_the_majority_among_all(answers: list[str | None], share: float) -> None:
    assert majority_share(answers) == share


def test_calibration_error_weighs_the_gap_of_each_bin_by_its_problems() -> None:
    found = calibration_error([0.3, 0.3, 0.9, 0.9, 1.0, 1.0], [1, 0, 1, 0, 1, 1])
    # 0.3: |0.5 - 0.3| of 2 problems; from 0.9 on: |0.75 - 0.95| of 4, as 1.0 belongs to the last bin.
    assert found.estimate == pytest.approx((2 * 0.2 + 4 * 0.2) / 6)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


@pytest.mark.parametrize("problems", [1, 3, 40])
def test_problems_that_are_all_alike_are_not_known_to_be_all_there_are(problems: int) -> None:
    unseen = wilson(0, problems).high
    calibration = calibration_error([0.5] * problems, [0] * problems)
    assert (calibration.estimate, calibration.method) == (0.5, "constant")
    assert (calibration.low, calibration.high) == pytest.approx((max(0, 0.5 - 1.5 * unseen), 0.5 + 0.5 * unseen))
    right, lengths = [[1.0]] * problems, [[9.0]] * problems
    difference = controlled_difference(right, right, lengths, lengths)
    assert difference is not None
    assert (difference.low, difference.high) == pytest.approx((-unseen, unseen))
    tokens = cost_per_success([30.0] * problems, [1.0] * problems)
    assert tokens is not None
    assert (tokens.estimate, tokens.low, tokens.high) == (30, -math.inf, math.inf)


@pytest.mark.parametrize(("confidence", "outcome"), [([], []), ([0.5], [1, 0]), ([1.2], [1]), ([math.nan], [1])])
def test_calibration_refuses_what_is_no_confidence(confidence: list[float], outcome: list[float]) -> None:
    with pytest.raises(DataError):
        calibration_error(confidence, outcome)


def test_the_crossover_is_the_first_k_at_which_the_base_is_ahead() -> None:
    """Base: every problem 1 of 8. Tuned: half of them 8 of 8, half never. Pass@k: k / 8 against one half."""
    base, tuned = [(8, 1)] * 40, [(8, 8)] * 20 + [(8, 0)] * 20
    found = crossover(base, tuned)
    assert (found.estimate, found.up_to) == (5, 8)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 5 <= found.high
    assert found.share == 1.0
    assert json.loads(json.dumps(found.to_json()))["estimate"] == 5


def test_there_is_no_crossover_where_the_tuned_model_is_ahead_at_every_k() -> None:
    found = crossover([(4, 1)] * 10, [(4, 3)] * 10)
    assert (found.estimate, found.low, found.high, found.share) == (None, None, None, 0.0)
    assert crossover([(4, 2)] * 5, [(4, 2)] * 5).estimate is None
    assert crossover([(4, 3)] * 10, [(4, 1)] * 10).estimate == 1


def test_without_an_effect_of_length_the_controlled_win_rate_is_near_the_plain_one() -> None:
    generator = np.random.default_rng(0)
    wins = (generator.random((400, 1)) < 0.7).astype(float).tolist()
    lengths = generator.normal(100, 20, size=(2, 400, 1)).tolist()
    found = controlled_win_rate(wins, [[0.5]] * 400, *lengths)
    assert found.estimate == pytest.approx(np.mean(wins), abs=0.01)


def test_wins_that_length_explains_are_taken_out() -> None:
    generator = np.random.default_rng(1)
    ours = generator.normal(120, 40, size=(400, 1))
    wins = (ours > generator.normal(100, 10, size=(400, 1))).astype(float)
    found = controlled_win_rate(wins.tolist(), [[0.5]] * 400, ours.tolist(), [[100.0]] * 400)
    assert wins.mean() > 0.65
    assert found.low < 0.5 < found.high


@pytest.mark.parametrize(("score", "side"), [(1.0, 1), (0.0, -1)])
def test_a_model_that_wins_or_loses_every_time_has_a_finite_rate_and_a_wide_interval(score: float, side: int) -> None:
    found = controlled_win_rate([[score]] * 20, [[0.5]] * 20, [[7.0]] * 20, [[7.0]] * 20)
    assert 0 < found.low < found.estimate < found.high < 1
    assert (found.estimate - 0.5) * side > 0.4
    assert found.high - found.low > 0.1


def test_models_that_tie_throughout_win_half_with_an_interval_that_is_no_point() -> None:
    ties, lengths = [[1.0]] * 30, [[5.0]] * 30
    found = controlled_win_rate(ties, ties, lengths, lengths)
    assert found.estimate == pytest.approx(0.5)
    assert 0.02 < found.high - found.low < 0.2


def test_a_win_rate_at_equal_length_is_not_known_where_one_model_is_always_longer_by_as_much() -> None:
    found = controlled_win_rate([[1.0]] * 30, [[0.0]] * 30, [[9.0]] * 30, [[5.0]] * 30)
    assert found.low < 0.5


def test_a_controlled_win_rate_refuses_tables_that_do_not_fit() -> None:
    with pytest.raises(DataError):
        controlled_win_rate([[1.0]], [[0.0]], [[3.0, 4.0]], [[3.0]])
    with pytest.raises(DataError):
        controlled_win_rate([], [], [], [])
    with pytest.raises(DataError, match="finite"):
        controlled_win_rate([[math.nan]], [[0.0]], [[3.0]], [[3.0]])


def test_a_gain_that_is_only_length_is_gone_within_strata() -> None:
    """Short completions are right 20 % of the time and long ones 80 %, in both models; the second writes more long ones."""
    short, long = [1.0, 0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 0.0]
    before, after = [short] * 12 + [long] * 4, [short] * 4 + [long] * 12
    lengths = [[10.0] * 5] * 12 + [[90.0] * 5] * 4, [[10.0] * 5] * 4 + [[90.0] * 5] * 12
    found = controlled_difference(before, after, *lengths)
    assert found is not None
    assert np.mean(after) - np.mean(before) == pytest.approx(0.3)
    assert found.estimate == pytest.approx(0.0)


def test_lengths_that_do_not_overlap_cannot_be_controlled() -> None:
    assert controlled_difference([[1.0]] * 4, [[0.0]] * 4, [[1.0]] * 4, [[9.0]] * 4) is None


def test_strata_of_length_hold_every_completion_once_and_ties_stay_together() -> None:
    rows = accuracy_by_length([[1.0, 0.0]] * 5, [[float(i), 7.0] for i in range(5)])
    assert sum(row["completions"] for row in rows) == 10
    assert rows[-1] == {"from": 3.0, "to": 7.0, "completions": 6, "accuracy": pytest.approx(1 / 6)}
    assert accuracy_by_length([[1.0]], [[3.0]]) == [{"from": 3.0, "to": 3.0, "completions": 1, "accuracy": 1.0}]


def test_refusals_formats_and_truncations_are_rates_over_problems() -> None:
    drawn = [
        [Sample("q", "I'm sorry, but I can't help with that."), Sample("q", "2+2=4\n#### 4")],
        [Sample("q", "#### 4 and on", truncated=True), Sample("q", "")],
    ]
    rates = {name: value.estimate for name, value in response_rates(drawn).items()}
    assert rates == {"refused": 0.25, "one marked answer": 0.5, "truncated": 0.25}


def test_the_majority_is_reported_where_answers_are_marked() -> None:
    found = majority_interval([["4", "4", "5"], ["1", "2", None]], [[1, 1, 0], [1, 0, 0]])
    assert found is not None
    assert found.estimate == 0.75
    assert majority_interval([[None, None]], [[1.0, 0.0]]) is None


def test_the_profile_is_plain_json_for_one_sample_and_for_unknown_lengths() -> None:
    one = response_statistics([[Sample("q", "no marks", tokens=3)]], [[1.0]])
    assert (one["calibration"], one["tokens_per_correct"]["estimate"]) == (None, 3)
    assert [row["k"] for row in one["curve"]] == [1]
    drawn = [[Sample("q", f"#### {i}") for i in range(4)]] * 3
    many = json.loads(json.dumps(response_statistics(drawn, [[1.0, 0.0, 0.0, 0.0]] * 3), allow_nan=False))
    assert many["tokens_per_correct"] is None
    assert many["calibration"]["estimate"] == pytest.approx(0.0)
    assert [row["k"] for row in many["curve_all_pass"]] == [1, 2, 4]
    assert many["curve_all_pass"][1]["estimate"] == 0
