"""The `remote` reward against a real HTTP server in this process: the protocol, failures that pass, and failures that stay."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, RewardError
from rlllm.core.records import Sample
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.http.remote import Remote
from rlllm.rewards.score_parsing import Failure

Answer = Callable[[dict[str, Any]], tuple[int, Any]]


class Scorer:
    """A scoring server that answers as told; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Answer = lengths
        self.pause = 0.0
        """Seconds before each byte of a reply, headers included."""
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/score"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scorer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                scorer.asked.append(body["samples"])
                scorer.headers.append(dict(self.headers))
                status, content = scorer.answer(body)
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                location = b"Location: http://127.0.0.1:9/elsewhere\r\n" if status == 302 else b""
                head = b"HTTP/1.0 %d .\r\nContent-Length: %d\r\n%s\r\n" % (status, len(raw), location)
                try:
                    if scorer.pause:
                        for byte in head + raw:
                            time.sleep(scorer.pause)
                            self.wfile.write(bytes([byte]))
                    else:
                        self.wfile.write(head + raw)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                self.close_connection = True

        return Handler


def lengths(body: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"scores": [len(sample["completion"]) for sample in body["samples"]]}


def in_turn(*answers: Answer) -> Answer:
    """One answer after the other, the last one for ever."""
    left = list(answers)
    return lambda body: (left.pop(0) if len(left) > 1 else left[0])(body)


def replies(content: Any, status: int = 200) -> Answer:
    return lambda body: (status, content)


def silent(body: dict[str, Any]) -> tuple[int, Any]:
    time.sleep(1.0)
    return lengths(body)


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scorer]:
    monkeypatch.setenv("NO_PROXY", "*")
    scorer = Scorer()
    threading.Thread(target=scorer.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield scorer
    scorer.http.shutdown()
    scorer.http.server_close()


def client(scorer: Scorer, **settings: Any) -> Remote:
    return Remote(scorer.url, **{"backoff": 0.01, "timeout": 5.0, "retries": 0, **settings})


def samples(*completions: str) -> list[Sample]:
    return [Sample("q", completion, "7") for completion in completions]


def test_a_sample_is_sent_whole_and_its_score_comes_back(scorer: Scorer) -> None:
    chat = [{"role": "user", "content": "q"}]
    odd = {"level": 2, "when": object, "nan": float("nan"), "parts": ({"x": True},)}
    assert client(scorer).score_batch([Sample(chat, "\ud83d ab", "7", odd, tokens=3, truncated=True)]) == [4]
    ((sent,),) = scorer.asked
    assert sent.pop("meta") == {"level": 2, "when": "<class 'object'>", "nan": None, "parts": [{"x": True}]}
    assert sent == {"prompt": chat, "completion": "\ud83d ab", "answer": "7", "tokens": 3, "truncated": True}
    assert "Authorization" not in scorer.headers[0]


def test_a_completion_that_is_more_than_text_is_sent_as_messages_too(scorer: Scorer) -> None:
    calls = [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}]
    assert client(scorer).score_batch([Sample("q", "f()", messages=calls)])
    assert scorer.asked[0][0]["messages"] == calls


def test_batches_go_out_in_parallel_and_scores_keep_their_order(scorer: Scorer) -> None:
    def later(body: dict[str, Any]) -> tuple[int, Any]:
        time.sleep(0.1 / len(body["samples"][0]["completion"]))
        return lengths(body)

    scorer.answer = later
    start = time.perf_counter()
    found = client(scorer, batch_size=2, parallel=4).score_batch(samples(*("a" * size for size in range(1, 8))))
    assert found == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(map(len, scorer.asked)) == [1, 2, 2, 2]
    assert time.perf_counter() - start < 2
    assert client(scorer).score_batch([]) == []


def test_null_means_cannot_judge_and_anything_else_that_is_no_number_is_an_error(scorer: Scorer) -> None:
    scorer.answer = replies(b'{"scores": [0.5, null, true, "1", NaN, [1], 1e999]}')
    remote = build([RewardSpec(name="remote", params={"url": scorer.url})], max_error_rate=1.0)
    scores = remote.score(samples(*"abcdefg"))
    assert scores.values == [[0.5, None, 1.0, None, None, None, None]]
    assert [(issue.index, issue.message) for issue in scores.errors] == [
        (3, "returned str, not a number"),
        (4, "returned NaN"),
        (5, "returned list, not a number"),
        (6, "returned inf"),
    ]


