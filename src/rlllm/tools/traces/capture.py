"""A proxy on this machine between an agent and its OpenAI-compatible endpoint, which keeps what they say as traces.

The agent's base URL is set to the proxy's. Requests to `/chat/completions` are passed on with their headers and parameters,
replies come back as they are, streamed ones as they stream; other paths are passed on and not kept. A request that continues an
earlier conversation, message for message, belongs to its trace; any other begins one. Keys are passed on and never written.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2

from rlllm.core.errors import ConfigError
from rlllm.core.runs import write_jsonl
from rlllm.core.traces import Trace, parse
from rlllm.tools.traces.conversations import events_of

_CHAT = "/chat/completions"
_REWARDS = "/rlllm/rewards"
"""Where an agent posts `{"trace": ID, "rewards": {NAME: NUMBER}}` when it knows how it went."""
TRACE_HEADER = "X-Rlllm-Trace"
"""Of a reply: the id of its trace. Of a request: the id of the trace that it belongs to, whatever its messages."""
TASK_HEADER = "X-Rlllm-Task"
"""Of a request: the id of its task, so that several runs of one task can be compared."""
_NOT_PASSED = {"host", "content-length", "connection", "accept-encoding", TRACE_HEADER.lower(), TASK_HEADER.lower()}
_TIMEOUT = 600.0


@dataclass
class _Conversation:
    """One trace under way."""

    trace_id: str
    task_id: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[Any] = field(default_factory=list)
    rewards: dict[str, float] = field(default_factory=dict)
    tokens: int = 0
    seconds: float = 0.0
    model: str = ""

    def continued_by(self, messages: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a request says all of this again, and more."""
        said = [_plain(message) for message in self.messages]
        return len(messages) > len(said) and [_plain(message) for message in messages[: len(said)]] == said

    def trace(self) -> Trace:
        events, edges = events_of(self.messages)
        if self.tools:
            events[0]["x"] = {**events[0].get("x", {}), "tools": self.tools}
        kinds = [event["type"] for event in events]
        return parse(
            {
                "trace_id": self.trace_id,
                "task_id": self.task_id,
                "system": self.model or "unknown",
                "topology": "harness",
                "events": events,
                "edges": edges,
                "rewards": self.rewards,
                "costs": {
                    "tokens": float(self.tokens),
                    "wall_clock_s": round(self.seconds, 3),
                    "tool_calls": float(kinds.count("tool_call")),
                    "messages": float(kinds.count("message")),
                },
            },
            self.trace_id,
        )


@dataclass
class Capture:
    """The proxy. Use it as a context manager, or call `serve`.

    Args:
        upstream: base URL of the endpoint, such as `http://localhost:8000/v1`.
        output: file of traces; written anew after every exchange, whole or not at all.
        port: of this machine; 0 takes a free one.
    """

    upstream: str
    output: Path
    port: int = 0
    _conversations: list[_Conversation] = field(default_factory=list, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        if not self.upstream.startswith(("http://", "https://")):
            raise ConfigError(
                "the endpoint is no URL", given=self.upstream, hint="--upstream http://localhost:8000/v1, with its /v1"
            )
        if self.output.exists():
            raise ConfigError("the file exists already", given=self.output, hint="name another file")

    @cached_property
    def _server(self) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"capture": self})
        try:
            return ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        except OSError as error:
            raise ConfigError(
                f"the port cannot be used: {error}", given=self.port, hint="--port 0 takes a free one"
            ) from error

    @cached_property
    def client(self) -> httpx2.Client:
        return httpx2.Client(timeout=_TIMEOUT)

    @property
    def url(self) -> str:
        """What the agent takes as its base URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Capture:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._close()

    def serve(self) -> None:
        """Serve until Ctrl-C."""
        try:
            self._server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            self._close()

    def _close(self) -> None:
        self._server.server_close()
        self.client.close()

    @property
    def traces(self) -> list[Trace]:
        return [conversation.trace() for conversation in self._conversations]

    def begin(self, request: Mapping[str, Any], headers: Mapping[str, str]) -> str:
        """The id of the trace that a request belongs to."""
        messages = request.get("messages") or []
        with self._lock:
            named = headers.get(TRACE_HEADER)
            for conversation in reversed(self._conversations):
                if conversation.trace_id == named or (named is None and conversation.continued_by(messages)):
                    return conversation.trace_id
            name = named or f"captured-{len(self._conversations) + 1}"
            self._conversations.append(_Conversation(name, headers.get(TASK_HEADER) or name))
            return name

    def keep(self, name: str, request: Mapping[str, Any], reply: Mapping[str, Any], seconds: float) -> None:
        """Add an exchange to its trace, and write the file."""
        choice = (reply.get("choices") or [{}])[0]
        with self._lock:
            conversation = self._of(name)
            assert conversation is not None
            conversation.messages = [*map(dict, request.get("messages") or []), _assistant(choice.get("message") or {})]
            conversation.tools = list(request.get("tools") or conversation.tools)
            conversation.tokens += int((reply.get("usage") or {}).get("completion_tokens") or 0)
            conversation.seconds += seconds
            conversation.model = str(reply.get("model") or request.get("model") or "")
            self._write()

    def reward(self, name: str, rewards: Mapping[str, float]) -> bool:
        """Add rewards to a trace; False where there is none of this name."""
        with self._lock:
            conversation = self._of(name)
            if conversation is None:
                return False
            conversation.rewards |= {key: float(value) for key, value in rewards.items()}
            self._write()
            return True

    def _of(self, name: str) -> _Conversation | None:
        return next((known for known in self._conversations if known.trace_id == name), None)

    def _write(self) -> None:
        done = [conversation for conversation in self._conversations if conversation.messages]
        part = self.output.with_name(f"{self.output.name}.part")
        write_jsonl(part, [conversation.trace().to_json() for conversation in done])
        part.replace(self.output)


def _plain(message: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two copies of a message have in common: agents leave out ids and empty fields, or add them."""
    calls = [call.get("function", call) for call in message.get("tool_calls") or []]
    named = tuple((call.get("name"), call.get("arguments")) for call in calls)
    content = message.get("content")
    text = content if isinstance(content, str) else json.dumps(content) if content else ""
    return message.get("role"), text, named


