"""The gold utility as a reward."""

from rlllm.core.records import Sample
from rlllm.data.procedural.gold_utility import gold_utility
from rlllm.rewards.gold import Gold


def test_the_reward_is_the_gold_utility_and_shows_its_working():
    sample = Sample("47 + 38", "7+8=15\n4+3+1=8\n#### 85", "85")
    score = Gold()(sample)
    assert (score.value, score.parsed) == (gold_utility(sample), "85")
    assert score.note == "correct=True well_formed=True concise=1.00"


def test_a_sample_that_cannot_be_checked_has_no_score():
    assert Gold()(Sample("Write a poem.", "Roses")).value is None
