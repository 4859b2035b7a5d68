"""Linear layers and embeddings of training passes on a CPU, at the speed of its products.

On processors that torch's own library was not made for it reaches less than half of what they can do; oneDNN's products give
the same numbers to single precision. `launch.onednn` measures whether they pay. What then is left to save is memory traffic:
a weight that several passes of one part share gets one product for its gradient, and an embedding adds the rows it used
instead of a table of zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_SMALL_WEIGHT = 1 << 18
"""Elements up to which a product is so short that its preparation counts. oneDNN makes code for every number of rows, which
takes about half a millisecond and half a megabyte; rows filled up to round numbers meet it ready-made."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(N, in) and (out, in) to (N, out), float32 on a CPU, without a graph."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def _rounded(parts: list[Tensor], weight: Tensor) -> Tensor:
    """All rows of (N, d) tensors as one, with rows of zeros added, at most one in sixteen, where the weight is small."""
    rows = sum(map(len, parts))
    step = max(16, 1 << max(rows.bit_length() - 5, 0))
    missing = -rows % step if weight.numel() <= _SMALL_WEIGHT else 0
    if missing:
        return torch.cat([*parts, parts[0].new_zeros(missing, parts[0].size(1))])
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _weight_gradient(weight: Tensor, inputs: list[Tensor], upstream: list[Tensor]) -> Tensor:
    return product(_rounded(upstream, weight).t(), _rounded(inputs, weight).t())


@dataclass
class _Use:
    """A weight, how often forward passes used it, and what backward passes have brought for it so far."""

    weight: Tensor
    times: int = 0
    inputs: list[Tensor] = field(default_factory=list)
    upstream: list[Tensor] = field(default_factory=list)


class Gradients:
    """Gradients of weights, added to `.grad` once all passes of a graph that used a weight have brought their part.

    Only for leaf tensors that nothing else watches: what is added here, hooks do not see.
    """

    def __init__(self) -> None:
        self._uses: dict[int, _Use] = {}
        self._ends_with_pass = False

    def expect(self, weight: Tensor) -> None:
        """Count a use in a forward pass whose backward pass will call `add`, if it reaches that use at all."""
        self._uses.setdefault(id(weight), _Use(weight)).times += 1

    def add(self, weight: Tensor, x: Tensor, upstream: Tensor) -> None:
        """What one use brings: (N, in) inputs and the gradient of the (N, out) outputs."""
        use = self._uses[id(weight)]
        use.inputs.append(x)
        use.upstream.append(upstream)
        if len(use.inputs) == use.times:
            self._put(use)
        elif not self._ends_with_pass:  # a use that no loss depends on never comes
            self._ends_with_pass = True
            torch.autograd.Variable._execution_engine.queue_callback(self._end)

    def _put(self, use: _Use) -> None:
        gradient = _weight_gradient(use.weight, use.inputs, use.upstream)
        use.times -= len(use.inputs)
        use.inputs, use.upstream = [], []
        if use.weight.grad is None:
            use.weight.grad = gradient
        else:
            use.weight.grad.add_(gradient)

    def _end(self) -> None:
        self._ends_with_pass = False
        for use in self._uses.values():
            if use.inputs:
                self._put(use)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, gradients: Gradients | None) -> Tensor:
        rows = x.reshape(-1, x.size(-1))
        ctx.save_for_backward(rows, weight)
        ctx.has_bias, ctx.gradients = bias is not None, gradients
        return product(_rounded([rows], weight), weight, bias)[: len(rows)].view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        gradient = upstream[0].reshape(-1, weight.size(0))
        for_x, for_weight, for_bias, _ = ctx.needs_input_grad
        own = None
        if for_weight and ctx.gradients is not None:
            ctx.gradients.add(weight, x, gradient)
        elif for_weight:
            own = _weight_gradient(weight, [x], [gradient])
        return (
            product(_rounded([gradient], weight), weight.t())[: len(gradient)].view(*upstream[0].shape[:-1], -1)
            if for_x
            else None,
            own,
            gradient.sum(0) if ctx.has_bias and for_bias else None,
            None,
        )


class _Embedding(torch.autograd.Function):
    """Rows of a leaf, whose gradient is added to its `.grad` where the rows are."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, padding: int | None) -> Tensor:
        ctx.save_for_backward(ids, weight)
        ctx.padding = padding
        return torch.nn.functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[None, None, None]:
        ids, weight = ctx.saved_tensors
        ids, gradient = ids.reshape(-1), upstream[0].reshape(-1, weight.size(1))
        if ctx.padding is not None:
            gradient = gradient.masked_fill((ids == ctx.padding % len(weight)).unsqueeze(1), 0.0)
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        weight.grad.index_add_(0, ids, gradient)
        return None, None, None


class OneDNNLinear(TorchFunctionMode):
    """Inside this context linear layers in float32 on a CPU use oneDNN, forward and backward.

    Args:
        gather: add gradients of weights to `.grad` here, not in autograd; for one process, where nothing else waits for them.
    """

    def __init__(self, *, gather: bool = False) -> None:
        super().__init__()
        self._gradients = Gradients() if gather else None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.nn.functional.linear and not kwargs and _plain(*args[:2]):
            weight, bias = args[1], args[2] if len(args) > 2 else None
            gradients = self._gradients if _is_gathered(weight) else None
            if gradients is not None:
                gradients.expect(weight)
            return _Linear.apply(args[0], weight, bias, gradients)
        if func is torch.nn.functional.embedding and self._gradients is not None and _is_gathered(args[1]):
            options = dict(kwargs or {})
            padding = options.pop("padding_idx", None)
            if not (options.get("max_norm") or options.get("scale_grad_by_freq") or options.get("sparse")):
                return _Embedding.apply(*args, padding)
        return func(*args, **(kwargs or {}))


def _plain(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.dim() == 2
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
    )


def _is_gathered(weight: Tensor) -> bool:
    """Whether a gradient may be added to `.grad` without autograd: a leaf that learns, on which nothing hangs."""
    return (
        torch.is_grad_enabled()
        and weight.requires_grad
        and weight.is_leaf
        and not weight._backward_hooks
        and not getattr(weight, "_post_accumulate_grad_hooks", None)
    )
