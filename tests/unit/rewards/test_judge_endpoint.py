"""The endpoint client against a real HTTP server in this process: success, failures that pass, and failures that stay."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError, RewardError
from rlllm.core.records import Sample
from rlllm.network.transport import PassingError, _seconds
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.http.endpoint import Endpoint, Refusal, _content
from rlllm.rewards.judges.judge import Judge

Answer = Callable[[dict[str, Any]], tuple[int, Any]]


class Server:
    """A chat endpoint that answers as told; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Answer = says("Fine.\nScore: 10")
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append({"path": self.path, **body})
                server.headers.append(dict(self.headers))
                status, content = server.answer(body)
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(raw)))
                    if status == 302:
                        self.send_header("Location", f"{server.url}/elsewhere")
                    self.end_headers()
                    self.wfile.write(raw)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                self.close_connection = True

        return Handler


def says(text: str) -> Answer:
    return lambda body: (200, {"choices": [{"message": {"role": "assistant", "content": text}}]})


def in_turn(*answers: Answer) -> Answer:
    """One answer after the other, the last one for ever."""
    left = list(answers)
    return lambda body: (left.pop(0) if len(left) > 1 else left[0])(body)


def status(code: int, content: Any = b"no") -> Answer:
    return lambda body: (code, content)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "*")
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()


def client(server: Server, **settings: Any) -> Endpoint:
    return Endpoint(server.url, "judge-1", **{"backoff": 0.01, "timeout": 5.0, **settings})


def test_a_prompt_is_sent_in_the_shape_of_the_chat_api_and_its_reply_comes_back(server: Server) -> None:
    server.answer = says("hello")
    assert client(server, max_new_tokens=7).complete(["q"]) == ["hello"]
    message = [{"role": "user", "content": "q"}]
    asked = {
        "path": "/v1/chat/completions",
        "model": "judge-1",
        "messages": message,
        "temperature": 0.0,
        "max_tokens": 7,
    }
    assert server.asked == [asked]
    assert "Authorization" not in server.headers[0]


def test_replies_come_in_the_order_of_the_prompts_and_equal_prompts_are_asked_once(server: Server) -> None:
    def echo(body: dict[str, Any]) -> tuple[int, Any]:
        text = body["messages"][0]["content"]
        time.sleep(0.02 * (text == "0"))
        return says(text)(body)

    server.answer = echo
    prompts = [str(number % 6) for number in range(12)]
    assert client(server, parallel=4).complete(prompts) == prompts
    assert len(server.asked) == 6


PASSING: list[tuple[str, Answer]] = [
    ("a server error", status(500)),
    ("too many requests", status(429)),
    ("malformed JSON", status(200, b"<html>busy</html>")),
    ("no choices", status(200, {"choices": []})),
    ("no text", status(200, {"choices": [{"message": {"content": None}}]})),
]


@pytest.mark.parametrize(("what", "failure"), PASSING)
def test_a_failure_that_may_pass_is_asked_again(server: Server, what: str, failure: Answer) -> None:
    server.answer = in_turn(failure, failure, says("at last"))
    assert client(server, retries=2).complete([what]) == ["at last"]
    assert len(server.asked) == 3


LASTING: list[tuple[Answer, int, str]] = [
    (status(500, b"overloaded"), 3, "HTTP 500: overloaded (asked 3 times)"),
    (status(200, b"{"), 3, "a reply that is no chat completion: b'{' (asked 3 times)"),
    (status(401, b"bad key"), 1, "HTTP 401: bad key"),
    (status(404), 1, "HTTP 404: no"),
    (status(302), 1, "HTTP 302: no"),
]


@pytest.mark.parametrize(("failure", "requests", "reason"), LASTING)
def test_a_failure_that_stays_is_named_with_the_endpoint(
    server: Server, failure: Answer, requests: int, reason: str
) -> None:
    server.answer = failure
    with pytest.raises(RewardError) as caught:
        client(server, retries=2).complete(["q"])
    assert caught.value.what == f"the judge's endpoint gave no reply to any of 1 prompts: {reason}"
    assert str(caught.value.given) == f"{server.url}/chat/completions, model judge-1"
    assert len(server.asked) == requests


def test_silence_is_a_failure_after_the_timeout(server: Server) -> None:
    def silent(body: dict[str, Any]) -> tuple[int, Any]:
        time.sleep(0.5)
        return says("too late")(body)

    server.answer = in_turn(silent, says("in time"))
    assert client(server, timeout=0.1, retries=1).complete(["q"]) == ["in time"]
    server.answer = silent
    with pytest.raises(RewardError, match=r"no answer within 0.1 s"):
        client(server, timeout=0.1, retries=0).complete(["q"])


def test_an_endpoint_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(RewardError, match="Connection refused"):
        Endpoint("http://127.0.0.1:9/v1", "m", retries=1, backoff=0.0).complete(["q"])


def test_one_failure_among_successes_is_a_refusal_and_not_an_empty_reply(server: Server) -> None:
    server.answer = lambda body: (status(400, b"too long") if body["messages"][0]["content"] == "b" else says("ok"))(
        body
    )
    assert client(server).complete(["a", "b"]) == ["ok", Refusal("HTTP 400: too long")]


def test_the_key_comes_from_the_environment_and_is_in_no_message(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "s3cret")
    endpoint = client(server, key_env="JUDGE_KEY", retries=0)
    endpoint.complete(["q"])
    assert server.headers[0]["Authorization"] == "Bearer s3cret"
    server.answer = status(401)
    with pytest.raises(RewardError) as caught:
        endpoint.complete(["other"])
    assert "s3cret" not in str(caught.value) + repr(endpoint)


