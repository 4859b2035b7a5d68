"""Matrix products of frozen weights, laid out for the machine once and used for every token of a rollout.

On a CPU the weights use oneDNN's own blocked layout, and its products include the activation or the addition that follows
them. Everywhere else, and where this torch lacks those operators, it is `torch.nn.functional.linear`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# oneDNN chooses the layout for a number of rows; of 1, 32, 64 and 1024 this one is near the best from 1 row to 500
_ROWS = 64


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
    """A copy of the weight in the layout that is fastest on its device."""
    fast = weight.device.type == "cpu" and weight.dtype == torch.float32 and _onednn_computes_the_same()
    return _OneDNN(weight, bias) if fast else Linear(weight, bias)


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
