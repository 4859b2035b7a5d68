"""Self-distilled advantages: DASD's router with the numbers of its specification, and its siblings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlllm.algorithms.advantages.self_distillation import DASD, OPSD, RLRT, RLSD, row_quantile, shuffled
from rlllm.algorithms.batch import RolloutBatch
from rlllm.core.errors import ConfigError
from rlllm.stages.catalog import plan, resolve_settings

ENTROPIES = [0.1, 0.2, 0.4, 1.0, 2.0]
GAPS = [0.5, -0.1, 0.2, 1.0, -2.0]
LITERAL: dict[str, Any] = {"gap_clip": None, "median_floor": 0.0}
"""The formula as it is printed."""


def batch(gaps: list[list[float]], entropies: list[list[float]], **changes: Any) -> RolloutBatch:
    """Rows of gaps against a policy whose log-probabilities are all -2; NaN is a gap that is not known."""
    given = torch.tensor(gaps)
    fields: dict[str, Any] = {
        "prompt_ids": torch.ones(len(gaps), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(gaps), 1, dtype=torch.long),
        "completion_ids": torch.ones(given.shape, dtype=torch.long),
        "loss_mask": torch.ones(given.shape, dtype=torch.long),
        "group_size": len(gaps),
        "rewards": torch.zeros(len(gaps), 1),
        "weights": torch.ones(1),
        "trl_advantages": torch.zeros(len(gaps)),
        "extra_fields": [{}] * len(gaps),
        "signals": {
            "logps": torch.full(given.shape, -2.0),
            "teacher_logps": given - 2.0,
            "entropies": torch.tensor(entropies),
        },
    }
    return RolloutBatch(**{**fields, **changes})


def routed(**fields: Any) -> tuple[Tensor, Tensor]:
    """Weights and scaled gaps of the worked example."""
    weights, scaled = DASD(**fields).route(torch.tensor([GAPS]), torch.tensor([ENTROPIES]), torch.ones(1, 5).bool())
    return weights[0], scaled[0]


def near(values: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(values, torch.tensor(expected, dtype=values.dtype), atol=1e-4, rtol=0)


def test_the_worked_example_has_the_numbers_of_the_specification() -> None:
    weights, scaled = routed(**LITERAL)
    near(scaled, [1, -0.2, 0.4, 2, -4])
    near(weights, [0.0654, -0.0102, -0.1229, -0.6388, -0.9478])
    near(weights * scaled, [0.0654, 0.0020, -0.0492, -1.2775, 3.7912])
    near(routed(**LITERAL, gate=False)[0], [0.1308, -0.0329, -0.3468, -0.8737, -0.995])
    near(routed(**LITERAL, direction="attract")[0], [0.5, 0.31, 0.3543, 0.7311, 0.9526])
    near(routed(**LITERAL, direction="repel", gate=False)[0], [-1, -1, -1, -1, -1])
    advantages = DASD(dasd_beta=0.5, **LITERAL)(
        batch([GAPS, GAPS], [ENTROPIES] * 2, trl_advantages=torch.tensor([1.0, -1.0]))
    )
    near(advantages[0], [1.0327, 1.0010, 0.9754, 0.3612, 2.8956])
    near(advantages[1], [-0.9673, -0.9990, -1.0246, -1.6388, 0.8956])


def test_the_bound_holds_scaled_gaps_and_the_floor_holds_the_unit() -> None:
    assert routed(gap_clip=1.5, median_floor=0.0)[1].tolist() == pytest.approx([1, -0.2, 0.4, 1.5, -1.5], abs=1e-4)
    sure = torch.tensor([[1e-9, 1e-9, 1e-9, 3.0]]), torch.tensor([[0.0, 0.0, 0.0, 1.0]]), torch.ones(1, 4).bool()
    assert float(DASD(**LITERAL).route(*sure)[1].max()) > 1e6
    assert DASD().route(*sure)[1].tolist() == [pytest.approx([0, 0, 0, 5], abs=1e-5)]


@given(st.integers(0, 500), st.integers(1, 9))
def test_the_sign_of_the_weight_is_the_side_of_the_threshold(seed: int, tokens: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    gaps, entropies = torch.randn(3, tokens, generator=draw), torch.rand(3, tokens, generator=draw)
    mask = torch.ones(3, tokens).bool()
    weights, _ = DASD(**LITERAL).route(gaps, entropies, mask)
    threshold = torch.quantile(entropies, 0.2, dim=1, keepdim=True)
    assert torch.equal(weights.sign(), (threshold - entropies).sign())
    assert (weights.abs() < 1).all()
    flipped, turned = DASD(**LITERAL).route(-gaps, entropies, mask)
    torch.testing.assert_close(flipped * turned, -(weights * DASD(**LITERAL).route(gaps, entropies, mask)[1]))
    torch.testing.assert_close(DASD(**LITERAL).route(7 * gaps, entropies, mask)[0], weights, atol=1e-3, rtol=1e-3)


def test_a_gap_of_the_median_size_passes_the_gate_by_half_and_equal_entropies_route_nothing() -> None:
    weights, _ = DASD(**LITERAL, direction="attract").route(torch.ones(1, 4), torch.rand(1, 4), torch.ones(1, 4).bool())
    near(weights[0], [0.5] * 4)
    weights, _ = DASD(**LITERAL).route(torch.randn(1, 4), torch.full((1, 4), 0.3), torch.ones(1, 4).bool())
    assert weights.tolist() == [[0, 0, 0, 0]]


def test_statistics_are_those_of_a_completion_and_padding_holds_nothing() -> None:
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 0], [0] * 7])
    rows = [[*GAPS, 9.0, -9.0], [0.3, -0.4, 5.0, 5.0, 5.0, 5.0, 5.0], [1.0] * 7]
    entropies = [[*ENTROPIES, 7.0, 0.0], [0.5, 1.5, 9.0, 0.0, 0.0, 0.0, 0.0], [1.0] * 7]
    advantages = DASD(dasd_beta=1.0, **LITERAL)(batch(rows, entropies, loss_mask=mask))
    near(advantages[0], [0.0654, 0.0020, -0.0492, -1.2775, 3.7912, 0, 0])
    alone = DASD(dasd_beta=1.0, **LITERAL)(batch([rows[1][:2]], [entropies[1][:2]]))
    torch.testing.assert_close(advantages[1, :2], alone[0])
    assert not advantages[1, 2:].any()
    assert not advantages[2].any()
    noise = [[*GAPS, math.nan, 4.0], [0.3, -0.4, *[math.nan] * 5], [math.nan] * 7]
    torch.testing.assert_close(DASD(dasd_beta=1.0, **LITERAL)(batch(noise, entropies, loss_mask=mask)), advantages)


def test_the_group_advantage_stays_where_there_is_no_solution_and_no_gap() -> None:
    group = torch.tensor([0.7, -0.7])
    advantages = DASD()(batch([[math.nan] * 5, [0.0] * 5], [ENTROPIES] * 2, trl_advantages=group))
    assert torch.equal(advantages, group.unsqueeze(1).expand(2, 5))
    assert DASD(dasd_beta=0.0)(batch([GAPS, GAPS], [ENTROPIES] * 2, trl_advantages=group)) is group
    assert not DASD(dasd_beta=0.0).needs
    assert RLSD(mix=0.0)(batch([GAPS, GAPS], [ENTROPIES] * 2, trl_advantages=group)) is group


def test_a_completion_that_no_reward_could_judge_is_not_corrected() -> None:
    rewards = torch.tensor([[torch.nan], [1.0]])
    advantages = DASD()(batch([GAPS, GAPS], [ENTROPIES] * 2, rewards=rewards))
    assert not advantages[0].any()
    assert advantages[1].any()


def test_what_is_logged_describes_the_routing() -> None:
    part = DASD(dasd_beta=0.5, gap_clip=2.0, median_floor=0.0)
    part(batch([GAPS, [math.nan] * 5], [ENTROPIES] * 2, trl_advantages=torch.tensor([0.2, -0.2])))
    logged = {name.removeprefix("teacher/"): value for name, value in part.metrics.items()}
    correction = 0.5 * torch.tensor([0.0654, 0.0020, 0.0492, 1.2775, 0.995 * 0.7311 * 2])
    assert logged == {
        "gap": pytest.approx(-0.08),
        "gap_size": pytest.approx(0.76),
        "completions": 0.5,
        "attract_share": pytest.approx(0.2),
        "repel_share": pytest.approx(0.8),
        "flip_share": pytest.approx(0.2),
        "correction": pytest.approx(float(correction.mean()), abs=1e-4),
        "correction_p99": pytest.approx(float(correction.quantile(0.99)), abs=1e-4),
        "clipped_share": pytest.approx(0.2),
    }


def test_shuffled_gaps_keep_their_sizes_and_lose_their_places() -> None:
    values = torch.arange(1.0, 21.0).view(2, 10)
    mask = torch.tensor([[1] * 10, [0, 1, 1, 0, 1, 1, 1, 1, 0, 0]]).bool()
    torch.manual_seed(0)
    moved = shuffled(values, mask)
    assert not torch.equal(moved, values)
    for row in range(2):
        assert sorted(moved[row][mask[row]].tolist()) == values[row][mask[row]].tolist()
    assert torch.equal(moved[~mask], values[~mask])
    places = torch.stack([shuffled(values, mask)[1, 1] for _ in range(300)])
    assert sorted(set(places.tolist())) == values[1][mask[1]].tolist()


def test_a_quantile_interpolates_and_an_even_median_is_the_mean_of_two() -> None:
    values, mask = torch.tensor([[4.0, 1.0, 3.0, 2.0, 9.0], [5.0] * 5]), torch.tensor([[1, 1, 1, 1, 0], [0] * 5]).bool()
    assert row_quantile(values, mask, 0.5).tolist() == [[2.5], [0.0]]
    assert row_quantile(values, mask, 0.2).tolist() == [[pytest.approx(1.6)], [0.0]]


def test_uniform_self_distillation_is_the_bounded_gap() -> None:
    given = batch([[0.5, -9.0, 1.0], [math.nan] * 3], [[1.0] * 3] * 2, trl_advantages=torch.tensor([3.0, -3.0]))
    assert OPSD()(given).tolist() == [[pytest.approx(0.5), -5.0, pytest.approx(1.0)], [0, 0, 0]]
    assert OPSD(gap_clip=None)(given)[0, 1] == -9
    assert OPSD().ignores_rewards


def test_the_reweighted_advantages_keep_their_sign() -> None:
    gaps = [[0.1, -0.1, 3.0, -3.0]] * 3
    given = batch(gaps, [[1.0] * 4] * 3, trl_advantages=torch.tensor([2.0, -2.0, 0.0]))
    up, down = math.exp(0.1), math.exp(-0.1)
    near(RLSD(mix=1.0)(given), [[2 * up, 2 * down, 2.4, 1.6], [-2 * down, -2 * up, -1.6, -2.4], [0] * 4])
    near(RLSD(mix=0.5)(given)[0], [1 + up, 1 + down, 2.2, 1.8])
    near(RLRT(mix=1.0)(given), [[2 * down, 2 * up, 2 * math.exp(-3), 4.0], [-2] * 4, [0] * 4])
    late = RLSD(mix=1.0, decay_steps=4)
    near(late(batch(gaps, [[1.0] * 4] * 3, trl_advantages=torch.tensor([2.0, -2.0, 0.0]), step=3))[0, 2:], [2.1, 1.9])
    near(late(batch(gaps, [[1.0] * 4] * 3, trl_advantages=torch.tensor([2.0, -2.0, 0.0]), step=9))[0], [2.0] * 4)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (DASD, {"quantile": 1.2}),
        (DASD, {"dasd_beta": -0.1}),
        (DASD, {"median_floor": -1.0}),
        (DASD, {"gap_clip": 0.0}),
        (OPSD, {"gap_clip": -1.0}),
        (RLSD, {"mix": 1.5}),
        (RLRT, {"weight_clip": -0.1}),
    ],
)
def test_numbers_without_a_meaning_are_refused(kind: type[Any], fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        kind(**fields)


QUICK: dict[str, Any] = {
    "model": "nano",
    "data": {"name": "arithmetic", "level": 2, "rows": 32, "holdout": 4},
    "rewards": ["exact"],
    "rollout": {"max_new_tokens": 40, "group_size": 4},
    "per_device_train_batch_size": 16,
    "max_steps": 2,
}


def planned(**settings: Any) -> Any:
    return plan(resolve_settings("reason", {}, [*{**QUICK, **settings}.items()]))


RATIO = "the tokens of a completion share one ratio"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"importance_sampling_level": "sequence"}, RATIO),
    ({"loss": "gmpo"}, RATIO),
    ({"loss": "rloo"}, RATIO),
    ({"advantage.column": "trace"}, "no row of the data has one"),
    ({"off_policy": "demonstrations"}, "some completions of this run are the data's"),
    ({"advantage.template": "{prompt}"}, "made from {prompt} and {privileged_context}"),
    ({"kl.where": "reward", "beta": 0.1}, "does not see a KL penalty in the reward"),
    ({"rollout": {"group_size": 1}}, "compares the completions of one prompt"),
    ({"advantage.direction": "sideways"}, "direction of advantage dasd"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_combination_without_meaning_is_refused_with_the_reason(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        planned(method="dasd", **settings)


@pytest.mark.parametrize("method", ["dasd", "opsd", "rlsd", "rlrt"])
def test_a_method_that_needs_the_solution_is_planned_with_its_pass(method: str) -> None:
    made = planned(method=method)
    assert made.equals is None
    assert planned(method=method, mask="ict", **{"mask.warmup_steps": 0}).equals is None
    assert planned(method=method, **{"advantage.column": "answer"}).slots["advantage"].params == {"column": "answer"}


@pytest.mark.parametrize(
    "settings", [{"method": "dasd", "advantage.dasd_beta": 0}, {"method": "rlsd", "advantage.mix": 0}]
)
def test_the_neutral_setting_is_said_to_equal_grpo(settings: dict[str, Any]) -> None:
    assert str(planned(**settings).equals) == f"equals grpo: advantage={settings['method']} changes nothing"