def test_a_cache_file_answers_in_place_of_the_endpoint(server: Server, tmp_path: Path) -> None:
    cache = tmp_path / "sub" / "replies.jsonl"
    server.answer = says("once")
    assert client(server, cache=str(cache)).complete(["q", "r"]) == ["once", "once"]
    server.answer = says("twice")
    assert client(server, cache=str(cache)).complete(["r", "s"]) == ["once", "twice"]
    assert len(server.asked) == 3
    assert client(server, cache=str(cache), temperature=1.0).complete(["q"]) == ["twice"]


def test_failures_are_not_cached(server: Server, tmp_path: Path) -> None:
    cache = str(tmp_path / "replies.jsonl")
    server.answer = status(400)
    with pytest.raises(RewardError):
        client(server, cache=cache).complete(["q"])
    server.answer = says("now")
    assert client(server, cache=cache).complete(["q"]) == ["now"]


def test_a_broken_cache_file_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "replies.jsonl").write_text("no json\n")
    with pytest.raises(DataError, match="the judge's cache cannot be read"):
        client(server, cache=str(tmp_path / "replies.jsonl")).complete(["q"])


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"url": "file:///etc/passwd", "model": "m"}, "an endpoint is an http or https URL"),
    ({"url": "localhost:8000", "model": "m"}, "an endpoint is an http or https URL"),
    ({"url": "http://h/v1", "model": ""}, "the endpoint needs the model's name"),
    ({"url": "http://h/v1", "model": "m", "timeout": 0}, "timeout, parallel and max_new_tokens must be positive"),
    ({"url": "http://h/v1", "model": "m", "retries": -1}, "timeout, parallel and max_new_tokens must be positive"),
    ({"url": "http://h/v1", "model": "m", "key_env": "NO_SUCH_KEY"}, "the environment variable NO_SUCH_KEY is not set"),
]


@pytest.mark.parametrize(("settings", "words"), WRONG)
def test_wrong_settings_fail_before_anything_is_sent(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Endpoint(**settings)


def test_the_judge_reward_rates_through_the_endpoint(server: Server) -> None:
    replies = {"good": "Right.\nScore: 10", "bad": "Wrong.\nScore: 1", "odd": "I cannot say."}
    server.answer = lambda body: says(next(r for k, r in replies.items() if k in body["messages"][0]["content"]))(body)
    judge = build([RewardSpec(name="judge", params={"endpoint": server.url, "model": "m", "backoff": 0.0})])
    scores = judge.score([Sample("q", text) for text in replies])
    assert scores.values == [[1.0, 0.0, None]]
    assert scores.describe(2)["judge"]["note"] == "no readable score: I cannot say."
    assert scores.errors == []


def test_a_refused_sample_is_none_with_a_note_and_never_0(server: Server) -> None:
    server.answer = lambda body: (status(400) if "bad" in body["messages"][0]["content"] else says("Score: 4"))(body)
    scores = Judge(endpoint=server.url, model="m").score_batch([Sample("q", "bad"), Sample("q", "good")])
    assert [(score.value, score.note) for score in scores] == [
        (None, "HTTP 400: no"),
        (pytest.approx(1 / 3), "Score: 4"),
    ]


def test_a_dead_endpoint_stops_the_run_by_name(server: Server) -> None:
    server.answer = status(503)
    judge = build([RewardSpec(name="judge", params={"endpoint": server.url, "model": "m", "retries": 0})])
    with pytest.raises(RewardError, match="gave no reply to any of 2 prompts: HTTP 503"):
        judge.score([Sample("q", "one"), Sample("q", "two")])


def test_a_line_that_a_kill_cut_short_does_not_spoil_the_cache(server: Server, tmp_path: Path) -> None:
    cache = tmp_path / "replies.jsonl"
    client(server, cache=str(cache)).complete(["one"])
    with cache.open("a", encoding="utf-8") as file:
        file.write('{"key": "torn')
    for prompts in (["two"], ["one", "two"]):
        client(server, cache=str(cache)).complete(prompts)
    assert len(server.asked) == 2


@pytest.mark.parametrize("key", ["sk-SECRET\nand more", "sk-SECRET\u2192"])
def test_a_key_that_no_header_may_hold_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", key)
    with pytest.raises(ConfigError) as caught:
        Endpoint("http://127.0.0.1:1", "m", key_env="JUDGE_KEY")
    assert "SECRET" not in str(caught.value)


def test_blanks_around_a_key_are_not_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-1\n")
    client(server, key_env="JUDGE_KEY").complete(["q"])
    assert server.headers[0]["Authorization"] == "Bearer sk-1"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:port/v1", "http://[::1/v1", "http://127.0.0.1/v\u00fc", "http://a b/v1", "http://:80/v1"]
)
def test_what_cannot_be_sent_is_no_address(url: str) -> None:
    with pytest.raises(ConfigError, match="http or https URL"):
        Endpoint(url, "m")


def test_a_reply_nested_without_end_may_be_asked_for_again() -> None:
    with pytest.raises(PassingError, match="no chat completion"):
        _content(b"[" * 100_000)


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("\u00b2", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), (None, 0.0)]
)
def test_a_pause_that_is_no_number_of_seconds_is_none(header: str | None, seconds: float) -> None:
    assert _seconds(header) == seconds
