"""Linear layers of training passes through oneDNN, where that is faster than the library torch calls for them.

On processors that library was not made for it reaches less than half of what they can do; oneDNN's products give the same
numbers to single precision. `launch.products` measures whether it pays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(N, in) and (out, in) to (N, out), float32 on a CPU, without a graph."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        flat = x.reshape(-1, x.size(-1))
        ctx.save_for_backward(flat, weight)
        ctx.has_bias = bias is not None
        return product(flat, weight, bias).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gradient = upstream[0].reshape(-1, weight.size(0))
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            product(gradient, weight.t()).view(*upstream[0].shape[:-1], -1) if for_x else None,
            product(x.t(), gradient.t()).t() if for_weight else None,
            gradient.sum(0) if ctx.has_bias and for_bias else None,
        )


class OneDNNLinear(TorchFunctionMode):
    """Inside this context linear layers in float32 on a CPU use oneDNN, forward and backward."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.nn.functional.linear and not kwargs and _plain(*args[:2]):
            return _Linear.apply(*args[:2], args[2] if len(args) > 2 else None)
        return func(*args, **(kwargs or {}))


def _plain(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.dim() == 2
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
    )
