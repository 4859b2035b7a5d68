"""Advantages of segments: the numbers of E3RL's specification, ragged groups, controls, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlllm.algorithms.advantages.segments import SegmentShares, of_segments, segment_advantages
from rlllm.algorithms.batch import RolloutBatch, group_advantages
from rlllm.core.errors import ConfigError
from rlllm.stages.catalog import plan, resolve_settings

LENGTH = 2
SHARES = [[0.5, 0.3, 0.2], [0.6, 0.2, 0.2], [0.2, 0.2, 0.6]]
REWARDS = [1.0, 0.0, 1.0]


def batch(shares: list[list[float]], rewards: list[float], lengths: list[int], group: int = 3) -> RolloutBatch:
    """Completions of segments of two tokens, which have half of their segment's share each."""
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)).long()
    each = torch.tensor(shares).repeat_interleave(LENGTH, dim=1)[:, : mask.size(1)] / LENGTH
    values = torch.tensor(rewards).unsqueeze(1)
    return RolloutBatch(
        prompt_ids=torch.ones(len(rewards), 1, dtype=torch.long),
        prompt_mask=torch.ones(len(rewards), 1, dtype=torch.long),
        completion_ids=torch.ones_like(mask),
        loss_mask=mask,
        group_size=group,
        rewards=values,
        weights=torch.ones(1),
        trl_advantages=group_advantages(values, torch.ones(1), group, "group"),
        extra_fields=[{}] * len(rewards),
        names=["exact"],
        signals={"attention_shares": each},
    )


def test_the_numbers_of_the_specification() -> None:
    advantages = SegmentShares(LENGTH)(batch(SHARES, REWARDS, [6, 6, 6]))
    of_segment = advantages[:, ::LENGTH]
    assert torch.equal(of_segment, advantages[:, 1::LENGTH])
    torch.testing.assert_close(of_segment[2], torch.tensor([-0.162, 0.267, 1.336]), atol=1e-3, rtol=0)
    torch.testing.assert_close(of_segment.sum(0), torch.zeros(3), atol=1e-5, rtol=0)


def test_the_rewards_of_segments_add_up_to_that_of_the_completion() -> None:
    made = batch(SHARES, REWARDS, [6, 6, 6])
    shares, reached = of_segments(made.signals["attention_shares"], made.loss_mask, torch.arange(6) // LENGTH)
    torch.testing.assert_close((shares * torch.tensor(REWARDS).unsqueeze(1)).sum(1), torch.tensor(REWARDS))
    assert reached.all()


def test_equal_shares_give_every_segment_the_advantage_of_the_completion() -> None:
    made = batch([[1 / 3] * 3] * 4, [1.0, 0.0, 0.0, 1.0], [6] * 4, group=4)
    advantages = SegmentShares(LENGTH)(made)
    # TRL divides by the deviation of a sample, the paper by that of a population
    expected = made.trl_advantages * (4 / 3) ** 0.5
    torch.testing.assert_close(advantages, expected.unsqueeze(1).expand(-1, 6), atol=1e-3, rtol=0)


def test_a_segment_is_compared_with_those_that_reach_it() -> None:
    """The second segment has two completions, the third only one, and the padded tokens have no advantage."""
    advantages = SegmentShares(LENGTH)(batch([[1.0, 0, 0], [0.2, 0.8, 0], SHARES[2]], [0.0, 1.0, 1.0], [1, 3, 6]))
    assert not advantages[0, 1:].any()
    assert not advantages[:, 4:].any()
    torch.testing.assert_close(advantages[1:, 2], torch.tensor([1.0, -1.0]), atol=1e-3, rtol=0)
    assert advantages[1, 3] == 0


def test_what_is_not_judged_or_masked_learns_nothing_and_disturbs_nobody() -> None:
    known = SegmentShares(LENGTH)(batch(SHARES[:2], REWARDS[:2], [6, 6], group=2))
    more = SegmentShares(LENGTH)(batch(SHARES, [*REWARDS[:2], float("nan")], [6, 6, 6]))
    torch.testing.assert_close(more[:2], known)
    assert not more[2].any()
    assert not SegmentShares(LENGTH)(batch(SHARES, REWARDS, [6, 0, 0])).any()


def test_groups_of_equal_rewards_learn_by_the_formula_unless_they_are_skipped() -> None:
    made = batch(SHARES, [1.0, 1.0, 1.0], [6, 6, 6])
    part = SegmentShares(LENGTH)
    assert part(made).abs().max() > 1
    assert part.metrics["segments/equal_groups_size"] > 0.5
    assert not SegmentShares(LENGTH, equal_groups="skip")(made).any()
    assert not part(batch(SHARES, [0.0, 0.0, 0.0], [6, 6, 6])).any()


def test_what_is_logged_shows_who_is_punished_against_the_reward() -> None:
    part = SegmentShares(LENGTH)
    part(batch(SHARES, REWARDS, [6, 6, 6]))
    assert part.metrics["segments/against_reward_share"] == pytest.approx(1 / 3)
    assert part.metrics["segments/first_share"] == pytest.approx(1.3 / 3)
    assert part.metrics["segments/largest_share"] == pytest.approx(1.7 / 3)


def test_shuffled_shares_stay_within_the_segments_of_their_completion() -> None:
    torch.manual_seed(0)
    part = SegmentShares(LENGTH, control="shuffled")
    rows = [part(batch([[0.9, 0.1, 0], SHARES[1], SHARES[2]], [1.0, 0.0, 1.0], [4, 6, 6])) for _ in range(20)]
    assert not any(row[0, 4:].any() for row in rows)
    assert len({tuple(row[0, :4].tolist()) for row in rows}) > 1


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 4))
def test_advantages_are_bounded_and_centred(seed: int, group: int, segments: int) -> None:
    torch.manual_seed(seed)
    rewards, judged = torch.rand(2 * group, segments), torch.rand(2 * group, segments) > 0.3
    advantages: Tensor = segment_advantages(rewards, judged, group)
    assert not advantages[~judged].any()
    assert advantages.abs().max() <= (group - 1) ** 0.5 + 1e-4
    torch.testing.assert_close(advantages.view(2, group, segments).sum(1), torch.zeros(2, segments), atol=1e-4, rtol=0)


QUICK: dict[str, Any] = {
    "model": "nano",
    "method": "e3rl",
    "data": {"name": "arithmetic", "level": 2, "rows": 32, "holdout": 4},
    "rewards": ["exact"],
    "advantage": "e3rl",
    "advantage.segment_length": 12,
    "erase.segment_length": 12,
    "rollout": {"max_new_tokens": 40, "group_size": 4},
    "per_device_train_batch_size": 16,
    "max_steps": 2,
}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"advantage.segment_length": 8}, "the lengths differ"),
    ({"advantage.segment_length": 0}, "segment_length and attention_tokens are 1 or more"),
    ({"rollout": {"group_size": 1}}, "group"),
    ({"importance_sampling_level": "sequence"}, "per token|one ratio|token"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_combination_without_meaning_is_refused_with_the_reason(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan(resolve_settings("reason", {}, [*{**QUICK, **settings}.items()]))


def test_it_goes_with_any_method_that_samples_completions_whole() -> None:
    settings = {name: value for name, value in QUICK.items() if not name.startswith("erase")}
    made = plan(resolve_settings("reason", {}, [*{**settings, "method": "dapo"}.items()]))
    assert any("advantage=e3rl" in value for _, value in made.lines())
