"""Parts of the native engine alone: the choice of a token, where rows stand, products in the machine's layout."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.native.attention import Layout
from rlllm.rollouts.engines.native.engine import batches
from rlllm.rollouts.engines.native.linear import Linear, laid_out
from rlllm.rollouts.engines.native.token_sampling import BLOCK, HEAD, choose

ROWS = 30_000
LARGE = 5 * BLOCK + 37
"""A vocabulary that is drawn from in two steps and whose last block is not full."""


def hills(size: int, height: float = 5.0) -> Tensor:
    """(size,) logits that rise and fall, so that likely tokens are spread over the vocabulary, its end included."""
    return torch.linspace(0, 9, size).cos() * height


@pytest.mark.parametrize("size", [3, 261, 2 * BLOCK, LARGE, 6 * BLOCK])
def test_tokens_are_drawn_with_the_softmax_of_their_logits(size: int) -> None:
    torch.manual_seed(0)
    logits = hills(size)
    drawn = choose(logits.repeat(ROWS, 1), SamplingConfig())[0].numpy()
    assert fits(drawn, logits.softmax(-1))


def fits(drawn: np.ndarray, chances: Tensor) -> bool:
    """Chi-square of counts against probabilities, the tokens seldom expected taken together."""
    wanted = chances.double().numpy() * len(drawn)
    counts = np.bincount(drawn, minlength=len(wanted))
    common = wanted >= 5
    counts = np.append(counts[common], counts[~common].sum())
    wanted = np.append(wanted[common], wanted[~common].sum() + 1e-9)
    return chisquare(counts, wanted * len(drawn) / wanted.sum()).pvalue > 1e-3


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("size", [5, 261, LARGE])
@pytest.mark.parametrize("height", [0.1, 5.0])
def test_a_nucleus_is_that_of_transformers(top_p: float, size: int, height: float) -> None:
    from transformers import TopPLogitsWarper

    torch.manual_seed(0)
    logits = hills(size, height) + torch.linspace(0, 0.01, size)
    wanted = TopPLogitsWarper(top_p)(None, logits.unsqueeze(0)).softmax(-1)[0]
    drawn, _ = choose(logits.repeat(8000, 1), SamplingConfig(top_p=top_p))
    assert (wanted[drawn] > 0).all()
    assert fits(drawn.numpy(), wanted)


def test_a_nucleus_wider_than_the_head_is_found() -> None:
    torch.manual_seed(0)
    drawn, _ = choose(torch.zeros(4000, 10 * HEAD), SamplingConfig(top_p=0.8))
    assert len(set(drawn.tolist())) > 2 * HEAD


def test_all_that_tie_with_the_last_of_top_k_stay() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[2.0, 1.0, 1.0, 1.0, 0.0]]).repeat(500, 1)
    assert set(choose(logits, SamplingConfig(top_k=2))[0].tolist()) == {0, 1, 2, 3}
    assert set(choose(logits, SamplingConfig(top_k=2, top_p=0.99))[0].tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("size", [3, LARGE])
def test_tokens_of_no_probability_are_never_drawn(size: int) -> None:
    torch.manual_seed(0)
    logits = torch.full((2000, size), -torch.inf)
    logits[:, 1] = 0
    assert set(choose(logits, SamplingConfig())[0].tolist()) == {1}


@pytest.mark.parametrize("size", [3, LARGE])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
@pytest.mark.parametrize("settings", [{}, {"top_p": 0.9}])
def test_no_distribution_is_an_error(size: int, wrong: float, settings: dict[str, float]) -> None:
    logits = torch.zeros(3, size)
    logits[1, 2] = wrong
    with pytest.raises(RuntimeError, match="no token can be sampled"):
        choose(logits, SamplingConfig.model_validate(settings))


def test_the_likeliest_token_is_taken_without_a_draw() -> None:
    before = torch.get_rng_state()
    assert choose(torch.tensor([[0.0, 2.0, 1.0]]), SamplingConfig(temperature=0))[0].tolist() == [1]
    assert torch.equal(torch.get_rng_state(), before)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30).map(sorted), st.integers(1, 300), st.integers(0, 300))
def test_every_row_has_a_slot_of_its_own_in_a_block_of_its_prompt(owners: list[int], prompt: int, columns: int) -> None:
    layout = Layout.cheapest(owners, prompt, columns)
    assert layout.slots == sorted(set(layout.slots))
    assert [layout.blocks[slot // layout.group] for slot in layout.slots] == owners
    assert layout.slots[-1] < layout.size


def test_rows_share_a_prompt_unless_that_leaves_too_many_slots_free() -> None:
    assert Layout.cheapest([0] * 8 + [1] * 8, 100, 50).group == 8
    assert Layout.cheapest([0] * 7 + [1] * 8, 100, 50).size == 16
    assert Layout.cheapest([0] * 8 + [1, 2, 3, 4], 20, 500).group == 1


@given(st.lists(st.sampled_from([(1,), (2, 2), (3, 3), (4, 4, 4)]), max_size=20), st.integers(1, 6))
def testbatches_hold_every_row_once_and_are_never_too_large(prompts: list[tuple[int, ...]], size: int) -> None:
    made = batches(prompts, size)
    rows = [row for batch in made for _, members in batch for row in members]
    assert sorted(rows) == list(range(len(prompts)))
    assert all(prompts[row] == prompt for batch in made for prompt, members in batch for row in members)
    assert all(sum(len(members) for _, members in batch) <= size for batch in made)
    assert [len(prompts[row]) for row in rows] == sorted(map(len, prompts), reverse=True)
    pieces = Counter(prompt for batch in made for prompt, _ in batch)
    assert all(pieces[prompt] == -(-count // size) for prompt, count in Counter(prompts).items())


@pytest.mark.parametrize("rows", [1, 7, 64, 300])
@pytest.mark.parametrize("biased", [True, False])
def test_products_in_the_machines_layout_are_those_of_linear(rows: int, biased: bool) -> None:
    draws = torch.Generator().manual_seed(0)
    weight, x, other = (torch.randn(shape, generator=draws) for shape in ((24, 40), (rows, 40), (rows, 24)))
    bias = torch.randn(24, generator=draws) if biased else None
    product = F.linear(x, weight, bias)
    for layout in (laid_out(weight, bias), Linear(weight, bias)):
        assert torch.allclose(layout(x), product, atol=1e-5)
        assert torch.allclose(layout.silu(x), F.silu(product), atol=1e-5)
        assert torch.allclose(layout.times(x, other), product * other, atol=1e-5)
        assert torch.allclose(layout.plus(x, other), product + other, atol=1e-5)
