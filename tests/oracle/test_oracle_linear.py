"""Linear layers through oneDNN against torch's own: values, gradients, and what is left to torch."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import linear

from rlllm.algorithms.linear import OneDNNLinear

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("shape", [(7, 5), (2, 7, 5), (1, 1, 5)])
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_those_of_torch(shape: tuple[int, ...], bias: bool) -> None:
    found = []
    for mode in (None, OneDNNLinear()):
        x, weight = drawn(*shape).requires_grad_(), drawn(3, 5).requires_grad_()
        b = drawn(3).requires_grad_() if bias else None
        if mode is None:
            y = linear(x, weight, b)
        else:
            with mode:
                y = linear(x, weight, b)
        (y * drawn(*y.shape)).sum().backward()
        found.append([y, x.grad, weight.grad, *([b.grad] if b is not None else [])])
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_frozen_weight_gets_no_gradient() -> None:
    x, weight = drawn(4, 5).requires_grad_(), drawn(3, 5)
    with OneDNNLinear():
        linear(x, weight).sum().backward()
    assert weight.grad is None
    assert x.grad is not None


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_other_precisions_are_left_to_torch(kind: torch.dtype) -> None:
    x, weight = drawn(4, 5).to(kind), drawn(3, 5).to(kind)
    with OneDNNLinear():
        assert torch.equal(linear(x, weight), x @ weight.T)


def test_under_autocast_torch_decides_the_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16), OneDNNLinear():
        assert linear(drawn(4, 5), drawn(3, 5)).dtype == torch.bfloat16
