"""Several servers that share the rollouts. One that fails is dropped, its work is done by the others, and it is taken back at
the next sync if it answers again."""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from rlllm.core.errors import ConfigError, EngineError
from rlllm.network.event_loop import run_on
from rlllm.rollouts.config import SamplingConfig, ServingConfig
from rlllm.rollouts.engines.choice import START
from rlllm.rollouts.engines.served.client import Group, ServerError, VLLMServer, Written
from rlllm.rollouts.engines.served.sync import WeightSync


class Fleet:
    """The servers of a run, and the weights they have.

    Args:
        urls: at least one.
        tokenizer: of the policy.
        config: how they are asked.

    Raises:
        ConfigError: no URL, one that is none, or one that is named twice.
    """

    def __init__(self, urls: Sequence[str], tokenizer: Any, config: ServingConfig) -> None:
        self.servers = [VLLMServer(url, config) for url in urls]
        named = [server.url for server in self.servers]
        if not named or len(set(named)) < len(named):
            raise ConfigError(
                "the engine vllm-server needs the address of each server once",
                given=f"rollout.servers={','.join(urls)}",
                hint=f"rollout.servers=[http://localhost:8000] after: {START}",
            )
        self.config = config
        self.tokenizer = tokenizer
        self.sync = WeightSync(tokenizer, config)
        self.alive: list[VLLMServer] = []
        self.version = ""
        """The weights that the servers were last known to have."""
        self._first = True

    def bring(self, model: Any) -> None:
        """Have every server that answers sample with the model's weights.

        Raises:
            EngineError: none is left, or one does not take the weights.
        """
        self._gather()
        while True:
            try:
                self.sync.bring(model, self.alive)
                self.version = self.sync.version
                return
            except ServerError as error:
                self._drop(self._named(error), error)

    def join(self) -> None:
        """Use the servers with the weights that the first process of the run has brought to them.

        Raises:
            EngineError: none is left, or the first process has not been there.
        """
        self._gather()
        self.version = run_on("http", self.alive[0].version())
        if self.version == _UNTOLD:
            raise EngineError(
                "this process samples with servers to which the first process of the run has brought no weights",
                given=self.alive[0].url,
                hint="rollout.engine=native where only some processes sample",
            )

    def _named(self, error: ServerError) -> VLLMServer:
        return next(server for server in self.alive if error.what.startswith(f"{server.name}: "))

    def _gather(self) -> None:
        """Take in those that answer and are not in use: all of them at the first time, later those that came back."""
        away = [server for server in self.servers if server not in self.alive]
        for server, problem in zip(away, run_on("http", _of_each(away, self._connected)), strict=True):
            if problem is None:
                self.sync.forget(server)
                self.alive.append(server)
                if not self._first:
                    warnings.warn(f"{server.name} answers again", RuntimeWarning, stacklevel=2)
            elif self._first:
                warnings.warn(f"{server.name} is left out: {problem}", RuntimeWarning, stacklevel=2)
        if not self.alive:
            raise self._none_left("none of the servers answers")
        self._first = False

    async def _connected(self, server: VLLMServer) -> str | None:
        """None for a server in order, else what it lacks."""
        if not await server.alive():
            return "it does not answer"
        try:
            await server.connect()
            theirs = await server.token_ids(_SAMPLE)
        except ServerError as error:
            return error.what
        own = self.tokenizer(_SAMPLE, add_special_tokens=False)["input_ids"]
        if theirs != list(own):
            raise ConfigError(
                f"{server.name} has another tokenizer than the policy",
                given=f"{_SAMPLE!r} is {str(theirs[:8])[:-1]}, ...] there and {str(list(own)[:8])[:-1]}, ...] here",
                hint="serve the policy's own model",
            )
        return None

    def _drop(self, server: VLLMServer, error: EngineError) -> None:
        if server in self.alive:
            self.alive.remove(server)
            left = f"{len(self.alive)} of {len(self.servers)} go on"
            warnings.warn(f"{error.what}: it is dropped, {left}", RuntimeWarning, stacklevel=3)
        if not self.alive:
            raise self._none_left(f"the last server is gone: {error.what}") from error

    def _none_left(self, what: str) -> EngineError:
        return EngineError(
            what,
            given=", ".join(server.url for server in self.servers),
            hint=f"{START} (then the same command with --resume goes on from the last checkpoint)",
        )

    def complete(self, groups: Sequence[Group], sampling: SamplingConfig, stops: set[int]) -> list[list[Written]]:
        """The completions of each group, in order, all by servers that have the weights of the last sync.

        Raises:
            EngineError: no server is left.
        """
        written: list[list[Written]] = run_on("http", self._complete(groups, sampling, stops))
        return written

    async def _complete(
        self, groups: Sequence[Group], sampling: SamplingConfig, stops: set[int]
    ) -> list[list[Written]]:
        done: dict[int, tuple[VLLMServer, list[Written]]] = {}
        while len(done) < len(groups):
            waiting = deque(place for place in range(len(groups)) if place not in done)

            async def work(server: VLLMServer, waiting: deque[int] = waiting) -> None:
                while waiting and server in self.alive:
                    place = waiting.popleft()
                    try:
                        done[place] = server, await server.complete(groups[place], sampling, stops)
                    except ServerError as error:
                        self._drop(server, error)

            each = min(self.config.parallel, len(waiting))
            await _all_or_none([work(server) for _ in range(each) for server in self.alive])
            await self._refuse_restarted(done)
        return [done[place][1] for place in range(len(groups))]

    async def _refuse_restarted(self, done: dict[int, tuple[VLLMServer, list[Written]]]) -> None:
        """Throw away what a server wrote that does not know the weights' version any more: it was started anew with others."""
        for server in {id(server): server for server, _ in done.values()}.values():
            try:
                reason = None if await server.version() == self.version else "it was started anew, with other weights"
            except ServerError as error:
                reason = error.what.removeprefix(f"{server.name}: ")
            if reason is not None:
                for place in [place for place, (author, _) in done.items() if author is server]:
                    del done[place]
                self._drop(server, ServerError(f"{server.name}: {reason}; what it wrote is thrown away"))


_UNTOLD = "default"
"""What vLLM calls the weights it was started with."""
_SAMPLE = "Tom has 12 apples and buys 7 more. How many? #### 19"


async def _of_each(servers: Sequence[VLLMServer], function: Callable[[VLLMServer], Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*(function(server) for server in servers)))


async def _all_or_none(work: Sequence[Awaitable[None]]) -> None:
    """Await all. The first failure cancels the others, and is raised."""
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
