"""Linear layers through oneDNN against torch's own: values, gradients, and what is left to torch."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch.nn.functional import embedding, linear

from rlllm.algorithms.cpu.onednn_linear import OneDNNLinear

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


def gathered(times: int, *, reaches_last: bool = True) -> list[list[torch.Tensor]]:
    """Values and gradients of one tied weight, looked up and multiplied with several times, by torch and gathered."""
    found = []
    for mode in (nullcontext(), OneDNNLinear(gather=True)):
        weight, ids = drawn(7, 5).requires_grad_(), torch.tensor([[0, 3, 3], [6, 1, 0]])
        with mode:
            looked_up = embedding(ids, weight, padding_idx=1)
            outputs = [linear(looked_up * factor, weight) for factor in range(1, times + 1)]
        if not reaches_last:
            outputs.pop()
        sum((out * drawn(*out.shape)).sum() for out in outputs).backward()
        found.append([looked_up, *outputs, weight.grad])
    return found


@pytest.mark.parametrize("reaches_last", [True, False])
@pytest.mark.parametrize("times", [2, 3])
def test_gathered_gradients_of_a_tied_weight_are_those_of_torch(times: int, reaches_last: bool) -> None:
    for theirs, ours in zip(*gathered(times, reaches_last=reaches_last), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_gathered_gradients_add_up_over_several_backward_passes() -> None:
    weight, mode = drawn(3, 5).requires_grad_(), OneDNNLinear(gather=True)
    for _ in range(2):
        with mode:
            y = linear(drawn(4, 5), weight) + linear(drawn(4, 5), weight)
        y.sum().backward()
    torch.testing.assert_close(weight.grad, drawn(4, 5).sum(0).expand(3, 5) * 4)


def test_a_weight_with_a_hook_is_left_to_autograd() -> None:
    weight, seen = drawn(3, 5).requires_grad_(), []
    weight.register_hook(lambda gradient: seen.append(gradient.shape))
    with OneDNNLinear(gather=True):
        linear(drawn(4, 5), weight).sum().backward()
    assert seen == [(3, 5)]
