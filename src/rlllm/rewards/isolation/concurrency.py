"""Rewards written with `async def`, awaited concurrently on an event loop of their own; see `network.event_loop`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import RlllmError
from rlllm.core.records import Sample
from rlllm.network.event_loop import run_on
from rlllm.rewards.score_parsing import failure, late

CONCURRENT_SAMPLES = 32
"""Samples of a batch that are awaited at once."""


@dataclass(frozen=True)
class ConcurrentReward:
    """A batch reward made of an async reward of single samples.

    Args:
        function: the async reward.
        seconds: deadline of one sample, counted from its own start; None waits for ever.
    """

    function: Callable[[Sample], Awaitable[Any]]
    seconds: float | None = None

    def score_batch(self, samples: Sequence[Sample]) -> list[Any]:
        """What the reward returned for each sample, or a `Failure`.

        Raises:
            RlllmError: the reward found its own setup wrong.
        """
        results: list[Any] = run_on("rewards", self._all(samples))
        for result in results:
            if isinstance(result, RlllmError):
                raise result
        return results

    async def _all(self, samples: Sequence[Sample]) -> list[Any]:
        gate = asyncio.Semaphore(CONCURRENT_SAMPLES)
        return await asyncio.gather(*(self._one(gate, sample) for sample in samples))

    async def _one(self, gate: asyncio.Semaphore, sample: Sample) -> Any:
        async with gate:
            start = time.perf_counter()
            limit = asyncio.timeout(self.seconds)
            try:
                async with limit:
                    return await self.function(sample)
            except RlllmError as error:
                return error
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:
                if _is_cancelled():
                    raise
                seconds = time.perf_counter() - start
                return late(self.seconds, seconds) if limit.expired() else failure(error, seconds, self.function)


@dataclass(frozen=True)
class AsyncBatchReward:
    """A batch reward whose `score_batch` is an `async def`."""

    function: Callable[[Sequence[Sample]], Coroutine[Any, Any, Any]]

    def score_batch(self, samples: Sequence[Sample]) -> Any:
        return run_on("rewards", self.function(samples))


def _is_cancelled() -> bool:
    """Whether somebody outside asked this task to stop, as against code that raises CancelledError by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
