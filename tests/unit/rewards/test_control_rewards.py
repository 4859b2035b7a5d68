"""The random reward ignores the completion, the flipped one is 1 minus another, and both give the same scores again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.rewards.binding import bind
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.controls import Flipped, RandomReward


def samples(texts: list[str]) -> list[Sample]:
    return [Sample(f"question {number}", text) for number, text in enumerate(texts)]


@given(st.lists(st.text(max_size=8), min_size=1, max_size=8), st.integers(0, 3), st.floats(0, 1))
def test_the_random_scores_of_a_batch_are_the_same_whenever_they_are_drawn(
    texts: list[str], seed: int, p: float
) -> None:
    assert RandomReward(p, seed).score_batch(samples(texts)) == RandomReward(p, seed).score_batch(samples(texts))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_random_reward_pays_as_often_as_it_should(p: float) -> None:
    scores = [score for batch in range(500) for score in RandomReward(p).score_batch(samples([f"{batch}"] * 8))]
    assert sum(scores) / len(scores) == pytest.approx(p, abs=0.025)


def test_equal_completions_are_drawn_separately() -> None:
    same = [Sample("question", "the same text")] * 64
    assert set(RandomReward(0.5).score_batch(same)) == {0.0, 1.0}


def test_a_completion_that_comes_again_is_drawn_again() -> None:
    first = [RandomReward(0.5).score_batch(samples(["again", f"other {batch}"]))[0] for batch in range(64)]
    assert set(first) == {0.0, 1.0}


def test_another_seed_draws_other_numbers() -> None:
    batch = samples([str(number) for number in range(64)])
    assert RandomReward(0.5, 0).score_batch(batch) != RandomReward(0.5, 1).score_batch(batch)


def test_a_probability_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ConfigError, match="p is a probability"):
        build([RewardSpec(name="random", params={"p": 1.5})])


def test_flipped_is_one_minus_the_other_reward() -> None:
    right, wrong = Sample("1+1", "#### 2", "2"), Sample("1+1", "#### 3", "2")
    flipped = Flipped(bind(RewardSpec(name="exact"), "exact"))
    assert [flipped(right), flipped(wrong)] == [Score(0.0, "2"), Score(1.0, "3")]
    assert flipped(Sample("1+1", "#### 2")).value is None, "without a reference it still cannot judge"


def test_flipped_passes_arguments_and_batches_on(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "class Batch:\n"
        "    def __init__(self, half: bool = False): self.half = half\n"
        "    def score_batch(self, samples): return [0.5 if self.half else None for _ in samples]\n"
    )
    name = f"{tmp_path / 'mine.py'}:Batch"
    specs = [
        RewardSpec(name="flipped", params={"reward": {"name": name, "params": {"half": half}}})
        for half in (True, False)
    ]
    assert build(specs).score(samples(["a", "b"])).values == [[0.5, 0.5], [None, None]]


def test_what_breaks_in_the_other_reward_is_reported_not_scored(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def half(sample): return 'no number' if sample.completion == 'b' else 1.0")
    composition = build(
        [RewardSpec(name="flipped", params={"reward": f"{tmp_path / 'mine.py'}:half"})], max_error_rate=1
    )
    scores = composition.score(samples(["a", "b"]))
    assert scores.values == [[0.0, None]]
    assert [issue.message for issue in scores.errors] == ["returned str, not a number"]


def test_flipping_an_unknown_reward_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown reward: exakt"):
        build([RewardSpec(name="flipped", params={"reward": "exakt"})])
