"""Measure which number of CPU threads and which matrix product are fastest for a model.

The operations of a small model end before a second thread has started, so one thread can be fastest. oneDNN's products are more
than twice as fast as torch's on some processors and slower on others. Candidates take turns and each one's fastest time counts,
so that another program on the machine delays all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rlllm.core.hardware import MATMULS

Choice = TypeVar("Choice", int, str)
Work = Callable[[], Any]

_ROUNDS = 30
"""Turns of every candidate, at most."""
_SECONDS = 1.0
"""What all turns together may take; each candidate has one turn even if that takes longer."""
_THREADS_MARGIN = 0.95
"""Part of a smaller number's time that a larger number of threads may take at most, to be worth them."""
_ONEDNN_MARGIN = 0.9
"""Part of torch's time that oneDNN may take at most, to be preferred."""
_ROWS = 32
_DECODING_STEPS = 4
"""Tokens written one by one in a measurement of threads."""
_LARGEST_PRODUCT = 1 << 28
"""Multiplications of a product that is timed, about."""


def measure_threads(model: Any, most: int) -> dict[int, float]:
    """Number of threads -> seconds of some decoding steps and one longer pass. Leaves torch at `most` threads.

    Args:
        model: takes `input_ids` and `use_cache`. Empty result where it cannot be run like that.
        most: the largest number to try; the others are the powers of two below it.
    """
    import torch

    work = _passes(model)
    try:
        with torch.random.fork_rng(devices=[]):
            work()
            return _fastest({threads: _at(threads, work) for threads in candidates(most)})
    except Exception:  # some classifiers take no text without an end token, and a run shall not fail by its measurement
        return {}
    finally:
        torch.set_num_threads(most)


def candidates(most: int) -> list[int]:
    """Powers of two below `most`, and `most` itself."""
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), most]


def fewest_threads(seconds: Mapping[int, float]) -> int:
    """The number worth its threads: a larger one only where it is clearly faster than every smaller one."""
    best = min(seconds)
    for threads in sorted(seconds):
        if seconds[threads] < _THREADS_MARGIN * seconds[best]:
            best = threads
    return best


def measure_matmuls(width: int, inner: int) -> dict[str, float]:
    """Library -> seconds of the products of one linear layer: of a training pass forward and backward, and of decoding.

    Args:
        width: size of the model's hidden states.
        inner: size inside of its feed-forward layers.

    Returns:
        Only `torch` where this torch lacks oneDNN's operator, or it computes something else.
    """
    if not onednn_works():
        return {"torch": 0.0}
    return _fastest({name: _products(name, width, inner) for name in MATMULS})


def faster_matmul(seconds: Mapping[str, float]) -> str:
    """oneDNN where it is clearly faster."""
    return "onednn" if seconds.get("onednn", float("inf")) < _ONEDNN_MARGIN * seconds["torch"] else "torch"


def onednn_works() -> bool:
    """Whether this torch multiplies through oneDNN on a CPU, and gets what its own product gets."""
    import torch

    x, weight = (torch.linspace(-1, 1, rows * 64).sin().view(rows, 64) for rows in (48, 96))
    try:
        product = _onednn(x, weight)
    except (AttributeError, RuntimeError, TypeError):  # the operator is not public
        return False
    return torch.allclose(product, torch.nn.functional.linear(x, weight), atol=1e-4)


def _onednn(x: Any, weight: Any) -> Any:
    import torch

    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


def _products(name: str, width: int, inner: int) -> Work:
    import torch

    product = _onednn if name == "onednn" else torch.nn.functional.linear
    rows = min(max(_LARGEST_PRODUCT // (width * inner), _ROWS), 1024)
    weight = torch.linspace(-1, 1, inner * width).cos().view(inner, width)
    x, upstream = (torch.linspace(-1, 1, rows * size).sin().view(rows, size) for size in (width, inner))

    def work() -> None:
        product(x, weight)
        product(upstream, weight.t())
        product(upstream.t(), x.t())
        for _ in range(_DECODING_STEPS):
            product(x[:_ROWS], weight)

    return work


def _passes(model: Any) -> Work:
    """Some decoding and one longer pass, without a cache: both shapes of a rollout and its update."""
    import torch

    device = next(model.parameters()).device
    narrow, wide = (torch.zeros(shape, dtype=torch.long, device=device) for shape in ((_ROWS, 1), (4, _ROWS)))

    @torch.no_grad()
    def work() -> None:
        for _ in range(_DECODING_STEPS):
            model(input_ids=narrow, use_cache=False)
        model(input_ids=wide, use_cache=False)

    return work


def _at(threads: int, work: Work) -> Work:
    import torch

    def with_threads() -> None:
        torch.set_num_threads(threads)
        work()

    return with_threads


def _fastest(works: Mapping[Choice, Work]) -> dict[Choice, float]:
    """Seconds of each one's fastest turn."""
    fastest = dict.fromkeys(works, float("inf"))
    end = time.perf_counter() + _SECONDS
    for _ in range(_ROUNDS):
        for choice, work in works.items():
            start = time.perf_counter()
            work()
            fastest[choice] = min(fastest[choice], time.perf_counter() - start)
        if time.perf_counter() > end:
            break
    return fastest
