"""Measure how many CPU threads are fastest for a model.

The operations of a small model end before a second thread has started, so one thread can be fastest. Where other programs use
the machine, threads that wait for each other can be ten times slower than one. If the user sets OMP_NUM_THREADS, it is kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rlllm.core.hardware import Hardware

_ROWS = 32
_STEPS = 4
"""Tokens written one by one in a measurement, as in decoding."""
REPEATS = 3
LONG = 1.0
"""Seconds from which once is enough: what takes so long is not blurred by a disturbance, and a large model would wait."""
_MARGIN = 0.95
"""More threads have to be this much faster: the same number on a rerun gives the same bits."""


def choose(model: Any, hardware: Hardware) -> Hardware:
    """Set torch's thread count to the fastest for this model.

    Nothing is measured where there is nothing to choose (one core, a GPU, or OMP_NUM_THREADS set), or where the model does
    not take what is measured.
    """
    import torch

    offered = candidates(hardware.threads)
    if len(offered) < 2 or "OMP_NUM_THREADS" in os.environ or hardware.device != "cpu":
        return hardware
    work = _work(model)
    try:
        work()
    except Exception:  # some classifiers take no text without an end token, and a run shall not fail by its measurement
        return hardware
    seconds = {threads: _fastest(work, threads) for threads in offered}
    torch.set_num_threads(fastest(seconds))
    return replace(hardware, threads=fastest(seconds), thread_seconds=seconds)


def candidates(most: int) -> list[int]:
    """Powers of two below `most`, and `most` itself."""
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), most]


def fastest(seconds: dict[int, float]) -> int:
    """The count worth its threads: a larger one only where it is clearly faster than every smaller one."""
    best = min(seconds)
    for threads in sorted(seconds):
        if seconds[threads] < _MARGIN * seconds[best]:
            best = threads
    return best


def _fastest(work: Callable[[], None], threads: int) -> float:
    import torch

    torch.set_num_threads(threads)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
        if times[-1] >= LONG:
            break
    return min(times)


def _work(model: Any) -> Callable[[], None]:
    """Some decoding and one longer pass, without a cache: both shapes of a rollout and its update."""
    import torch

    narrow, wide = torch.zeros((_ROWS, 1), dtype=torch.long), torch.zeros((4, _ROWS), dtype=torch.long)

    @torch.no_grad()
    def work() -> None:
        for _ in range(_STEPS):
            model(input_ids=narrow, use_cache=False)
        model(input_ids=wide, use_cache=False)

    return work
