"""One vLLM server, by the HTTP interface of `vllm serve` with its development endpoints on (`VLLM_SERVER_DEV_MODE=1`)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from rlllm.core.errors import ConfigError, EngineError
from rlllm.network.event_loop import run_on
from rlllm.network.transport import PassingError, Refusal, Server
from rlllm.rollouts.config import SamplingConfig, ServingConfig
from rlllm.rollouts.engines.choice import START
from rlllm.rollouts.engines.served.sync import Copy

_QUICK = 5.0
"""Seconds for a question whose answer costs nothing."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Group:
    """Completions of one prompt, asked for at once.

    Args:
        prompt: token ids.
        places: of the completions among all that are wanted.
        seed: of the server's generator for them; None leaves it to the server.
    """

    prompt: Sequence[int]
    places: Sequence[int]
    seed: int | None


Written = tuple[list[int], list[float]]
"""Token ids of a completion, and the log-probability in nats with which each was drawn."""


class ServerError(EngineError):
    """This server failed; another may do the same work."""


class VLLMServer(Copy):
    """A running `vllm serve`.

    Args:
        url: base such as `http://localhost:8000`, with or without `/v1`.
        config: how patiently it is asked, and by which name its model goes.
    """

    def __init__(self, url: str, config: ServingConfig) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.name = f"the server {self.url}"
        self.config = config
        self.window: int | None = None
        """Tokens of prompt and completion together."""
        _ = self._at("/health")  # a URL that is none is found before anything is sent

    def _at(self, path: str, *, quick: bool = False) -> Server:
        config = self.config
        seconds, retries = (min(_QUICK, config.timeout), 0) if quick else (config.timeout, config.retries)
        return Server(f"{self.url}{path}", config.key_env, seconds, retries, backoff=0.5)

    async def _asked(self, path: str, body: Any, read: Callable[[bytes], _Result]) -> _Result:
        reply = await self._at(path).ask(body, read)
        if isinstance(reply, Refusal):
            raise _of_refusal(self.name, path, reply.reason)
        return reply

    async def _got(self, path: str, read: Callable[[bytes], _Result], *, quick: bool = False) -> _Result:
        reply = await self._at(path, quick=quick).get(read)
        if isinstance(reply, Refusal):
            raise _of_refusal(self.name, path, reply.reason)
        return reply

    async def alive(self) -> bool:
        """Whether it answers within seconds."""
        return not isinstance(await self._at("/health", quick=True).get(lambda raw: True), Refusal)

    async def connect(self) -> None:
        """Learn its model's name, its limits and its number format.

        Raises:
            ServerError: it does not answer.
            ConfigError: it has no development endpoints, or not the model that was named.
        """
        models = await self._got("/v1/models", lambda raw: _field(raw, "data"))
        known = [str(model["id"]) for model in models]
        if self.config.model and self.config.model not in known:
            raise ConfigError(f"{self.name} does not serve this model", given=self.config.model, exists=known)
        self._model = self.config.model or known[0]
        self.window = next(model.get("max_model_len") for model in models if model["id"] == self._model)
        try:
            info = await self._got("/server_info?config_format=json", json.loads)
        except EngineError as error:
            raise ConfigError(
                f"{self.name} cannot be given weights: its development endpoints are off",
                given=error.what,
                hint=f"start it with: {START}",
            ) from error
        described = info["vllm_config"]["model_config"]
        self.format = str(described["dtype"]).removeprefix("torch.")
        self.logprobs_mode = str(described.get("logprobs_mode", ""))

    # as a copy --------------------------------------------------------------------------------------------------------
    def load(self, folder: Path, version: str) -> None:
        run_on("http", self._load(folder, version))

    async def _load(self, folder: Path, version: str) -> None:
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
        try:
            await self._asked("/collective_rpc", body, json.loads)
        except EngineError as error:
            raise ServerError(
                f"{self.name}: it did not read the weights: {error.what}",
                given=str(folder),
                hint="rollout.serving.folder=PATH, a folder that it sees under this very path",
            ) from error
        for path, content in (("/reset_prefix_cache", {}), ("/update_weight_version", {"new_version": version})):
            await self._asked(path, content, lambda raw: None)

    async def version(self) -> str:
        """The version it was last told; a server that was started anew does not know it."""
        return str(await self._got("/weight_info", lambda raw: _field(raw, "weight_version")))

    def score(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        scores: list[list[float]] = run_on("http", self._score(rows))
        return scores

    async def _score(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        body = {
            "model": self._model,
            "prompt": [list(row) for row in rows],
            "max_tokens": 1,
            "temperature": 1.0,
            "prompt_logprobs": 0,
        }
        return await self._asked("/v1/completions", body, lambda raw: _prompt_logps(raw, rows))

    def write(self, rows: Sequence[Sequence[int]], tokens: int) -> list[Written]:
        written: list[Written] = run_on("http", self._write(rows, tokens))
        return written

    async def _write(self, rows: Sequence[Sequence[int]], tokens: int) -> list[Written]:
        body = {
            "model": self._model,
            "prompt": [list(row) for row in rows],
            "max_tokens": tokens,
            "temperature": 1.0,
            "logprobs": 0,
            "return_token_ids": True,
            "ignore_eos": True,
        }
        return await self._asked("/v1/completions", body, lambda raw: _written(raw, len(rows), tokens, set()))

    def checksums(self) -> Mapping[str, str] | None:
        digests: Mapping[str, str] | None = run_on("http", self._checksums())
        return digests

    async def _checksums(self) -> Mapping[str, str] | None:
        reply = await self._at("/weight_checker").ask({"action": "checksum"}, lambda raw: _field(raw, "checksums"))
        return None if isinstance(reply, Refusal) else reply

    async def token_ids(self, text: str) -> list[int]:
        """Of a text, by the server's own tokenizer, without special tokens at its ends."""
        body = {"model": self._model, "prompt": text, "add_special_tokens": False}
        return await self._asked("/tokenize", body, lambda raw: list(_field(raw, "tokens")))

    # rollouts ---------------------------------------------------------------------------------------------------------
    async def complete(self, group: Group, sampling: SamplingConfig, stops: set[int]) -> list[Written]:
        """The completions of a group, whole: each ends with a stop token or at the limit.

        Raises:
            ServerError: it is gone, or answers something else.
        """
        body = {
            "model": self._model,
            "prompt": list(group.prompt),
            "n": len(group.places),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or -1,
            "logprobs": 0,
            "return_token_ids": True,
            "stop_token_ids": sorted(stops),
            "skip_special_tokens": False,
            **({} if group.seed is None else {"seed": group.seed}),
        }
        return await self._asked(
            "/v1/completions", body, lambda raw: _written(raw, len(group.places), sampling.max_new_tokens, stops)
        )

    @cached_property
    def _model(self) -> str:
        return self.config.model or ""


def _of_refusal(name: str, path: str, reason: str) -> EngineError:
    """An answer that says no to what was asked stops the run, since other servers would say the same; silence does not."""
    if reason.startswith("HTTP 4") and path.startswith("/v1/"):
        return EngineError(f"{name} refuses a request: {reason}", given=path)
    return ServerError(f"{name}: {reason}", given=path)


def _field(raw: bytes, name: str) -> Any:
    try:
        return json.loads(raw)[name]
    except (ValueError, KeyError, TypeError) as error:
        raise PassingError(f"a reply without {name}: {raw[:120]!r}") from error


def _prompt_logps(raw: bytes, rows: Sequence[Sequence[int]]) -> list[list[float]]:
    try:
        choices = json.loads(raw)["choices"]
        return [
            [
                float(known[str(token)]["logprob"])
                for token, known in zip(row[1:], choice["prompt_logprobs"][1:], strict=True)
            ]
            for row, choice in zip(rows, choices, strict=True)
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PassingError(f"a reply without the log-probabilities of the prompt: {raw[:120]!r}") from error


def _written(raw: bytes, count: int, most: int, stops: set[int]) -> list[Written]:
    """The completions of a reply. Raises PassingError where one is missing, cut short, too long or has no log-probabilities."""
    try:
        choices = sorted(json.loads(raw)["choices"], key=lambda choice: choice["index"])
        written = [
            (
                [int(token) for token in choice["token_ids"]],
                [float(value) for value in choice["logprobs"]["token_logprobs"]],
            )
            for choice in choices
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise PassingError(f"a reply that is no completion with token ids: {raw[:120]!r}") from error
    if len(written) != count:
        raise PassingError(f"{len(written)} completions where {count} were asked for")
    for ids, logps in written:
        if len(ids) != len(logps) or not 0 < len(ids) <= most or (len(ids) < most and ids[-1] not in stops):
            raise PassingError(
                f"a completion of {len(ids)} tokens with {len(logps)} log-probabilities that ends in {ids[-1:]}"
            )
        if not all(math.isfinite(value) for value in logps):
            raise PassingError("a log-probability that is no number")
    return written