def _assistant(message: Mapping[str, Any]) -> dict[str, Any]:
    """A reply as the message that follows the request's, without the fields of the reply that say nothing."""
    kept = {name: value for name, value in message.items() if value is not None}
    return {"role": "assistant", "content": "", **kept}


class _Handler(BaseHTTPRequestHandler):
    """One request of the agent."""

    capture: Capture
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: every request is in the traces."""

    def do_GET(self) -> None:
        self._pass_on("GET", b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if path.endswith(_REWARDS):
            self._take_rewards(body)
        elif path.endswith(_CHAT):
            self._chat(body)
        else:
            self._pass_on("POST", body)

    def _chat(self, body: bytes) -> None:
        try:
            request = json.loads(body)
            name = self.capture.begin(request, self.headers)  # type: ignore[arg-type]
        except (ValueError, AttributeError, TypeError):
            self._pass_on("POST", body)
            return
        started = time.monotonic()

        def keep(reply: Mapping[str, Any]) -> None:
            self.capture.keep(name, request, reply, time.monotonic() - started)

        self._pass_on("POST", body, {TRACE_HEADER: name}, keep)

    def _pass_on(
        self,
        method: str,
        body: bytes,
        more: Mapping[str, str] | None = None,
        keep: Callable[[Mapping[str, Any]], None] = lambda reply: None,
    ) -> None:
        """Ask the endpoint and answer the agent with what it says.

        Args:
            more: headers of the answer.
            keep: called with a reply that worked, before the agent has all of it: its next request may come at once.
        """
        headers = {key: value for key, value in self.headers.items() if key.lower() not in _NOT_PASSED}
        url = self.capture.upstream.rstrip("/") + self.path.removeprefix("/v1")
        try:
            with self.capture.client.stream(method, url, content=body, headers=headers) as response:
                self._answer(response, more or {}, keep)
        except httpx2.HTTPError as error:
            text = f"the endpoint {self.capture.upstream} did not answer: {type(error).__name__}: {error}"
            self._send(502, json.dumps({"error": {"message": text, "type": "upstream"}}).encode(), more or {})

    def _answer(
        self, response: httpx2.Response, more: Mapping[str, str], keep: Callable[[Mapping[str, Any]], None]
    ) -> None:
        kind = response.headers.get("content-type", "application/json")
        if kind.startswith("text/event-stream"):
            self._stream(response, {"Content-Type": kind, "Connection": "close", **more}, keep)
            return
        content = response.read()
        if response.is_success and (reply := _json(content)):
            keep(reply)
        self._send(response.status_code, content, {"Content-Type": kind, **more})

    def _stream(
        self, response: httpx2.Response, headers: Mapping[str, str], keep: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """Send on each line as it comes; the last one after the reply was kept."""
        self.send_response(response.status_code)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.close_connection = True
        parts: list[dict[str, Any]] = []
        ended = False
        for line in response.iter_lines():
            data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
            if data == "[DONE]" and not ended:
                keep(_joined(parts))
                ended = True
            elif part := _json(data.encode()):
                parts.append(part)
            self.wfile.write(f"{line}\n".encode())
            self.wfile.flush()
        if parts and not ended:
            keep(_joined(parts))

    def _take_rewards(self, body: bytes) -> None:
        try:
            given = json.loads(body)
            known = self.capture.reward(given["trace"], given["rewards"])
        except (ValueError, KeyError, TypeError, AttributeError):
            self._send(400, b'{"error": "expected {\\"trace\\": ID, \\"rewards\\": {NAME: NUMBER}}"}', {})
            return
        self._send(200 if known else 404, b"{}" if known else b'{"error": "no trace has this id"}', {})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)


def _json(content: bytes) -> dict[str, Any]:
    """A JSON object; empty for anything else."""
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A streamed reply as one that is not: texts and arguments of calls put together."""
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    calls: dict[int, dict[str, Any]] = {}
    reply: dict[str, Any] = {}
    for part in parts:
        reply |= {name: part[name] for name in ("model", "usage") if part.get(name)}
        for choice in part.get("choices") or []:
            delta = choice.get("delta") or {}
            for name in ("content", "reasoning_content"):
                if delta.get(name):
                    message[name] = message.get(name, "") + delta[name]
            for piece in delta.get("tool_calls") or []:
                call = calls.setdefault(
                    piece.get("index", 0), {"type": "function", "function": {"name": "", "arguments": ""}}
                )
                if piece.get("id"):
                    call["id"] = piece["id"]
                for name, text in (piece.get("function") or {}).items():
                    call["function"][name] = call["function"].get(name, "") + (text or "")
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return {**reply, "choices": [{"message": message}]}
