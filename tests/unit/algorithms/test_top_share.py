"""Masks of a share of each completion: the divergence of siblings and the selector, with the numbers of ICT's specification."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.forward_pass import ForwardView, Pass, Window
from rlllm.algorithms.masks.top_share import ICT, EntropyPerCompletion, RandomPerCompletion, TopShare, top_share
from rlllm.algorithms.signals import sibling_distributions
from rlllm.algorithms.signals.sibling_distributions import SiblingDivergence, divergence_from_mean
from rlllm.core.errors import ConfigError
from rlllm.stages.catalog import plan, resolve_settings


def divergences(shares: list[list[float]], present: list[int] | None = None) -> list[float]:
    """Divergences at one position of a group with these distributions."""
    logps = torch.tensor(shares).log().unsqueeze(1)
    mask = torch.tensor(present or [1] * len(shares)).unsqueeze(1)
    return divergence_from_mean(logps, mask).squeeze(1).tolist()


def test_identical_distributions_do_not_diverge() -> None:
    assert divergences([[0.7, 0.2, 0.1]] * 4) == pytest.approx([0] * 4, abs=1e-7)


def test_two_certain_and_different_completions_diverge_by_the_largest_value_of_two() -> None:
    assert divergences([[1.0, 0.0], [0.0, 1.0]]) == pytest.approx([0.21576155] * 2, abs=1e-7)


def test_three_completions_diverge_as_worked_out_by_hand() -> None:
    shares = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1]]
    assert divergences(shares) == pytest.approx([0.02536, 0.10676, 0.02536], abs=1e-5)


@pytest.mark.parametrize(("group", "largest"), [(2, 0.2158), (4, 0.3804), (8, 0.4969), (16, 0.5743)])
def test_the_largest_divergence_grows_with_the_completions_that_are_left(group: int, largest: float) -> None:
    """One completion is certain of one token, all others of another."""
    shares = [[0.0, 1.0]] * (group - 1) + [[1.0, 0.0]]
    assert divergences(shares)[-1] == pytest.approx(largest, abs=1e-4)
    assert divergences([*shares, [0.5, 0.5]], [1] * group + [0])[group - 1] == pytest.approx(largest, abs=1e-4)


def test_a_completion_that_is_alone_at_a_position_does_not_diverge() -> None:
    assert divergences([[0.9, 0.1], [0.2, 0.8]], [1, 0]) == [0.0, 0.0]


@given(st.integers(0, 1000), st.permutations(range(4)))
def test_the_order_of_siblings_and_what_padding_holds_do_not_matter(seed: int, order: list[int]) -> None:
    draw = torch.Generator().manual_seed(seed)
    logps = torch.log_softmax(torch.randn(4, 3, 6, generator=draw), -1)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])
    values = divergence_from_mean(logps, mask) * mask
    moved = divergence_from_mean(logps[order], mask[order]) * mask[order]
    torch.testing.assert_close(moved, values[order], atol=1e-6, rtol=0)
    padding = torch.where(mask.unsqueeze(2) == 1, logps, torch.log_softmax(torch.randn(4, 3, 6, generator=draw), -1))
    assert torch.equal(divergence_from_mean(padding, mask) * mask, values)


def a_pass(logits: Tensor, mask: Tensor) -> Pass:
    """A pass in which each completion is a row."""
    ids = torch.zeros(len(mask), mask.size(1) + 2, dtype=torch.long)
    window = Window(ids, torch.cat([torch.ones(len(mask), 2).long(), mask], 1), mask.size(1), mask.size(1))
    return Pass(ForwardView(logits, window.targets, mask, 0.7), window)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_of_positions_give_one_divergence_in_full_precision(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    logits = (3 * torch.randn(6, 5, 11, generator=torch.Generator().manual_seed(0))).to(dtype)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1] * 5, [1] * 5, [1, 0, 0, 0, 0]])
    run: Any = SimpleNamespace(group_size=3, temperature=0.7)
    whole = SiblingDivergence().from_pass(a_pass(logits, mask), run)
    logps = torch.log_softmax(logits.double() / 0.7, -1).unflatten(0, (2, 3))
    exact = divergence_from_mean(logps, mask.unflatten(0, (2, 3))).flatten(0, 1) * mask
    torch.testing.assert_close(whole.double(), exact, atol=1e-6, rtol=0)
    monkeypatch.setattr(sibling_distributions, "_CHUNK_BYTES", 1)
    torch.testing.assert_close(SiblingDivergence().from_pass(a_pass(logits, mask), run), whole, atol=1e-6, rtol=0)


LENGTHS = [(1, 1), (5, 1), (10, 1), (11, 2), (20, 2), (21, 3), (100, 10), (101, 11)]


@pytest.mark.parametrize(("length", "count"), LENGTHS)
def test_a_tenth_of_a_completion_is_rounded_up(length: int, count: int) -> None:
    scores = torch.randn(1, length + 3, generator=torch.Generator().manual_seed(length))
    mask = (torch.arange(length + 3) < length).long().unsqueeze(0)
    chosen = top_share(scores, mask, 0.1)
    assert int(chosen.sum()) == count
    percentile = np.percentile(scores[0, :length].numpy(), 90)
    assert torch.equal(chosen[0, :length].bool(), scores[0, :length] >= float(percentile))


@given(st.integers(0, 1000), st.sampled_from([0.01, 0.1, 0.2, 0.375, 0.5, 0.9]))
def test_every_completion_gives_its_share_and_nothing_but_its_own_tokens(seed: int, fraction: float) -> None:
    draw = np.random.default_rng(seed)
    mask = torch.tensor(draw.integers(0, 2, size=(5, 9)))
    scores = torch.tensor(draw.choice([0.0, 0.0, 1.0, 2.0], size=(5, 9)))
    chosen = top_share(scores, mask, fraction)
    assert (chosen <= mask).all()
    counts = np.ceil(mask.sum(1).numpy() * fraction - 1e-9).astype(int)
    assert chosen.sum(1).tolist() == counts.tolist()
    assert ((chosen.sum(1) > 0) == (mask.sum(1) > 0)).all()
    more = top_share(scores, mask, min(1.0, 2 * fraction))
    assert (chosen <= more).all()
    for row in range(5):
        left_out = scores[row][(mask[row] - chosen[row]).bool()]
        if len(left_out) and chosen[row].any():
            assert scores[row][chosen[row].bool()].min() >= left_out.max()


def test_of_equal_scores_the_earlier_tokens_are_chosen() -> None:
    assert top_share(torch.zeros(1, 6), torch.tensor([[0, 1, 1, 1, 1, 0]]), 0.5).tolist() == [[0, 1, 1, 0, 0, 0]]


MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]])


def batch(step: int = 50, **signals: Tensor) -> RolloutBatch:
    shape = MASK.shape
    names = {"entropies": torch.zeros(shape), "logps": torch.zeros(shape) - 1, "purity": torch.full(shape, 0.5)}
    return RolloutBatch(
        prompt_ids=torch.ones(2, 1, dtype=torch.long),
        prompt_mask=torch.ones(2, 1, dtype=torch.long),
        completion_ids=torch.ones(shape, dtype=torch.long),
        loss_mask=MASK,
        group_size=2,
        rewards=torch.zeros(2, 1),
        weights=torch.ones(1),
        trl_advantages=torch.tensor([1.0, -1.0]),
        extra_fields=[{}, {}],
        signals={**names, **signals},
        step=step,
    )


DIVERGENCE = torch.tensor([[0, 0, 0, 0, 0.3, 0, 0, 0.2, 0, 0], [0, 0, 0, 0, 0.3, 0, 0, 0, 0, 0]])


def test_ict_chooses_by_divergence_and_describes_its_choice() -> None:
    mask = ICT(0.2)
    chosen = mask(batch(sibling_divergence=DIVERGENCE, entropies=DIVERGENCE.flip(1)))
    assert chosen.nonzero().tolist() == [[0, 4], [0, 7], [1, 4]]
    logged = {name: round(value, 4) for name, value in mask.metrics.items()}
    assert logged == {
        "mask/selected_share": 0.2,
        "mask/selected_position": round((0.5 + 0.8 + 1.0) / 3, 4),
        "mask/entropy_overlap": 0.0,
        "ict/divergence": round(0.8 / 15, 4),
        "ict/threshold": 0.25,
        "ict/tied_share": 0.0,
        "ict/selected_probability": 0.3679,
        "ict/purity_gap": 0.1321,
        "ict/purity_gap_rest": 0.1321,
    }


def test_tokens_that_are_chosen_without_diverging_are_counted() -> None:
    mask = ICT(0.5)
    mask(batch(sibling_divergence=DIVERGENCE))
    assert mask.metrics["ict/tied_share"] == pytest.approx(5 / 8)


@pytest.mark.parametrize("kind", [ICT, EntropyPerCompletion, RandomPerCompletion])
def test_the_whole_mask_is_the_batchs_own_and_draws_nothing(kind: type[TopShare]) -> None:
    state = torch.random.get_rng_state()
    assert kind(1.0)(batch(sibling_divergence=DIVERGENCE)) is MASK
    assert kind(0.1, warmup_steps=20)(batch(19, sibling_divergence=DIVERGENCE)) is MASK
    assert torch.equal(torch.random.get_rng_state(), state)
    assert kind(0.1, warmup_steps=20)(batch(20, sibling_divergence=DIVERGENCE)).sum(1).tolist() == [1, 1]
    assert not kind(1.0).needs


def test_the_controls_choose_as_many_tokens_by_entropy_and_by_chance() -> None:
    entropies = torch.arange(20.0).view(2, 10)
    assert EntropyPerCompletion(0.2)(batch(entropies=entropies)).nonzero().tolist() == [[0, 8], [0, 9], [1, 4]]
    draws = torch.stack([RandomPerCompletion(0.4)(batch()) for _ in range(400)])
    assert draws.sum(2).unique(dim=0).tolist() == [[4, 2]]
    shares = draws.float().mean(0)
    assert shares[0] == pytest.approx([0.4] * 10, abs=0.1)
    assert shares[1] == pytest.approx([0.4] * 5 + [0.0] * 5, abs=0.1)


def test_a_group_of_one_has_no_siblings_to_depart_from() -> None:
    settings: dict[str, Any] = {
        "model": "nano",
        "data": {"name": "arithmetic", "rows": 8, "holdout": 2},
        "rewards": ["exact"],
    }
    alone = {**settings, "method": "remax", "rollout.group_size": 1}
    with pytest.raises(ConfigError, match="mask=ict compares the completions of one prompt, so it needs at least two"):
        plan(resolve_settings("reason", {}, [*alone.items(), ("mask", "ict")]))
    plan(resolve_settings("reason", {}, [*alone.items(), ("mask", "entropy-per-completion")]))


REFUSED: list[dict[str, Any]] = [{"fraction": 0.0}, {"fraction": 1.5}, {"fraction": -0.1}, {"warmup_steps": -1}]


@pytest.mark.parametrize("fields", REFUSED, ids=str)
def test_shares_that_are_none_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ICT(**fields)
