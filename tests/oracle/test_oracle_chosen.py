"""Log-probability, entropy and self-certainty of chosen tokens against NumPy, and the gradient against autograd's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlllm.algorithms.forward_pass import ForwardView
from rlllm.algorithms.signals.certainty import Certainty
from rlllm.algorithms.token_logps import chosen_logps


def drawn(seed: int, shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=generator)
    return logits, torch.randint(shape[2], shape[:2], generator=generator)


@given(
    st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 5), st.integers(2, 9), st.sampled_from([1.0, 0.7, 2.5])
)
def test_signals_are_those_of_numpy(seed: int, rows: int, length: int, vocabulary: int, temperature: float) -> None:
    logits, targets = drawn(seed, (rows, length, vocabulary))
    scores = logits.double().numpy() / temperature
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    chosen = np.take_along_axis(np.log(shares), targets.numpy()[..., None], -1)[..., 0]
    view = ForwardView(logits.clone(), targets, torch.ones_like(targets), temperature)
    logps, entropies = view.chosen
    assert np.allclose(logps, chosen, atol=1e-5)
    assert np.allclose(entropies, -(shares * np.log(shares)).sum(-1), atol=1e-5)
    uniform = 1 / vocabulary
    context: Any = None  # certainty reads the forward pass alone
    assert np.allclose(Certainty().from_forward(view, context), (uniform * np.log(uniform / shares)).sum(-1), atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_gradient_is_that_of_a_log_softmax(temperature: float) -> None:
    logits, targets = drawn(3, (2, 4, 7))
    weights = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    plain = logits.clone().requires_grad_()
    chosen = torch.log_softmax(plain / temperature, -1).gather(2, targets.unsqueeze(2)).squeeze(2)
    (chosen * weights).sum().backward()
    ours = logits.clone().requires_grad_()
    logps, entropies = chosen_logps(ours * 1.0, targets, temperature)
    assert not entropies.requires_grad
    (logps * weights).sum().backward()
    torch.testing.assert_close(logps, chosen)
    torch.testing.assert_close(ours.grad, plain.grad)


def test_tokens_that_cannot_be_written_carry_no_entropy() -> None:
    logits = torch.tensor([[[0.0, 0.0, -torch.inf]]])
    logps, entropies = chosen_logps(logits, torch.tensor([[1]]))
    assert entropies.item() == pytest.approx(np.log(2))
    assert logps.item() == pytest.approx(-np.log(2))
