"""Matrix products of frozen weights, laid out for the machine once and used for every token of a rollout.

With oneDNN, on a CPU, the weights use its own blocked layout, and its products include the activation or the addition that
follows them. Otherwise, and where this torch lacks those operators, it is `torch.nn.functional.linear`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# oneDNN chooses the layout for a number of rows; of 1, 32, 64 and 1024 this one is near the best from 1 row to 500
_ROWS = 64

_matmul = "onednn"


def use(matmul: str) -> None:
    """Let weights that are laid out from now on, on a CPU, be multiplied by oneDNN where it computes the same, or by torch.

    Args:
        matmul: of `rlllm.core.hardware.MATMULS`. Like torch's number of threads it holds for the whole process.
    """
    global _matmul
    _matmul = matmul


class Linear:
    """`x @ weight.T + bias`, and the three things a transformer block does with it.

    Args:
        weight: (out, in), float32.
        bias: (out,) or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        """(rows, in) -> (rows, out)."""
        return F.linear(x, self.weight, self.bias)

    def silu(self, x: Tensor) -> Tensor:
        """SiLU of the product."""
        return F.silu(self(x), inplace=True)

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """The product times `factor` (rows, out), element by element."""
        return self(x).mul_(factor)

    def plus(self, x: Tensor, term: Tensor) -> Tensor:
        """The product plus `term` (rows, out)."""
        return self(x).add_(term)


class _OneDNN(Linear):
    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__(torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS), bias)
        self._unary: Any = torch.ops.mkldnn._linear_pointwise.default
        self._binary: Any = torch.ops.mkldnn._linear_pointwise.binary

    def __call__(self, x: Tensor) -> Tensor:
        return self._unary(x, self.weight, self.bias, "none", [], "")

    def silu(self, x: Tensor) -> Tensor:
        return self._unary(x, self.weight, self.bias, "swish", [], "")

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        return self._binary(x, factor, self.weight, self.bias, "mul")

    def plus(self, x: Tensor, term: Tensor) -> Tensor:
        return self._binary(x, term, self.weight, self.bias, "add")


def laid_out(weight: Tensor, bias: Tensor | None = None) -> Linear:
    """The weight, or a copy of it in oneDNN's layout; see `use`."""
    fits = _matmul == "onednn" and weight.device.type == "cpu" and weight.dtype == torch.float32
    return _OneDNN(weight, bias) if fits and _onednn_computes_the_same() else Linear(weight, bias)


@cache
def _onednn_computes_the_same() -> bool:
    """Whether this torch has the operators, which are not public, and they do what they did when this was written."""
    # deterministic numbers, because a draw here would move the global generator that samples
    weight, x = (torch.linspace(-1, 1, size * 8).sin().view(size, 8) for size in (6, 3))
    bias, other = torch.linspace(0, 1, 6), torch.linspace(-1, 1, 18).view(3, 6)
    plain = Linear(weight, bias)
    try:
        fast = _OneDNN(weight, bias)
        pairs = [
            (fast(x), plain(x)),
            (fast.silu(x), plain.silu(x)),
            (fast.times(x, other), plain.times(x, other)),
            (fast.plus(x, other), plain.plus(x, other)),
        ]
    except (AttributeError, RuntimeError, TypeError):  # NotImplementedError is a RuntimeError
        return False
    return all(torch.allclose(given, wanted, atol=1e-5) for given, wanted in pairs)
