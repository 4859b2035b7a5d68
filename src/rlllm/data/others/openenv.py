"""OpenEnv: an environment server as a source of rows, and the sessions in which its environment is played.

What is spoken is the protocol of `openenv.core` 0.10: `/schema`, `/metadata` and the task routes over HTTP, and over the
WebSocket `/ws` one JSON object a message: `reset`, `step` and `close` are asked, `observation` or `error` is answered. A
connection is a session with an environment of its own. The package `openenv` runs where the server does; here it is not needed.
"""

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from rlllm.core.errors import ConfigError, DataError, describe, unknown
from rlllm.core.records import PromptTask
from rlllm.data.procedural.problems import split_of
from rlllm.data.request import DataRequest, Split

_SECONDS = 60.0
_LARGEST = 100 * 2**20
"""Bytes of a message at most, as in OpenEnv's own client: observations may hold pictures."""
_SEEDS = 2**30
"""Training rows have seeds below this number, held-out rows from it on."""
_TEXTS = ("prompt", "question", "instruction")
"""Fields of a task that are its prompt, the first one that it has."""
_WITHOUT_TASKS = (404, 501)
"""HTTP statuses of a server whose environment lists no tasks."""


class OpenEnvError(Exception):
    """The server answered with an error. What it said is the text."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Server:
    """An OpenEnv server.

    Args:
        url: its address, such as http://127.0.0.1:8000.
        seconds: how long an answer may take.
    """

    url: str
    seconds: float = _SECONDS

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                "an OpenEnv server has an address that begins with http:// or https://",
                given=f"url={self.url}",
                hint="url=http://127.0.0.1:8000",
            )

    def actions(self) -> Mapping[str, Any]:
        """The JSON schema of an action. Raises ConfigError where there is no OpenEnv server."""
        schema = self._asked("GET", "/schema")
        if not isinstance(schema, Mapping) or not isinstance(schema.get("action"), Mapping):
            raise ConfigError(
                "the server answers, and is no OpenEnv server: its /schema names no action",
                given=self.url,
                hint="the address of a server made by openenv's create_app",
            )
        return schema["action"]

    def about(self) -> str:
        """What the environment says of itself; empty where it says nothing."""
        metadata = self._asked("GET", "/metadata")
        return str(metadata.get("description") or "").strip() if isinstance(metadata, Mapping) else ""

    def splits(self) -> list[str]:
        """Names of the parts of its task list; none where it lists no tasks."""
        try:
            return [str(split["name"]) for split in self._asked("GET", f"/{self._name()}/splits")]
        except OpenEnvError:
            return []

    def tasks(self, split: str) -> list[Any]:
        """The tasks of a part, in the order of their indices."""
        return list(self._asked("POST", f"/{self._name()}/tasks", {"split": split})["tasks"])

    def open(self) -> Session:
        """A session with an environment of its own.

        Raises:
            ConfigError: nobody listens there, or the package `websockets` is missing.
        """
        try:
            from websockets.sync.client import connect
        except ImportError as error:
            raise ConfigError(
                "OpenEnv is played over a WebSocket, which needs the package websockets",
                given=self.url,
                hint='pip install "rlllm[openenv]"',
            ) from error
        address = f"ws{self.url.rstrip('/').removeprefix('http')}/ws"
        settings: dict[str, Any] = {"proxy": None} if self._is_local else {}
        try:
            connection = connect(address, open_timeout=self.seconds, max_size=_LARGEST, **settings)
        except (OSError, TimeoutError, ValueError, _websocket_error()) as error:
            raise self._unreachable(error) from error
        return Session(connection, self.url, self.seconds)

    def _name(self) -> str:
        names = self._asked("GET", "/list_environments")
        if not names or not names[0]:
            raise OpenEnvError("the server's environment has no name")
        return str(names[0])

    def _asked(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON that a route answers.

        Raises:
            OpenEnvError: there is no such route, or the environment does not serve it.
            ConfigError: nobody listens there, or what answers does not speak JSON.
        """
        import httpx2

        address = self.url.rstrip("/") + path
        try:
            with httpx2.Client(timeout=self.seconds, trust_env=not self._is_local, follow_redirects=True) as client:
                answer = client.request(method, address, json=body)
            if answer.status_code in _WITHOUT_TASKS:
                raise OpenEnvError(f"{path} is not served")
            answer.raise_for_status()
            return answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"no OpenEnv server answers: {describe(error)}",
            given=f"url={self.url}",
            hint="start it where openenv is installed: uvicorn PACKAGE.server.app:app --port 8000",
        )

    @property
    def _is_local(self) -> bool:
        """Whether it is on this machine, so that no proxy stands between."""
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


