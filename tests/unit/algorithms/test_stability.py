"""StaRPO's bonus: autocorrelation and path efficiency with the numbers of its specification, its controls, what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlllm.algorithms.advantages.stability import StaRPO, deviation, shuffled_steps, stability
from rlllm.algorithms.batch import RolloutBatch, group_advantages
from rlllm.core.errors import ConfigError
from rlllm.stages.catalog import plan, resolve_settings

LINE = [(0, 0), (1, 0), (2, 0), (3, 0)]
BACK_AND_FORTH = [(0, 0), (1, 0), (0, 0), (1, 0)]
SQUARE = [(0, 0), (1, 0), (1, 1), (0, 1)]
BENT = [(0, 0), (2, 0), (3, 1), (5, 1)]
LOOP = [(0, 0), (1, 0), (1, 1), (0, 0)]
PATHS = [(LINE, 1, 1), (BACK_AND_FORTH, -1, 1 / 3), (SQUARE, 0, 1 / 3), (BENT, 0.70711, 0.94178), (LOOP, None, 0)]


def states(*paths: list[tuple[float, float]]) -> Tensor:
    """(B, S, 2), NaN after each path's end."""
    longest = max(map(len, paths))
    rows = [[*path, *[(math.nan, math.nan)] * (longest - len(path))] for path in paths]
    return torch.tensor(rows, dtype=torch.float32)


def batch(hidden: Tensor, rewards: list[list[float]], lengths: list[int], **changes: Any) -> RolloutBatch:
    size = len(rewards)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)).long()
    values = torch.tensor(rewards)
    fields: dict[str, Any] = {
        "prompt_ids": torch.ones(size, 1, dtype=torch.long),
        "prompt_mask": torch.ones(size, 1, dtype=torch.long),
        "completion_ids": torch.ones_like(mask),
        "loss_mask": mask,
        "group_size": 2,
        "rewards": values,
        "weights": torch.ones(values.size(1)),
        "trl_advantages": group_advantages(values, torch.ones(values.size(1)), 2, "group"),
        "extra_fields": [{}] * size,
        "names": ["exact", "format"][: values.size(1)],
        "signals": {"step_hidden_states": hidden},
    }
    return RolloutBatch(**{**fields, **changes})


@pytest.mark.parametrize(("path", "acf", "efficiency"), PATHS)
def test_paths_have_the_numbers_of_the_specification(
    path: list[tuple[float, float]], acf: float | None, efficiency: float
) -> None:
    own, pe, steps = stability(states(path, [*LINE, (4, 0), (5, 0)]))
    assert acf is None or float(own[0]) == pytest.approx(acf, abs=1e-5)
    assert float(pe[0]) == pytest.approx(efficiency, abs=1e-5)
    assert steps.tolist() == [4, 6]


def test_the_printed_formula_divides_by_one_more() -> None:
    assert stability(states(BENT), printed=True)[0].tolist() == pytest.approx([0.47140], abs=1e-5)
    assert stability(states(LINE), printed=True)[0].tolist() == pytest.approx([0.66667], abs=1e-5)


def test_fewer_than_three_steps_and_standing_still_give_nothing() -> None:
    acf, pe, steps = stability(states([], [(1, 2)], [(0, 0), (5, 5)], [(1, 1)] * 4))
    assert acf.tolist() == pe.tolist() == [0, 0, 0, 0]
    assert steps.tolist() == [0, 1, 2, 4]
    acf, pe, _ = stability(states([(0, 0), (0, 0), (1, 0), (2, 0)]))
    assert acf.tolist() == [0.5]
    assert pe.tolist() == pytest.approx([1])


@given(st.integers(0, 300), st.integers(3, 8))
def test_bounds_and_invariances(seed: int, count: int) -> None:
    """Moving, turning and scaling the space, or walking the way back, changes nothing."""
    draw = torch.Generator().manual_seed(seed)
    path = torch.randn(1, count, 5, generator=draw, dtype=torch.float64)
    acf, pe, _ = stability(path)
    assert -1 <= float(acf) <= 1
    assert 0 <= float(pe) <= 1
    turn = torch.linalg.qr(torch.randn(5, 5, generator=draw, dtype=torch.float64))[0]
    for other in (3.5 * path @ turn + torch.randn(5, generator=draw, dtype=torch.float64), path.flip(1)):
        torch.testing.assert_close(stability(other)[:2], (acf, pe), atol=1e-6, rtol=1e-6)


def test_the_bonus_is_added_to_the_reward_before_the_group_is_compared() -> None:
    """r' = 1 + .1 + .1 and 0 - .1 + .1 / 3: the advantage is the distance to their mean over their deviation."""
    given_ = batch(states(LINE, BACK_AND_FORTH), [[1.0], [0.0]], [5, 5])
    shaped = torch.tensor([1.2, -0.2 / 3])
    expected = (shaped - shaped.mean()) / (shaped.std() + 1e-4)
    torch.testing.assert_close(StaRPO()(given_), expected)
    raised = batch(states(LINE, BACK_AND_FORTH), [[4.0], [3.0]], [5, 5])
    torch.testing.assert_close(StaRPO()(raised), expected, atol=1e-5, rtol=1e-5)
    scale = batch(states(LINE, BACK_AND_FORTH), [[1.0], [0.0]], [5, 5], normalise=lambda r, w, g: (r * w).sum(1))
    torch.testing.assert_close(StaRPO()(scale), shaped)


