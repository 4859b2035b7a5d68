"""The proxy: what passes through it, what it keeps, and that what it kept can be trained on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError
from rlllm.core.runs import write_jsonl
from rlllm.core.traces import read_traces
from rlllm.tools.traces.capture import Capture
from rlllm.tools.traces.conversations import rows_of

AGENT = Path(__file__).parents[2] / "fixtures" / "agents" / "adder.py"


class Endpoint(BaseHTTPRequestHandler):
    """An OpenAI-compatible server whose model calls `add` on a sum, and then says what it returned."""

    protocol_version = "HTTP/1.1"
    keys: list[str]

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "adder"}]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.keys.append(self.headers["Authorization"])
        if "boom" in request["messages"][-1]["content"]:
            self._send(500, {"error": {"message": "out of memory"}})
            return
        message = self._message(request["messages"])
        if request.get("stream"):
            self._stream(message)
            return
        usage = {"completion_tokens": 7}
        self._send(200, {"model": "adder", "choices": [{"index": 0, "message": message}], "usage": usage})

    def _message(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        if messages[-1]["role"] == "tool":
            return {"role": "assistant", "content": f"It is {messages[-1]['content']}", "refusal": None}
        first, second = re.findall(r"\d+", messages[-1]["content"])
        arguments = json.dumps({"a": int(first), "b": int(second)})
        call = {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": arguments}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}

    def _stream(self, message: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        call = message["tool_calls"][0]
        half = len(call["function"]["arguments"]) // 2
        start = {**call, "index": 0, "function": {"name": "add", "arguments": call["function"]["arguments"][:half]}}
        rest = {"index": 0, "function": {"arguments": call["function"]["arguments"][half:]}}
        for delta in ({"content": "So "}, {"content": "then"}, {"tool_calls": [start]}, {"tool_calls": [rest]}):
            part = {"model": "adder", "choices": [{"index": 0, "delta": delta}]}
            self.wfile.write(f"data: {json.dumps(part)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _send(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[str]]]:
    """URL of the server, and the keys it was sent."""
    keys: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Endpoint,), {"keys": keys}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1", keys
    server.shutdown()
    server.server_close()


def ask(
    url: str, messages: list[dict[str, Any]], headers: dict[str, str] | None = None, **more: Any
) -> tuple[int, str]:
    body = json.dumps({"model": "any", "messages": messages, **more}).encode()
    request = urllib.request.Request(f"{url}/chat/completions", body, {"Authorization": "Bearer k", **(headers or {})})
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_an_agent_is_captured_and_trains_two_steps(
    endpoint: tuple[str, list[str]], tiny_model: str, tmp_path: Path
) -> None:
    url, keys = endpoint
    with Capture(url, tmp_path / "traces.jsonl") as proxy:
        command = [sys.executable, str(AGENT), "19 + 23", "4 + 5"]
        subprocess.run(command, env={"OPENAI_BASE_URL": proxy.url}, check=True)
    assert keys == ["Bearer sk-secret"] * 4
    assert "secret" not in (tmp_path / "traces.jsonl").read_text()
    traces = list(read_traces(tmp_path / "traces.jsonl"))
    assert [trace.rewards for trace in traces] == [{"right": 1.0}] * 2
    assert [event.type for event in traces[0].events] == ["message", "tool_call", "tool_result", "return"]
    assert [edge.type for edge in traces[0].edges].count("tool_dependency") == 1
    assert (traces[0].costs.tokens, traces[0].costs.tool_calls) == (14, 1)
    assert traces[0].system == "adder"
    rows = [rows_of(trace) for trace in traces]
    assert [message["role"] for message in rows[0]["messages"]] == ["user", "assistant", "tool", "assistant"]  # type: ignore[index]
    assert rows[0]["tools"][0]["function"]["name"] == "add"  # type: ignore[index]
    write_jsonl(tmp_path / "rows.jsonl", [row for row in rows if row])
    run = rlllm.sft(
        model="nano",
        data={"name": str(tmp_path / "rows.jsonl"), "holdout": 0},
        max_steps=2,
        per_device_train_batch_size=2,
        output_dir=tmp_path / "run",
    )
    assert run.verdict["diagnostics"]["steps_done"] == 2


def test_a_request_that_continues_a_conversation_belongs_to_its_trace(
    endpoint: tuple[str, list[str]], tmp_path: Path
) -> None:
    with Capture(endpoint[0], tmp_path / "traces.jsonl") as proxy:
        _, first = ask(proxy.url, user("1 + 2"))
        reply = json.loads(first)["choices"][0]["message"]
        again = {"role": "assistant", "content": "", "tool_calls": reply["tool_calls"]}  # null became empty
        result = {"role": "tool", "tool_call_id": "call-1", "content": "3"}
        ask(proxy.url, [*user("1 + 2"), again, result])
        ask(proxy.url, user("1 + 2"))
        ask(proxy.url, user("3 + 4"), {"X-Rlllm-Trace": "mine", "X-Rlllm-Task": "sums"})
    traces = list(read_traces(tmp_path / "traces.jsonl"))
    assert [(trace.trace_id, len(trace.events)) for trace in traces] == [
        ("captured-1", 4),
        ("captured-2", 2),
        ("mine", 2),
    ]
    assert traces[2].task_id == "sums"


def test_a_streamed_reply_is_put_together(endpoint: tuple[str, list[str]], tmp_path: Path) -> None:
    with Capture(endpoint[0], tmp_path / "traces.jsonl") as proxy:
        status, text = ask(proxy.url, user("1 + 2"), stream=True)
    assert (status, text.count("data: "), text.endswith("data: [DONE]\n\n")) == (200, 5, True)
    (trace,) = read_traces(tmp_path / "traces.jsonl")
    message = trace.events[-1].x["message"]
    assert message["content"] == "So then"
    assert message["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1, "b": 2}'}


def test_errors_of_the_endpoint_reach_the_agent_and_are_not_kept(
    endpoint: tuple[str, list[str]], tmp_path: Path
) -> None:
    with Capture(endpoint[0], tmp_path / "traces.jsonl") as proxy:
        assert ask(proxy.url, user("boom"))[0] == 500
        with urllib.request.urlopen(f"{proxy.url}/models") as response:
            assert json.loads(response.read())["data"] == [{"id": "adder"}]
    assert not (tmp_path / "traces.jsonl").exists()
    with Capture("http://127.0.0.1:9/v1", tmp_path / "none.jsonl") as proxy:
        status, text = ask(proxy.url, user("1 + 2"))
        assert status == 502
        assert "did not answer" in text


def test_rewards_for_an_unknown_trace_are_refused(endpoint: tuple[str, list[str]], tmp_path: Path) -> None:
    with Capture(endpoint[0], tmp_path / "traces.jsonl") as proxy:
        statuses = []
        for body in ({"trace": "nobody", "rewards": {}}, {"rewards": 3}, []):
            request = urllib.request.Request(f"{proxy.url}/rlllm/rewards", json.dumps(body).encode())
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request)
            statuses.append(caught.value.code)
    assert statuses == [404, 400, 400]


def test_what_cannot_work_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text("")
    with pytest.raises(ConfigError, match="exists already"):
        Capture("http://localhost/v1", tmp_path / "old.jsonl")
    with pytest.raises(ConfigError, match="no URL"):
        Capture("localhost:8000", tmp_path / "new.jsonl")
    assert (tmp_path / "old.jsonl").read_text() == ""
