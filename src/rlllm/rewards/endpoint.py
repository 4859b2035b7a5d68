"""An OpenAI-compatible chat endpoint over the standard library: parallel requests, retries, and an optional cache on disk.

A prompt the endpoint failed on is a `Refusal`, never an empty reply: whoever asked must see that nothing was said. The key
comes from an environment variable, and is never written down, shown, or carried along by a redirect.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rlllm.core.errors import ConfigError, DataError, RewardError
from rlllm.core.records import fingerprint
from rlllm.core.registry import describe
from rlllm.core.runs import append_jsonl, read_jsonl

LONGEST_PAUSE = 60.0
"""Seconds; also the most that a server's Retry-After is obeyed."""
LARGEST_REPLY = 16_000_000
_RETRIED = {408, 409, 425, 429}
_PATH = "/chat/completions"


@dataclass(frozen=True, slots=True)
class Refusal:
    """No reply, and why."""

    reason: str


Reply = str | Refusal


class _FinalError(Exception):
    """An answer of the server that asking again will not change."""


class _PassingError(Exception):
    """A failure that asking again may mend; `pause` is what the server asked for, in seconds."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class Endpoint:
    """A chat model behind a URL.

    Args:
        url: base such as `http://localhost:8000/v1`; `/chat/completions` is added where it is missing.
        model: the model's name at that endpoint.
        key_env: environment variable that holds the key; None sends none.
        timeout: seconds a connection may stay silent.
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
        if not _is_address(self.url):
            raise ConfigError("an endpoint is an http or https URL", given=self.url, hint="http://localhost:8000/v1")
        if not self.model:
            raise ConfigError("the endpoint needs the model's name", given=self.url, hint="model: NAME")
        if self.timeout <= 0 or self.retries < 0 or self.backoff < 0 or self.parallel < 1 or self.max_new_tokens < 1:
            raise ConfigError(
                "timeout, parallel and max_new_tokens must be positive, retries and backoff not negative",
                given=f"{self.timeout}, {self.parallel}, {self.max_new_tokens}, {self.retries}, {self.backoff}",
            )
        if self.key_env and not os.environ.get(self.key_env):
            raise ConfigError(
                f"the environment variable {self.key_env} is not set",
                given=f"key_env: {self.key_env}",
                hint=f"export {self.key_env}=... or leave key_env out",
            )
        if self.key_env and not _fits_a_header(self._secret):  # else http.client shows the key in its own error
            raise ConfigError(
                f"the environment variable {self.key_env} holds characters that no HTTP header may have",
                given=f"key_env: {self.key_env}",
                hint="a key is one line of ASCII text; its value is not shown here",
            )

    def complete(self, prompts: Sequence[str]) -> list[Reply]:
        """One reply for each prompt, in order; equal prompts are asked once.

        Raises:
            RewardError: the endpoint gave not one reply.
        """
        wanted = [prompt for prompt in dict.fromkeys(prompts) if self._key(prompt) not in self._known]
        with ThreadPoolExecutor(max_workers=self.parallel) as pool:
            fresh = dict(zip(wanted, pool.map(self._ask, wanted), strict=True))
        replies = [fresh[prompt] if prompt in fresh else self._known[self._key(prompt)] for prompt in prompts]
        refused = [reply for reply in replies if isinstance(reply, Refusal)]
        if refused and len(refused) == len(replies):
            raise RewardError(
                f"the judge's endpoint gave no reply to any of {len(replies)} prompts: {refused[0].reason}",
                given=f"{self._address}, model {self.model}",
                hint="check the URL, the model's name and the key; raise timeout or retries if it is merely slow",
            )
        return replies

    def _ask(self, prompt: str) -> Reply:
        reply = _persistently(lambda: self._request(prompt), self.retries, self.backoff)
        if isinstance(reply, str):
            self._remember(prompt, reply)
        return reply

    def _request(self, prompt: str) -> str:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key_env:
            headers["Authorization"] = f"Bearer {self._secret}"
        request = urllib.request.Request(self._address, json.dumps(self._body(prompt)).encode(), headers, method="POST")
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self.timeout) as response:
                raw = response.read(LARGEST_REPLY)
        except urllib.error.HTTPError as error:
            raise _of_status(error) from error
        except TimeoutError as error:
            raise _PassingError(f"no answer within {self.timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            silent = isinstance(reason, TimeoutError)
            raise _PassingError(f"no answer within {self.timeout:g} s" if silent else _words(reason)) from error
        return _content(raw)

    def _body(self, prompt: str) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self.temperature,
            "max_tokens": self.max_new_tokens,
        }

    @property
    def _secret(self) -> str:
        return os.environ.get(self.key_env or "", "").strip()

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


def _is_address(url: str) -> bool:
    """Whether this is an http(s) URL that can be sent as it stands: a host, a numeric port, no blanks, ASCII only."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no number
        return False
    return known and url.isascii() and not any(character <= " " for character in url)


def _fits_a_header(key: str) -> bool:
    return key.isascii() and key.isprintable()


def _drop_torn_line(path: Path) -> None:
    """Cut off a last line that a kill left unfinished, or the next reply would be written into it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def _persistently(request: Callable[[], str], retries: int, backoff: float) -> Reply:
    """The first success of `retries + 1` attempts, or the last failure in words."""
    reason = ""
    for attempt in range(retries + 1):
        try:
            return request()
        except _FinalError as error:
            return Refusal(str(error))
        except _PassingError as error:
            reason = str(error)
            if attempt < retries:
                time.sleep(min(max(backoff * 2**attempt, error.pause), LONGEST_PAUSE))
    return Refusal(f"{reason} (asked {retries + 1} times)" if retries else reason)


def _of_status(error: urllib.error.HTTPError) -> Exception:
    """An HTTP error as one that may pass, or not."""
    try:
        text = " ".join(error.read(2000).decode("utf-8", "replace").split())[:200]
    except OSError:
        text = ""
    reason = f"HTTP {error.code}" + (f": {text}" if text else "")
    if error.code >= 500 or error.code in _RETRIED:
        return _PassingError(reason, _seconds(error.headers.get("Retry-After")))
    return _FinalError(reason)


def _seconds(header: str | None) -> float:
    """Retry-After where it is a number of seconds; its other form, a date, is left to the backoff."""
    return float(header) if header and header.strip().isdigit() else 0.0


def _content(raw: bytes) -> str:
    try:
        content = json.loads(raw)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise _PassingError(f"a reply that is no chat completion: {raw[:120]!r}") from error
    if not isinstance(content, str):
        raise _PassingError(f"a chat completion without text: {raw[:120]!r}")
    return content


def _words(reason: object) -> str:
    return describe(reason) if isinstance(reason, BaseException) else str(reason)