def test_without_weights_it_is_the_group_advantage_and_needs_nothing() -> None:
    plain = StaRPO(acf_weight=0.0, pe_weight=0.0)
    given_ = batch(states(LINE, BACK_AND_FORTH), [[1.0], [0.0]], [5, 5], signals={})
    assert plain(given_) is given_.trl_advantages
    assert not plain.needs
    assert not plain.metrics


def test_what_no_reward_could_judge_gets_no_advantage() -> None:
    hidden = states(LINE, SQUARE, BENT, LOOP)
    advantages = StaRPO()(batch(hidden, [[math.nan], [1.0], [1.0], [0.0]], [5] * 4))
    assert advantages[:2].tolist() == [0, 0]
    assert advantages[2] > 0 > advantages[3]


def test_the_gate_pays_only_where_its_reward_is_positive() -> None:
    part = StaRPO(gate="exact", acf_weight=0.0, pe_weight=0.3)
    advantages = part(batch(states(LINE, LINE, LINE, LOOP), [[0.0, 0.1], [0.0, 0.1], [1.0, 0.1], [1.0, 0.1]], [5] * 4))
    assert advantages[:2].tolist() == [0, 0]
    assert advantages[2] > 0 > advantages[3]
    assert part.metrics["starpo/bonus_alone_share"] == 0.5
    mixed = part(batch(states(LINE, LINE), [[1.0, 0.0], [0.0, 0.9]], [5] * 2, normalise=lambda r, w, g: (r * w).sum(1)))
    assert mixed.tolist() == pytest.approx([1.3, 0.9])


def test_paths_as_long_as_their_root_lose_the_pay_for_fewer_steps() -> None:
    """Right angles: pe falls with 1 / sqrt(K - 1), and pe times the root is 1."""
    axes = torch.eye(9).cumsum(0)[None]
    _, pe, steps = stability(axes)
    assert float(pe) == pytest.approx(1 / math.sqrt(8), abs=1e-5)
    given_ = batch(torch.cat([axes, axes]), [[1.0], [1.0]], [9, 9])
    part = StaRPO(acf_weight=0.0, pe_weight=1.0, pe_norm="sqrt")
    assert part._bonus(given_).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert part.metrics["starpo/path_efficiency_sqrt"] == pytest.approx(1, abs=1e-5)
    assert steps.tolist() == [9]


def test_shuffled_steps_keep_the_steps_and_lose_their_order() -> None:
    hidden = states([(at, 0) for at in range(9)], LINE)
    torch.manual_seed(0)
    moved = shuffled_steps(hidden)
    assert sorted(moved[0, :, 0].tolist()) == list(range(9))
    assert moved[0, :, 0].tolist() != list(range(9))
    assert sorted(moved[1, :4, 0].tolist()) == [0, 1, 2, 3]
    assert moved[1, 4:].isnan().all()


def test_the_shorter_completion_of_a_group_is_paid_by_the_same_weights() -> None:
    given_ = batch(states(LINE, LINE), [[0.0], [0.0]], [10, 4])
    assert StaRPO(control="shorter")._bonus(given_).tolist() == pytest.approx([0, 0.12])


def test_what_is_logged_describes_the_bonus() -> None:
    part = StaRPO(acf_weight=0.5, pe_weight=0.0)
    part(batch(states(LINE, BACK_AND_FORTH, LINE, [(0, 0)]), [[1.0], [0.0], [1.0], [1.0]], [5] * 4))
    assert {name.removeprefix("starpo/"): value for name, value in part.metrics.items()} == {
        "acf": pytest.approx(1 / 3),
        "path_efficiency": pytest.approx(7 / 9),
        "path_efficiency_sqrt": pytest.approx((1 + 1 / math.sqrt(3) + 1) / 3),
        "steps": pytest.approx(13 / 4),
        "few_steps_share": pytest.approx(0.25),
        "outcome_std": pytest.approx(0.25),
        "bonus_std": pytest.approx((0.5 + 0.25) / 2),
        "bonus_alone_share": pytest.approx(0.5),
    }


def test_a_deviation_of_equal_values_is_zero() -> None:
    values = torch.tensor([[0.1, 0.1, 0.1], [0.1, 0.3, 9.0], [5.0, 7.0, 7.0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 1, 1]]).bool()
    assert deviation(values, mask).tolist() == [0, pytest.approx(0.1), 0]


QUICK: dict[str, Any] = {
    "model": "nano",
    "method": "starpo",
    "data": {"name": "arithmetic", "level": 2, "rows": 32, "holdout": 4},
    "rewards": ["exact", "format"],
    "rollout": {"max_new_tokens": 40, "group_size": 4},
    "per_device_train_batch_size": 16,
    "max_steps": 2,
}


def planned(**settings: Any) -> Any:
    return plan(resolve_settings("reason", {}, [*{**QUICK, **settings}.items()]))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"advantage.gate": "exakt"}, "no reward is named exakt"),
    ({"multi_objective_aggregation": "normalize_then_sum"}, "each reward is normalised before"),
    ({"advantage.window": -1}, "window is a number of tokens"),
    ({"rollout": {"group_size": 1}}, "compares the completions of one prompt"),
    ({"kl.where": "reward", "beta": 0.1}, "does not see a KL penalty in the reward"),
    ({"advantage.control": "longer"}, "control of advantage starpo"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_combination_without_meaning_is_refused_with_the_reason(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        planned(**settings)


def test_the_neutral_setting_is_said_to_equal_grpo() -> None:
    neutral = {"advantage.acf_weight": 0, "advantage.pe_weight": 0}
    assert str(planned(**neutral).equals) == "equals grpo: advantage=starpo changes nothing"
    assert planned().equals is None
    assert planned(mask="ict", **{"mask.warmup_steps": 0}).equals is None
