"""JSON over httpx, for whatever asks a server: a deadline for each whole request, and retries.

Requests are awaited on one event loop, over connections that are kept between them; HTTP/2 is spoken where the package `h2` is
installed and the server offers it. The key comes from an environment variable, and is never written down, shown, or carried
along: redirects are not followed, and cookies are not kept. A request without a reply gives a `Refusal`, never an empty reply,
so that a failure cannot pass for an answer.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from rlllm.core.addresses import refuse_keys_in_addresses
from rlllm.core.errors import ConfigError, describe
from rlllm.core.redaction import remember, without_keys
from rlllm.network.event_loop import run_on

if TYPE_CHECKING:
    import ssl

    import httpx2

_LONGEST_PAUSE = 60.0
"""Seconds; also the most that a server's Retry-After is obeyed."""
_LARGEST_REPLY = 16_000_000
"""Bytes."""
_SHOWN = 2000
"""Bytes of an error's text that are read."""
_SHARE = 8
"""Requests under way in one client."""
_RETRIED = {408, 409, 425, 429}

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Refusal:
    """No reply, and why."""

    reason: str


class _FinalError(Exception):
    """An answer of the server that asking again will not change."""


class PassingError(Exception):
    """A failure that asking again may mend; `pause` is what the server asked for, in seconds."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True)
class Server:
    """Where to post to, and how patiently.

    Args:
        address: http or https URL.
        key_env: environment variable that holds the key; None sends none.
        timeout: seconds one request may take, from connecting to the last byte.
        retries: further attempts after an error that may pass: no connection, silence, 408, 409, 425, 429, 5xx, or a
            reply that `read` finds misshapen.
        backoff: seconds before the first retry, doubled before each further one.

    Raises:
        ConfigError: a URL that is not http(s) or holds a password, or a key variable that is not set.
    """

    address: str
    key_env: str | None = None
    timeout: float = 60.0
    retries: int = 3
    backoff: float = 1.0

    def __post_init__(self) -> None:
        if not _is_address(self.address):
            raise ConfigError(
                "an endpoint is an http or https URL", given=self.address, hint="http://localhost:8000/v1"
            )
        refuse_keys_in_addresses(self.address)
        if self.key_env and not os.environ.get(self.key_env):
            raise ConfigError(
                f"the environment variable {self.key_env} is not set",
                given=f"key_env: {self.key_env}",
                hint=f"export {self.key_env}=... or leave key_env out",
            )
        if self.key_env and not _fits_a_header(self._secret):  # else the client shows the key in its own error
            raise ConfigError(
                f"the environment variable {self.key_env} holds characters that no HTTP header may have",
                given=f"key_env: {self.key_env}",
                hint="a key is one line of ASCII text; its value is not shown here",
            )
        remember(self._secret)  # a server may repeat it in its reply

    async def ask(self, body: Any, read: Callable[[bytes], _Result]) -> _Result | Refusal:
        """Post JSON; the first success of `retries + 1` attempts, or the last failure in words.

        Args:
            body: what `json.dumps` takes.
            read: takes the reply apart; raises PassingError where it is none of the expected shape.
        """
        return await self._tried("POST", json.dumps(body).encode(), read)

    async def get(self, read: Callable[[bytes], _Result]) -> _Result | Refusal:
        """Get the address; the first success of `retries + 1` attempts, or the last failure in words. `read` as for `ask`."""
        return await self._tried("GET", None, read)

    async def _tried(self, verb: str, content: bytes | None, read: Callable[[bytes], _Result]) -> _Result | Refusal:
        reason = ""
        for attempt in range(self.retries + 1):
            try:
                return read(await self._send(verb, content))
            except _FinalError as error:
                return Refusal(str(error))
            except PassingError as error:
                reason = str(error)
                if attempt < self.retries:
                    await asyncio.sleep(min(max(self.backoff * 2**attempt, error.pause), _LONGEST_PAUSE))
        return Refusal(f"{reason} (asked {self.retries + 1} times)" if self.retries else reason)

    async def _send(self, verb: str, content: bytes | None) -> bytes:
        import httpx2

        headers = {"Accept": "application/json"} | ({} if content is None else {"Content-Type": "application/json"})
        if self.key_env:
            headers["Authorization"] = f"Bearer {self._secret}"
        try:
            async with asyncio.timeout(self.timeout):
                with _clients(os.getpid()).one() as client:
                    async with client.stream(verb, self.address, content=content, headers=headers) as response:
                        if not response.is_success:
                            raise await _of_status(response)
                        return await _limited(response)
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise PassingError(f"no answer within {self.timeout:g} s") from error
        except (OSError, httpx2.HTTPError, httpx2.StreamError) as error:
            raise PassingError(_words(error)) from error

    @property
    def _secret(self) -> str:
        return os.environ.get(self.key_env or "", "").strip()


def in_parallel(
    function: Callable[[_Item], Awaitable[_Result]], items: Sequence[_Item], parallel: int
) -> list[_Result]:
    """`function` of every item, at most `parallel` at once, in order.

    Ctrl-C and the end of the process need not sit out a server's silence: what is under way is cancelled, and its connection
    closed. The first exception of a call is raised; what was not begun by then is not begun.
    """

    async def every() -> list[_Result]:
        gate = asyncio.Semaphore(parallel)

        async def gated(item: _Item) -> _Result:
            async with gate:
                return await function(item)

        tasks = [asyncio.ensure_future(gated(item)) for item in items]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    results: list[_Result] = run_on("http", every()) if items else []
    return results


class _Clients:
    """The connections of this process, in clients that each have few requests under way.

    The pool inside a client looks at all of its connections whenever a request begins or ends, so that 256 in one client cost
    several times as much as 256 in small ones. Used on one event loop only, hence without a lock.
    """

    def __init__(self) -> None:
        self._under_way: dict[httpx2.AsyncClient, int] = {}

    @contextmanager
    def one(self) -> Iterator[httpx2.AsyncClient]:
        """A client for one request: the first that has room, so that connections that are open are used again."""
        client = next((client for client, count in self._under_way.items() if count < _SHARE), None) or self._new()
        self._under_way[client] += 1
        try:
            yield client
        finally:
            self._under_way[client] -= 1

    def _new(self) -> httpx2.AsyncClient:
        import httpx2

        client = httpx2.AsyncClient(
            timeout=None,
            http2=find_spec("h2") is not None,
            verify=_certificates(),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        self._under_way[client] = 0
        return client


@cache
def _clients(_process_id: int) -> _Clients:
    """Those of this process; a fork opens its own."""
    return _Clients()


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust over TLS, read once for all clients."""
    import httpx2

    return httpx2.create_ssl_context()


