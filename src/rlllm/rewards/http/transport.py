"""POST of JSON over the standard library, for rewards that ask a server: a deadline for each whole request, and retries.

The key comes from an environment variable, and is never written down, shown, or carried along: redirects are not followed.
A request without a reply gives a `Refusal`, never an empty reply, so that a failure cannot pass for an answer.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from rlllm.core.errors import ConfigError, describe

_LONGEST_PAUSE = 60.0
"""Seconds; also the most that a server's Retry-After is obeyed."""
_LARGEST_REPLY = 16_000_000
"""Bytes."""
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
        if "@" in urlsplit(self.address).netloc:
            raise ConfigError(
                "a URL with a user name or password is shown in logs and reports",
                given=urlsplit(self.address).hostname,
                hint="put the key into an environment variable, and name that with key_env",
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

    def ask(self, body: Any, read: Callable[[bytes], _Result]) -> _Result | Refusal:
        """Post JSON; the first success of `retries + 1` attempts, or the last failure in words.

        Args:
            body: what `json.dumps` takes.
            read: takes the reply apart; raises PassingError where it is none of the expected shape.
        """
        content, reason = json.dumps(body).encode(), ""
        for attempt in range(self.retries + 1):
            try:
                return read(self._post(content))
            except _FinalError as error:
                return Refusal(str(error))
            except PassingError as error:
                reason = str(error)
                if attempt < self.retries:
                    time.sleep(min(max(self.backoff * 2**attempt, error.pause), _LONGEST_PAUSE))
        return Refusal(f"{reason} (asked {self.retries + 1} times)" if self.retries else reason)

    def _post(self, content: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key_env:
            headers["Authorization"] = f"Bearer {self._secret}"
        request = urllib.request.Request(self.address, content, headers, method="POST")
        late = PassingError(f"no answer within {self.timeout:g} s")
        with _Clock(self.timeout) as clock:
            opener = urllib.request.build_opener(_NoRedirect, _Http(clock), _Https(clock))
            try:
                with opener.open(request, timeout=self.timeout) as response:
                    raw: bytes = response.read(_LARGEST_REPLY + 1)
            except urllib.error.HTTPError as error:
                raise _of_status(error) from error
            except TimeoutError as error:
                raise late from error
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                silent = isinstance(reason, TimeoutError) or clock.expired
                raise late if silent else PassingError(_words(reason)) from error
            if clock.expired:
                raise late
        if len(raw) > _LARGEST_REPLY:
            raise _FinalError(f"a reply of more than {_LARGEST_REPLY // 10**6} MB")
        return raw

    @property
    def _secret(self) -> str:
        return os.environ.get(self.key_env or "", "").strip()


def in_parallel(function: Callable[[_Item], _Result], items: Sequence[_Item], parallel: int) -> list[_Result]:
    """`function` of every item, at most `parallel` at once, in order.

    Daemon threads, and not an executor's, which would be waited for: Ctrl-C and the end of the process need not sit out a
    server's silence. The first exception of a call is raised; what was not begun by then is not begun.
    """
    results: dict[int, _Result] = {}
    errors: list[BaseException] = []
    waiting = iter(enumerate(items))
    lock, stop = threading.Lock(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            with lock:
                number, item = next(waiting, (-1, None))
            if number < 0:
                return
            try:
                results[number] = function(item)  # type: ignore[arg-type]
            except BaseException as error:
                errors.append(error)
                stop.set()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(parallel, len(items)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        stop.set()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(items))]


class _Clock:
    """Ends a request that takes too long as a whole: a socket's own timeout begins anew with every byte that trickles in."""

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> _Clock:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, connected: socket.socket) -> None:
        self._sockets.append(connected)
        if self.expired:
            self._expire()

    def _expire(self) -> None:
        self.expired = True
        for connected in self._sockets:
            try:
                connected.shutdown(socket.SHUT_RDWR)
            except OSError:  # closed already
                continue


class _Watched(http.client.HTTPConnection):
    """A connection that the clock can cut."""

    def __init__(self, *args: Any, clock: _Clock, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._clock = clock

    def connect(self) -> None:
        super().connect()
        self._clock.watch(self.sock)


class _WatchedSafely(_Watched, http.client.HTTPSConnection):
    """The same over TLS."""


class _Http(urllib.request.HTTPHandler):
    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._connect: Any = partial(_Watched, clock=clock)

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._connect: Any = partial(_WatchedSafely, clock=clock)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, request)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


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


def _of_status(error: urllib.error.HTTPError) -> Exception:
    """An HTTP error as one that may pass, or not."""
    try:
        text = " ".join(error.read(2000).decode("utf-8", "replace").split())[:200]
    except (OSError, http.client.HTTPException):
        text = ""
    reason = f"HTTP {error.code}" + (f": {text}" if text else "")
    if error.code >= 500 or error.code in _RETRIED:
        return PassingError(reason, _seconds(error.headers.get("Retry-After")))
    return _FinalError(reason)


def _seconds(header: str | None) -> float:
    """Retry-After where it is a number of seconds; its other form, a date, is left to the backoff."""
    return float(header) if header and header.strip().isdecimal() else 0.0


def _words(reason: object) -> str:
    return describe(reason) if isinstance(reason, BaseException) else str(reason)