@dataclass
class Session:
    """A connection with an environment of its own. One thread uses it at a time.

    Args:
        connection: an open WebSocket.
        url: of the server, for errors.
        seconds: how long an answer may take.
    """

    connection: Any
    url: str
    seconds: float = _SECONDS
    lost: str = field(default="", init=False)
    """Why the connection broke; empty while it holds."""

    def ask(self, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """What the environment shows after a `reset` or a `step`: `observation`, `reward`, `done`.

        Raises:
            OpenEnvError: the environment refused or raised.
            ConfigError: the server takes no more sessions, or the connection broke.
        """
        try:
            with suppress(_websocket_error()):  # a full server says so and hangs up, at times before it was asked
                self.connection.send(json.dumps({"type": kind, "data": dict(data)}, default=str))
            answer = json.loads(self.connection.recv(timeout=self.seconds))
        except (OSError, TimeoutError, ValueError, _websocket_error()) as error:
            self.lost = describe(error)
            raise ConfigError(f"the connection to the OpenEnv server broke: {self.lost}", given=self.url) from error
        if answer.get("type") == "error":
            raise self._refused(answer.get("data") or {})
        return answer["data"]

    def close(self) -> None:
        """End the session, which frees its place on the server."""
        with suppress(OSError, _websocket_error()):
            self.connection.send(json.dumps({"type": "close"}))
        with suppress(OSError, _websocket_error()):
            self.connection.close()

    def _refused(self, problem: Mapping[str, Any]) -> OpenEnvError | ConfigError:
        code, message = str(problem.get("code", "")), str(problem.get("message", ""))
        if code == "CAPACITY_REACHED":
            most = problem.get("max_sessions")
            return ConfigError(
                f"the OpenEnv server takes no more than {most} sessions at once, and every rollout under way is one",
                given=self.url,
                hint="create_app(..., max_concurrent_envs=N) in its server/app.py",
            )
        details = "; ".join(str(error.get("msg", error)) for error in problem.get("errors") or [])
        return OpenEnvError(f"{message}: {details}" if details else message, code)


def _websocket_error() -> type[Exception]:
    from websockets.exceptions import WebSocketException

    return WebSocketException


def openenv(request: DataRequest) -> list[PromptTask]:
    """Rows to begin an environment on: the tasks that the server lists, or seeds where it lists none.

    `data.params`: `url`; `prompt`, in place of what the environment says of itself; `split`, of the server's task list. One
    task in five is held out, by a hash of its prompt. The columns of a row are what the environment's `reset` is given.

    Raises:
        ConfigError: no server answers, or a parameter that is not taken.
        DataError: other rows than prompts are wanted, or the server lists no such part.
    """
    if request.kind is not PromptTask:
        raise DataError(f"openenv makes no {request.kind.__name__} records", exists=["PromptTask"])
    if request.level is not None:
        raise ConfigError("openenv has no levels", given=f"level={request.level}", hint="leave data.level out")
    params = dict(request.params)
    for name in params:
        if name not in _PARAMS:
            raise unknown("parameter of openenv", name, _PARAMS)
    if not params.get("url"):
        raise ConfigError("openenv needs the address of a server", hint="write openenv:http://127.0.0.1:8000")
    server = Server(str(params["url"]))
    prompt = str(params.get("prompt") or server.about() or "Act in the environment.")
    splits = server.splits()
    rows = _listed(server, prompt, _chosen(splits, params.get("split"), server.url)) if splits else None
    if rows is None:
        rows = _seeded(prompt, request)
    fitting = (row for row in rows if not splits or split_of(str(row.prompt)) == request.split)
    return list(islice(fitting, request.rows))


openenv.rewards = ("environment",)  # type: ignore[attr-defined]
openenv.argument = "url"  # type: ignore[attr-defined]
_PARAMS = ("url", "prompt", "split")


def _chosen(splits: list[str], wanted: Any, url: str) -> str:
    if wanted is not None and str(wanted) not in splits:
        raise unknown("part of the server's task list", str(wanted), splits)
    if wanted is not None:
        return str(wanted)
    return "train" if "train" in splits else splits[0]


def _listed(server: Server, prompt: str, split: str) -> Iterator[PromptTask]:
    """A row for each task of a part: `split` and `index`, which select it, beside the task's own fields."""
    for index, task in enumerate(server.tasks(split)):
        fields = dict(task) if isinstance(task, Mapping) else {"task": task}
        own = next((str(fields[name]) for name in _TEXTS if fields.get(name)), f"{prompt}\nTask {index}.")
        answer = None if fields.get("answer") is None else str(fields["answer"])
        columns = {key: value for key, value in fields.items() if key not in ("prompt", "answer")}
        yield PromptTask(own, answer, {**columns, "split": split, "index": index})


def _seeded(prompt: str, request: DataRequest) -> Iterator[PromptTask]:
    """Rows without end that differ by their seed. The prompt names it, since no prompt may be in both splits."""
    first = _first_seed(request.split)
    generator, seen = random.Random(f"openenv {request.split} {request.seed}"), set[int]()
    while True:
        seed = first + generator.randrange(_SEEDS)
        if seed not in seen:
            seen.add(seed)
            yield PromptTask(f"{prompt}\nEpisode {seed}.", None, {"seed": seed})


def _first_seed(split: Split) -> int:
    return _SEEDS if split == "holdout" else 0
