"""The wire of judges and `remote`: connections are kept, what is given up is cancelled, large replies are not taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rlllm.network.transport import Refusal, Server, in_parallel


class _Listening(ThreadingHTTPServer):
    request_queue_size = 64


class Peer:
    """A server that speaks HTTP/1.1 and counts connections; a body `"wait"` gets no reply until the client hangs up."""

    def __init__(self) -> None:
        self.connections, self.hung_up = 0, threading.Event()
        self.cookies: list[str | None] = []
        self.reply = b"[1]"
        self.http = _Listening(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                peer.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                peer.cookies.append(self.headers["Cookie"])
                if body == b'"wait"':
                    self.connection.settimeout(10)
                    self.connection.recv(1)
                    peer.hung_up.set()
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("Set-Cookie", "who=you")
                self.send_header("Content-Length", str(len(peer.reply)))
                self.end_headers()
                self.wfile.write(peer.reply)

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        return Handler


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    threading.Thread(target=peer.http.serve_forever, daemon=True).start()
    yield peer
    peer.http.shutdown()
    peer.http.server_close()


def asked(peer: Peer, bodies: list[str], parallel: int) -> list[Any]:
    server = Server(peer.url, timeout=10.0, retries=0)
    return in_parallel(lambda body: server.ask(body, lambda raw: raw), bodies, parallel)


def test_connections_are_kept_between_requests_and_between_batches(peer: Peer) -> None:
    assert asked(peer, ["a"] * 20, 2) == [b"[1]"] * 20
    assert asked(peer, ["b"] * 20, 2) == [b"[1]"] * 20
    assert peer.connections == 2


def test_as_many_requests_are_under_way_as_are_asked_for(peer: Peer) -> None:
    assert asked(peer, ["a"] * 40, 20) == [b"[1]"] * 40
    assert peer.connections <= 20


def test_a_failure_of_one_call_cancels_those_under_way(peer: Peer) -> None:
    server = Server(peer.url, timeout=10.0, retries=0)

    def read(raw: bytes) -> bytes:
        time.sleep(0.2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_parallel(lambda body: server.ask(body, read), ["wait", "a"], 2)
    assert peer.hung_up.wait(5)


def test_a_request_that_is_late_hangs_up(peer: Peer) -> None:
    server = Server(peer.url, timeout=0.2, retries=0)
    assert in_parallel(lambda body: server.ask(body, lambda raw: raw), ["wait"], 1) == [
        Refusal("no answer within 0.2 s")
    ]
    assert peer.hung_up.wait(5)


def test_no_cookie_is_sent_back(peer: Peer) -> None:
    asked(peer, ["a", "b"], 1)
    assert peer.cookies == [None, None]


def test_a_reply_that_is_too_large_is_refused(peer: Peer) -> None:
    peer.reply = b"x" * 16_000_001
    assert asked(peer, ["a"], 1) == [Refusal("a reply of more than 16 MB")]
