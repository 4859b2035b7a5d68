"""The `remote` reward: completions are scored by a server of the user's own, in batches over HTTP.

    POST {"samples": [{"prompt", "completion", "answer", "meta", "tokens", "truncated"}, ...]}
    ->   {"scores": [number or null, ...]}

One score for each sample, in order; null says that the server cannot judge. Samples of a batch that got no reply failed: that
is an error of the reward on each of them, never a score.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.network.transport import PassingError, Refusal, Server, in_parallel
from rlllm.rewards.score_parsing import Failure


@dataclass(frozen=True)
class Remote:
    """What a server says of each completion.

    Args:
        url: http or https address that takes the batches.
        key_env: environment variable that holds the key, sent as `Authorization: Bearer`; none by default.
        timeout: seconds one batch may take, from connecting to the last byte of the reply.
        retries: further attempts after an error that may pass: no connection, silence, 408, 409, 425, 429, 5xx, or a reply of
            another shape. The same samples are sent again.
        backoff: seconds before the first retry, doubled before each further one.
        batch_size: samples in one request.
        parallel: requests under way at once.

    Raises:
        ConfigError: a URL that is not http(s), a number out of range, or a key variable that is not set.
    """

    url: str
    key_env: str | None = None
    timeout: float = 30.0
    retries: int = 3
    backoff: float = 1.0
    batch_size: int = 32
    parallel: int = 4

    def __post_init__(self) -> None:
        sizes = min(self.batch_size, self.parallel)
        times = (self.timeout, self.backoff)
        if sizes < 1 or self.timeout <= 0 or self.retries < 0 or self.backoff < 0 or not all(map(math.isfinite, times)):
            raise ConfigError(
                "remote: timeout, batch_size and parallel must be positive, retries and backoff not negative",
                given=f"{self.timeout}, {self.batch_size}, {self.parallel}, {self.retries}, {self.backoff}",
            )
        _ = self._server  # its settings are checked before anything is scored

    @cached_property
    def _server(self) -> Server:
        return Server(self.url, self.key_env, self.timeout, self.retries, self.backoff)

    def score_batch(self, samples: Sequence[Sample]) -> list[Any]:
        """What the server sent for each sample, unread, or a `Failure`."""
        parts = [samples[start : start + self.batch_size] for start in range(0, len(samples), self.batch_size)]
        replies = in_parallel(self._ask, parts, self.parallel)
        return [score for reply in replies for score in reply]

    async def _ask(self, samples: Sequence[Sample]) -> list[Any]:
        body = {"samples": [_fields(sample) for sample in samples]}
        reply = await self._server.ask(body, lambda raw: _scores(raw, len(samples)))
        return [Failure(f"got no scores: {reply.reason}")] * len(samples) if isinstance(reply, Refusal) else reply


def _fields(sample: Sample) -> Any:
    """A sample as JSON. `messages` is there only where the completion is more than text."""
    fields = asdict(sample)
    if not fields["messages"]:
        del fields["messages"]
    return _plain(fields)


def _scores(raw: bytes, expected: int) -> list[Any]:
    try:
        scores = json.loads(raw)["scores"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PassingError(f"a reply that has no scores: {raw[:120]!r}") from error
    if not isinstance(scores, list):
        raise PassingError(f"a reply whose scores are no list: {raw[:120]!r}")
    if len(scores) != expected:
        raise PassingError(f"{len(scores)} scores for {expected} samples")
    return scores


def _plain(value: Any) -> Any:
    """The value as JSON has it: what it cannot say is sent as text, and a number it has no word for as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
