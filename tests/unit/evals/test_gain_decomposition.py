"""What a gain is made of: a naive reweighting and least squares as oracles, planted causes, and the bootstrap's coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rlllm.evals.monitors.gain_decomposition import BINS, FORMS, decompose, decompose_gains, form_of, length_of
from rlllm.report.gain_decomposition import gain_table

Columns = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]
RIGHT, WRONG = "so\n#### 7", "it is 7"


def columns(seed: int = 0, count: int = 400) -> Columns:
    """Values, late, lengths, forms, prompts: late completions are longer and better formed, and both pay."""
    generator = np.random.default_rng(seed)
    late = np.arange(count) >= count // 2
    lengths = generator.integers(5, 50, count) + 10 * late
    forms = np.where(generator.random(count) < 0.3 + 0.4 * late, 2, generator.integers(0, 4, count))
    values = 0.02 * lengths + 0.5 * (forms == 2) + 0.3 * late + generator.normal(0, 0.1, count)
    return values, late, lengths, forms, generator.integers(0, 40, count)


def reweighted(values: NDArray[Any], late: NDArray[Any], cells: list[Any]) -> float:
    """Mean over late completions of the early mean of their cell, written as a loop; every late cell has early ones."""
    means = []
    for cell, is_late in zip(cells, late, strict=True):
        if is_late:
            alike = [v for v, c, later in zip(values, cells, late, strict=True) if c == cell and not later]
            means.append(np.mean(alike))
    return float(np.mean(means) - values[~late].mean())


def test_the_parts_are_those_of_a_plain_reweighting() -> None:
    values, late, lengths, forms, prompts = columns()
    bins = np.searchsorted(np.quantile(lengths, np.arange(1, BINS) / BINS), lengths)
    found = decompose(values, late, lengths, forms, prompts)
    assert found is not None
    assert found["unsupported"] == 0.0
    assert found["gain"]["estimate"] == pytest.approx(values[late].mean() - values[~late].mean())
    assert found["length"]["estimate"] == pytest.approx(reweighted(values, late, list(bins)))
    assert found["form"]["estimate"] == pytest.approx(reweighted(values, late, list(forms)))
    assert found["both"]["estimate"] == pytest.approx(reweighted(values, late, list(zip(bins, forms, strict=True))))


def test_form_alone_is_the_oaxaca_blinder_part_on_indicators() -> None:
    values, late, lengths, forms, prompts = columns(1)
    indicators = np.eye(len(FORMS))[forms]
    slopes = np.linalg.lstsq(indicators[~late], values[~late], rcond=None)[0]
    explained = (indicators[late].mean(0) - indicators[~late].mean(0)) @ slopes
    found = decompose(values, late, lengths, forms, prompts)
    assert found is not None
    assert found["form"]["estimate"] == pytest.approx(explained)


@given(st.integers(0, 10_000), st.integers(20, 120))
@settings(max_examples=15, deadline=None)
def test_explained_and_rest_add_up_to_the_gain_and_every_interval_is_ordered(seed: int, count: int) -> None:
    found = decompose(*columns(seed, count))
    assert found is not None
    assert found["both"]["estimate"] + found["rest"]["estimate"] == pytest.approx(found["gain"]["estimate"])
    for name in ("gain", "length", "form", "both", "rest"):
        assert found[name]["low"] <= found[name]["high"]
    assert 0 <= found["unsupported"] <= 1


def test_a_reward_of_form_only_is_explained_whole_and_one_that_rises_anyway_not_at_all() -> None:
    _, late, lengths, forms, prompts = columns(2)
    whole = decompose((forms == 2).astype(float), late, lengths, forms, prompts)
    none = decompose(late.astype(float), late, lengths, forms, prompts)
    assert whole is not None
    assert none is not None
    assert whole["rest"]["estimate"] == pytest.approx(0, abs=1e-12)
    assert whole["form"]["estimate"] == pytest.approx(whole["gain"]["estimate"])
    assert none["both"]["estimate"] == pytest.approx(0, abs=1e-12)
    assert none["rest"]["estimate"] == pytest.approx(1)


def test_late_completions_like_no_early_one_are_counted() -> None:
    late = np.repeat([False, True], 20)
    lengths, forms, prompts = np.where(late, 100, 10), np.full(40, 2), np.arange(40) % 8
    found = decompose(late.astype(float), late, lengths, forms, prompts)
    assert found is not None
    assert found["unsupported"] == 1.0
    assert found["both"]["estimate"] == 0.0


NOTHING = [
    ("one prompt", np.array([0, 1, 0, 1]), np.array([False, False, True, True]), np.zeros(4, int)),
    ("one value", np.ones(4), np.array([False, False, True, True]), np.arange(4)),
    ("no late part", np.array([0, 1, 0, 1]), np.zeros(4, bool), np.arange(4)),
    ("no early part", np.array([0, 1, 0, 1]), np.ones(4, bool), np.arange(4)),
]


@pytest.mark.parametrize(("case", "values", "late", "prompts"), NOTHING, ids=[case[0] for case in NOTHING])
def test_nothing_is_said_without_two_prompts_two_parts_and_two_values(
    case: str, values: NDArray[Any], late: NDArray[Any], prompts: NDArray[Any]
) -> None:
    assert decompose(values.astype(float), late, np.arange(4), np.zeros(4, int), prompts) is None


def test_the_interval_of_the_gain_covers_it_nearly_always() -> None:
    covered = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        late, prompts = np.arange(600) >= 300, np.repeat(np.arange(60), 10)
        of_prompt = generator.normal(0, 0.5, 60)[prompts]
        values = of_prompt + 0.5 * late + generator.normal(0, 0.5, 600)
        found = decompose(values, late, generator.integers(0, 9, 600), np.full(600, 2), prompts)
        assert found is not None
        covered += found["gain"]["low"] <= 0.5 <= found["gain"]["high"]
    assert covered >= 52


def test_more_prompts_than_the_bootstrap_draws_give_the_same_interval_but_for_chance() -> None:
    generator = np.random.default_rng(3)
    late, prompts = np.arange(6000) >= 3000, np.arange(6000)
    values = 0.5 * late + generator.normal(0, 1, 6000)
    found = decompose(values, late, generator.integers(0, 9, 6000), np.full(6000, 2), prompts)
    assert found is not None
    half = 1.96 * np.sqrt(2 / 3000)
    assert found["gain"]["n"] == 6000
    assert found["gain"]["high"] - found["gain"]["low"] == pytest.approx(2 * half, rel=0.1)


FORMED: list[tuple[dict[str, Any], str]] = [
    ({"completion": RIGHT}, "one marked answer at the end"),
    ({"completion": WRONG}, "no marked answer"),
    ({"completion": "#### 7\n#### 8"}, "other marked answers"),
    ({"completion": "#### 7\nthat is it"}, "other marked answers"),
    ({"completion": RIGHT, "truncated": True}, "cut off"),
    ({"completion": ""}, "no marked answer"),
]


@pytest.mark.parametrize(("row", "expected"), FORMED)
def test_the_form_of_a_completion(row: dict[str, Any], expected: str) -> None:
    assert form_of(row) == expected


def test_length_is_in_tokens_where_they_are_known() -> None:
    assert [length_of({"completion": "abc", "tokens": tokens}) for tokens in (7, None)] == [7, 3]


def test_rows_of_a_run_give_the_total_and_every_monitored_reward_and_the_report_shows_them() -> None:
    stored = [
        {
            "step": step,
            "prompt": f"p{place % 4}",
            "completion": RIGHT if place < step else WRONG,
            "reward": float(place < step),
            "rewards": {"monitored": {"value": float(place % 2)}, "broken": {"value": None}},
        }
        for step in range(1, 21)
        for place in range(16)
    ]
    found = decompose_gains(stored, ["monitored", "broken"])
    assert [(one["reward"], one["steps"]) for one in found] == [("the total reward", 4), ("monitored", 4)]
    assert found[0]["form"]["estimate"] == pytest.approx(found[0]["gain"]["estimate"])
    page = gain_table(found)
    assert page is not None
    assert "first and last 4 steps" in page
    assert gain_table([]) is None
    assert decompose_gains(stored[: 16 * 5], ["monitored"]) == []
    assert decompose_gains([{**row, "demonstration": True} for row in stored], ["monitored"]) == []