async def _limited(response: httpx2.Response) -> bytes:
    """The body. Raises `_FinalError` for one that is too large, without reading it to its end."""
    parts, size = [], 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > _LARGEST_REPLY:
            raise _FinalError(f"a reply of more than {_LARGEST_REPLY // 10**6} MB")
    return b"".join(parts)


def _is_address(url: str) -> bool:
    """Whether this is an http(s) URL that can be sent as it stands: a host, a numeric port, no blanks, ASCII only."""
    try:
        parts = urlsplit(url)
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no number
        return False
    return is_http and url.isascii() and not any(character <= " " for character in url)


def _fits_a_header(key: str) -> bool:
    return key.isascii() and key.isprintable()


async def _of_status(response: httpx2.Response) -> Exception:
    """An HTTP error as one that may pass, or not."""
    import httpx2

    raw = b""
    try:
        async for part in response.aiter_bytes():
            raw += part
            if len(raw) > _SHOWN:
                break
    except httpx2.HTTPError:
        raw = raw[:_SHOWN]
    text = without_keys(" ".join(raw[:_SHOWN].decode("utf-8", "replace").split()))[:200]
    reason = f"HTTP {response.status_code}" + (f": {text}" if text else "")
    if response.status_code >= 500 or response.status_code in _RETRIED:
        return PassingError(reason, _seconds(response.headers.get("Retry-After")))
    return _FinalError(reason)


def _seconds(header: str | None) -> float:
    """Retry-After where it is a number of seconds; its other form, a date, is left to the backoff."""
    return float(header) if header and header.strip().isdecimal() else 0.0


def _words(error: BaseException) -> str:
    """The innermost cause in words: httpx names a failed connection without saying why."""
    while (cause := error.__cause__ or error.__context__) is not None and isinstance(cause, Exception):
        error = cause
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return f"{type(error).__name__}: {os.strerror(error.errno or 0)}"
    return describe(error)
