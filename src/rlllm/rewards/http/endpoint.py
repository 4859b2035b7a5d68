"""An OpenAI-compatible chat endpoint: parallel requests, retries, and an optional cache on disk.

A prompt for which the endpoint failed gets a `Refusal`, never an empty reply, so that a failure cannot pass for an answer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError, DataError, RewardError, describe
from rlllm.core.records import fingerprint
from rlllm.core.runs import append_jsonl, read_jsonl
from rlllm.network.transport import PassingError, Refusal, Server, in_parallel

_PATH = "/chat/completions"

Reply = str | Refusal


@dataclass(frozen=True)
class Endpoint:
    """A chat model behind a URL.

    Args:
        url: base such as `http://localhost:8000/v1`; `/chat/completions` is added where it is missing.
        model: the model's name at that endpoint.
        key_env: environment variable that holds the key; None sends none.
        timeout: seconds one request may take.
        retries: further attempts after an error that may pass: no connection, silence, 408, 409, 425, 429, 5xx, or a
            reply that is no JSON of the expected shape.
        backoff: seconds before the first retry, doubled before each further one.
        parallel: requests under way at once.
        max_new_tokens: length limit of a reply.
        temperature: 0 asks for the likeliest reply.
        cache: JSON-lines file of replies, read at the start and added to; a prompt found there is not asked again.

    Raises:
        ConfigError: a URL that is not http(s), a number out of range, or a key variable that is not set.
    """

    url: str
    model: str
    key_env: str | None = None
    timeout: float = 60.0
    retries: int = 3
    backoff: float = 1.0
    parallel: int = 8
    max_new_tokens: int = 256
    temperature: float = 0.0
    cache: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _ = self._server  # its settings are checked before anything is asked
        if not self.model:
            raise ConfigError("the endpoint needs the model's name", given=self.url, hint="model: NAME")
        if self.timeout <= 0 or self.retries < 0 or self.backoff < 0 or self.parallel < 1 or self.max_new_tokens < 1:
            raise ConfigError(
                "timeout, parallel and max_new_tokens must be positive, retries and backoff not negative",
                given=f"{self.timeout}, {self.parallel}, {self.max_new_tokens}, {self.retries}, {self.backoff}",
            )

    def complete(self, prompts: Sequence[str]) -> list[Reply]:
        """One reply for each prompt, in order; equal prompts are asked once.

        Raises:
            RewardError: the endpoint gave not one reply.
        """
        wanted = [prompt for prompt in dict.fromkeys(prompts) if self._key(prompt) not in self._known]
        fresh = dict(zip(wanted, in_parallel(self._ask, wanted, self.parallel), strict=True))
        replies = [fresh[prompt] if prompt in fresh else self._known[self._key(prompt)] for prompt in prompts]
        refused = [reply for reply in replies if isinstance(reply, Refusal)]
        if refused and len(refused) == len(replies):
            raise RewardError(
                f"the judge's endpoint gave no reply to any of {len(replies)} prompts: {refused[0].reason}",
                given=f"{self._address}, model {self.model}",
                hint="check the URL, the model's name and the key; raise timeout or retries if it is merely slow",
            )
        return replies

    async def _ask(self, prompt: str) -> Reply:
        reply = await self._server.ask(self._body(prompt), _content)
        if isinstance(reply, str):
            self._remember(prompt, reply)
        return reply

    def _body(self, prompt: str) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self.temperature,
            "max_tokens": self.max_new_tokens,
        }

    @cached_property
    def _server(self) -> Server:
        return Server(self._address, self.key_env, self.timeout, self.retries, self.backoff)

    @property
    def _address(self) -> str:
        base = self.url.rstrip("/")
        return base if base.endswith(_PATH) else base + _PATH

    def _key(self, prompt: str) -> str:
        return fingerprint([self._address, self._body(prompt)])

    def _remember(self, prompt: str, reply: str) -> None:
        with self._lock:
            if self.cache:
                self._known[self._key(prompt)] = reply
                row = {"key": self._key(prompt), "model": self.model, "reply": reply}
                try:
                    append_jsonl(Path(self.cache), [row])
                except OSError as error:
                    raise DataError(f"the judge's cache cannot be written: {error}", given=self.cache) from error

    @cached_property
    def _known(self) -> dict[str, str]:
        """Replies of the cache file by key; empty without one."""
        if not self.cache:
            return {}
        path = Path(self.cache)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _drop_torn_line(path)
            return {str(row["key"]): str(row["reply"]) for row in read_jsonl(path)}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"the judge's cache cannot be read: {describe(error)}",
                given=path,
                hint="name another file, or remove it",
            ) from error


def _drop_torn_line(path: Path) -> None:
    """Cut off a last line that a kill left unfinished, or the next reply would be written into it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def _content(raw: bytes) -> str:
    try:
        content = json.loads(raw)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise PassingError(f"a reply that is no chat completion: {raw[:120]!r}") from error
    if not isinstance(content, str):
        raise PassingError(f"a chat completion without text: {raw[:120]!r}")
    return content
