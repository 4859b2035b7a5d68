"""The coin knows nothing of the completion, the flipped reward is the other's mirror image, and both repeat themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.rewards.compose import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.controls import Flipped, RandomReward


def samples(texts: list[str]) -> list[Sample]:
    return [Sample(f"question {number}", text) for number, text in enumerate(texts)]


@given(st.lists(st.text(max_size=8), min_size=1, max_size=8), st.integers(0, 3), st.floats(0, 1))
def test_the_coin_of_a_batch_is_the_same_whenever_it_is_thrown(texts: list[str], seed: int, p: float) -> None:
    assert RandomReward(p, seed).score_batch(samples(texts)) == RandomReward(p, seed).score_batch(samples(texts))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_coin_pays_as_often_as_it_should(p: float) -> None:
    thrown = [coin for batch in range(500) for coin in RandomReward(p).score_batch(samples([f"{batch}"] * 8))]
    assert sum(thrown) / len(thrown) == pytest.approx(p, abs=0.025)


def test_equal_completions_get_coins_of_their_own() -> None:
    same = [Sample("question", "the same text")] * 64
    assert set(RandomReward(0.5).score_batch(same)) == {0.0, 1.0}


def test_a_completion_that_comes_again_gets_a_new_coin() -> None:
    first = [RandomReward(0.5).score_batch(samples(["again", f"other {batch}"]))[0] for batch in range(64)]
    assert set(first) == {0.0, 1.0}


def test_another_seed_throws_other_coins() -> None:
    batch = samples([str(number) for number in range(64)])
    assert RandomReward(0.5, 0).score_batch(batch) != RandomReward(0.5, 1).score_batch(batch)


def test_a_probability_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ConfigError, match="p is a probability"):
        build([RewardSpec(name="coin", params={"p": 1.5})])


def test_flipped_is_one_minus_the_other_reward() -> None:
    right, wrong = Sample("1+1", "#### 2", "2"), Sample("1+1", "#### 3", "2")
    flipped = Flipped("exact")
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