PASSING: list[tuple[str, Answer]] = [
    ("a server error", replies(b"", 500)),
    ("too many requests", replies(b"", 429)),
    ("garbage", replies(b"<html>busy</html>")),
    ("no object", replies([1.0])),
    ("no scores", replies({"score": [1.0]})),
    ("no list", replies({"scores": 1.0})),
    ("too few", replies({"scores": []})),
    ("too many", replies({"scores": [1, 2]})),
    ("nested without end", replies(b"[" * 100_000)),
]


@pytest.mark.parametrize("failure", [answer for _, answer in PASSING], ids=[name for name, _ in PASSING])
def test_a_failure_that_may_pass_is_asked_again(scorer: Scorer, failure: Answer) -> None:
    scorer.answer = in_turn(failure, failure, lengths)
    assert client(scorer, retries=2).score_batch(samples("abc")) == [3]
    assert len(scorer.asked) == 3


LASTING: list[tuple[Answer, int, str]] = [
    (replies(b"overloaded", 503), 3, "HTTP 503: overloaded (asked 3 times)"),
    (replies({"scores": [1]}), 3, "1 scores for 2 samples (asked 3 times)"),
    (replies(b"{"), 3, "a reply that has no scores: b'{' (asked 3 times)"),
    (replies(b"bad key", 401), 1, "HTTP 401: bad key"),
    (replies(b"", 302), 1, "HTTP 302"),
    (replies(b" " * 16_000_001), 1, "a reply of more than 16 MB"),
]


@pytest.mark.parametrize(("failure", "requests", "reason"), LASTING, ids=[reason[:20] for *_, reason in LASTING])
def test_a_failure_that_stays_fails_the_samples_of_its_batch_and_never_scores_them(
    scorer: Scorer, failure: Answer, requests: int, reason: str
) -> None:
    scorer.answer = failure
    found = client(scorer, retries=2).score_batch(samples("a", "b"))
    assert found == [Failure(f"got no scores: {reason}")] * 2
    assert len(scorer.asked) == requests


def test_only_the_batch_without_a_reply_fails(scorer: Scorer) -> None:
    scorer.answer = lambda body: (400, b"no") if body["samples"][0]["completion"] == "b" else lengths(body)
    found = client(scorer, batch_size=1).score_batch(samples("a", "b", "ccc"))
    assert found == [1, Failure("got no scores: HTTP 400: no"), 3]


@pytest.mark.parametrize("trickle", [False, True])
def test_a_server_that_hangs_or_trickles_is_late_as_a_whole(scorer: Scorer, trickle: bool) -> None:
    scorer.answer, scorer.pause = (lengths, 0.05) if trickle else (silent, 0.0)
    start = time.perf_counter()
    found = client(scorer, timeout=0.3).score_batch(samples("a"))
    assert found == [Failure("got no scores: no answer within 0.3 s")]
    assert time.perf_counter() - start < 0.9


def test_a_server_that_is_not_there_stops_the_run_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    remote = build([RewardSpec(name="remote", params={"url": "http://127.0.0.1:9", "retries": 0})])
    with pytest.raises(RewardError, match=r"the reward remote got no scores: .*refused.* for all 2 completions"):
        remote.score(samples("a", "b"))


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCORER_KEY", "s3cret\n")
    remote = client(scorer, key_env="SCORER_KEY")
    assert remote.score_batch(samples("a")) == [1]
    assert scorer.headers[0]["Authorization"] == "Bearer s3cret"
    scorer.answer = replies(b"", 401)
    assert "s3cret" not in repr(remote) + repr(remote.score_batch(samples("a")))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"url": "ftp://h/x"}, "an endpoint is an http or https URL"),
    ({"url": "http://h", "timeout": 0}, "timeout, batch_size and parallel must be positive"),
    ({"url": "http://h", "timeout": float("inf")}, "timeout, batch_size and parallel must be positive"),
    ({"url": "http://h", "batch_size": 0}, "timeout, batch_size and parallel must be positive"),
    ({"url": "http://h", "retries": -1}, "timeout, batch_size and parallel must be positive"),
    ({"url": "http://h", "key_env": "NO_SUCH_KEY"}, "the environment variable NO_SUCH_KEY is not set"),
    ({"url": "http://me:s3cret@h"}, "a URL with a user name or password"),
]


@pytest.mark.parametrize(("settings", "words"), WRONG)
def test_wrong_settings_fail_before_anything_is_sent(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build([RewardSpec(name="remote", params=settings)])
    assert "s3cret" not in str(caught.value)
