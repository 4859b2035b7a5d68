"""Rewards of length and repetition against literal tables and the papers' formulas in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.rewards.binding import bind
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.length import Budget, Cosine, Length, Overlong, half_cosine
from rlllm.rewards.repetition import Repetition


def cosine(limit: int, reward: Any = None) -> Callable[[Sample], Score]:
    """The bound `cosine` reward, called without a composition around it."""
    params = {"limit": limit, **({} if reward is None else {"reward": reward})}
    target = bind(RewardSpec(name="cosine", params=params), "cosine").target
    assert isinstance(target, Cosine)
    return target


def sample(completion: str = "#### 7", tokens: int | None = None, **meta: Any) -> Sample:
    return Sample("question", completion, "7", meta, tokens=tokens)


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 120))
def test_overlong_is_equation_13_of_dapo(limit: int, cache: int, length: int) -> None:
    cache = min(cache, limit)
    if length <= limit - cache:
        expected = 0.0
    elif length <= limit:
        expected = ((limit - cache) - length) / cache
    else:
        expected = -1.0
    assert Overlong(limit, cache)(sample(tokens=length)).value == pytest.approx(expected)


def test_overlong_is_length_named_from_its_far_end() -> None:
    for tokens in range(30):
        assert Overlong(20)(sample(tokens=tokens)) == Length(16, 4)(sample(tokens=tokens))


COSINE = [
    # completion, tokens, value at limit 100
    ("#### 7", 0, 2.0),
    ("#### 7", 50, 1.5),
    ("#### 7", 99, 1.0002),
    ("#### 7", 100, -10.0),
    ("#### 8", 0, -10.0),
    ("#### 8", 50, -5.0),
    ("#### 8", 99, -0.0025),
    ("no answer", 50, -5.0),
    ("#### 8", 130, -10.0),
]


@pytest.mark.parametrize(("completion", "tokens", "value"), COSINE)
def test_cosine_scales_right_and_wrong_by_length(completion: str, tokens: int, value: float) -> None:
    assert cosine(100)(sample(completion, tokens)).value == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    ("completion", "value"),
    [("#### 7", 0.75), ("#### 8", -0.75), ("working\n#### 7", 0.5), ("working\n#### 8", -0.5)],
)
def test_cosine_counts_characters_where_that_is_asked_for(completion: str, value: float) -> None:
    ends = {"correct": [1.0, 0.5], "wrong": [-1.0, -0.5], "exceeded": None, "unit": "characters"}
    reward = bind(RewardSpec(name="cosine", params={"limit": 12, **ends}), "cosine").target
    assert reward(sample(completion, 900)).value == pytest.approx(value)


def test_cosine_at_its_limit_is_trls() -> None:
    from trl.rewards import get_cosine_scaled_reward

    params = {"limit": 100, "reward": "math", "correct": [1.0, 0.5], "wrong": [-1.0, -0.5], "exceeded": None}
    samples = [
        Sample("question", f"\\boxed{{{answer}}}", "7", tokens=tokens)
        for answer in ("7", "8")
        for tokens in (0, 30, 50, 99, 100, 150)
    ]
    ours = build([RewardSpec(name="cosine", params=params)]).score(samples)
    texts, ids = [[{"content": one.completion}] for one in samples], [[1] * (one.tokens or 0) for one in samples]
    expected = get_cosine_scaled_reward(max_len=100)(texts, ["$7$"] * len(samples), ids)
    assert ours.values[0] == pytest.approx(expected)


def test_cosine_cannot_judge_what_a_reward_of_batches_cannot() -> None:
    samples = [sample("\\boxed{7}", 50), Sample("question", "\\boxed{7}", None, tokens=50)]
    scores = build([RewardSpec(name="cosine", params={"limit": 100, "reward": "math"})]).score(samples)
    assert scores.values[0] == [pytest.approx(1.5), None]
    assert scores.errors == []


def test_cosine_refuses_an_unknown_unit() -> None:
    with pytest.raises(ConfigError, match="characters"):
        build([RewardSpec(name="cosine", params={"limit": 9, "unit": "words"})])


@given(st.floats(0, 1), st.floats(-10, 10), st.floats(-10, 10))
def test_half_a_cosine_is_the_papers_function(share: float, start: float, end: float) -> None:
    assert half_cosine(share, start, end) == pytest.approx(
        start + 0.5 * (end - start) * (1 - math.cos(share * math.pi))
    )


@given(st.integers(1, 98))
def test_cosine_prefers_short_where_right_and_long_where_wrong(tokens: int) -> None:
    right, wrong = sample("#### 7", tokens), sample("#### 8", tokens)
    longer_right, longer_wrong = sample("#### 7", tokens + 1), sample("#### 8", tokens + 1)
    reward = cosine(100)
    assert reward(right).value > reward(longer_right).value > reward(longer_wrong).value > reward(wrong).value


def test_cosine_wraps_any_reward_of_single_samples_with_its_arguments() -> None:
    wrapped = cosine(100, reward={"name": "numeric", "absolute": 1.0})
    assert wrapped(sample("#### 8", 50)).value == pytest.approx(1.5)
    assert wrapped(sample("#### 9", 50)).value == pytest.approx(-5.0)


def test_cosine_cannot_judge_what_the_reward_in_it_cannot() -> None:
    assert cosine(100)(Sample("question", "#### 7", None, tokens=3)).value is None


def test_an_error_of_the_reward_in_cosine_is_an_error_and_not_a_wrong_answer(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "def broken(sample):\n    return float('nan') if sample.tokens == 3 else 1 / sample.tokens\n"
    )
    rewards = build(
        [
            RewardSpec(name="cosine", params={"limit": 9, "reward": f"{tmp_path / 'bad.py'}:broken"}),
            RewardSpec(name="eos"),
        ],
        max_error_rate=1.0,
    )
    scores = rewards.score([sample(tokens=3), sample(tokens=0), sample(tokens=1)])
    assert scores.values[0][:2] == [None, None]
    assert [issue.message.split(":")[0] for issue in scores.errors] == ["returned NaN", "raised ZeroDivisionError"]


BAD = [
    ({"name": "cosine", "limit": 0}, "limit is above 0"),
    ({"name": "overlong", "limit": 0}, "limit is above 0"),
    ({"name": "cosine", "limit": 9, "reward": "exakt"}, "unknown reward: exakt"),
    ({"name": "cosine"}, "missing a required argument: 'limit'"),
    ({"name": "overlong", "limit": 4, "cache": 5}, "cache is between 0 and limit"),
    ({"name": "overlong", "limit": -4}, "limit is above 0"),
    ({"name": "budget", "tokens": -1}, "tokens cannot be negative"),
    ({"name": "repetition", "size": 0}, "size is above 0"),
]


@pytest.mark.parametrize(("spec", "said"), BAD)
def test_settings_without_meaning_are_refused_before_anything_is_scored(spec: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build([RewardSpec.model_validate(spec)])


@pytest.mark.parametrize(
    ("tokens", "meta", "value"),
    [(100, {"budget": 100}, 0.0), (110, {"budget": 100}, -0.1), (40, {"budget": "100"}, -0.6), (40, {}, None)],
)
def test_budget_is_the_distance_to_the_number_in_the_row(
    tokens: int, meta: dict[str, Any], value: float | None
) -> None:
    assert Budget(alpha=0.01)(sample(tokens=tokens, **meta)).value == (value if value is None else pytest.approx(value))


def test_a_budget_in_the_recipe_holds_for_every_row_and_needs_tokens() -> None:
    assert Budget(tokens=10)(sample(tokens=12, budget=99)).value == pytest.approx(-2 * 3e-4)
    assert Budget(tokens=10)(sample()).value is None


@given(st.lists(st.sampled_from("ab"), max_size=12), st.integers(1, 4))
def test_repetition_is_one_minus_unique_over_all_n_grams(words: list[str], size: int) -> None:
    grams = [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]
    expected = len(set(grams)) / len(grams) - 1 if grams else 0.0
    assert Repetition(size)(sample(" ".join(words))).value == pytest.approx(expected)


def test_repetition_of_fresh_text_is_a_plain_zero() -> None:
    assert math.copysign(1, Repetition()(sample("one two three four")).value or 0.0) == 1
