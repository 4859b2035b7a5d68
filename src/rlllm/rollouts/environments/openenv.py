"""The `openenv` environment: any environment that an OpenEnv server holds, played in a session of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from rlllm.core.errors import ConfigError
from rlllm.data.others.openenv import OpenEnvError, Server, Session
from rlllm.rollouts.environments.described_tools import arguments_of_schema, method

_MCP_ACTIONS = ("Action", "CallToolAction", "ListToolsAction")
"""Titles of the action schemas of servers whose environment has tools of its own, which it lists."""


class OpenEnv:
    """An environment of an OpenEnv server. Its tools are those that the server lists, or one tool that takes an action.

    Args:
        url: address of the server, such as http://127.0.0.1:8000.
        tool: name of the tool that takes an action, where the server lists no tools.
        reward: `sum` of what the steps of a rollout paid, or what the `last` one paid.
        seconds: how long an answer of the server may take.
    """

    def __init__(
        self, url: str, tool: str = "step", reward: Literal["sum", "last"] = "sum", seconds: float = 60.0
    ) -> None:
        self._server, self._pays = Server(url, seconds), reward
        self._session: Session | None = None
        self._paid: list[float | None] = []
        self._over = False
        self._failure = ""

    @classmethod
    def with_tools(
        cls, url: str, tool: str = "step", reward: Literal["sum", "last"] = "sum", seconds: float = 60.0
    ) -> type:
        """The class with the server's tools. Raises ConfigError where no OpenEnv server answers."""
        server, owner = Server(url, seconds), f"the OpenEnv server {url}"
        actions = server.actions()
        if actions.get("title") not in _MCP_ACTIONS:
            text = str(actions.get("description") or "Act in the environment.")
            arguments = arguments_of_schema(actions, leave_out=("metadata",))
            return type(cls.__name__, (cls,), {tool: method(tool, text, arguments, cls._act, owner)})
        methods = {
            str(found["name"]): method(
                str(found["name"]),
                str(found.get("description") or ""),
                arguments_of_schema(found["input_schema"]),
                _caller(str(found["name"])),
                owner,
            )
            for found in _listed(server)
        }
        return type(cls.__name__, (cls,), methods)

    def reset(self, **row: Any) -> str | None:
        """Begin an episode of the server's environment, which is given the row's columns but its prompt and answer.

        Returns:
            What the environment shows, as text.

        Raises:
            ConfigError: no server answers, it takes no more sessions, or its environment refuses the row.
        """
        self._paid, self._over, self._failure = [], False, ""
        if self._session is not None and self._session.lost:
            self._close()
        self._session = self._session or self._server.open()
        columns = {key: value for key, value in row.items() if key not in ("prompt", "answer")}
        try:
            shown = self._session.ask("reset", columns)
        except OpenEnvError as error:
            raise ConfigError(
                f"the environment of the OpenEnv server cannot begin on a row: {error}",
                given=f"columns {', '.join(columns) or 'none'}",
                hint=f"rows that it takes: --data openenv:{self._server.url}",
            ) from error
        self._over = bool(shown.get("done"))
        text = _text(shown["observation"])
        return f"\n\n{text}" if text else None

    def get_reward(self) -> float | None:
        """What the steps paid; 0 if none was taken, None if no step pays anything. The session ends with it.

        Raises:
            RuntimeError: the connection broke during the rollout.
        """
        self._close()
        if self._failure:
            raise RuntimeError(self._failure)
        paid = [value for value in self._paid if value is not None]
        if self._paid and not paid:
            return None
        return sum(paid) if self._pays == "sum" else (paid[-1] if paid else 0.0)

    def _act(self, arguments: Mapping[str, Any]) -> str:
        return _text(self._step(arguments)["observation"])

    def _step(self, action: Mapping[str, Any]) -> dict[str, Any]:
        """A step. What the environment refuses, the model reads as an error; if the connection breaks, nothing is judged."""
        if self._over or self._session is None:
            raise ValueError("the episode is over")
        try:
            shown = self._session.ask("step", action)
        except OpenEnvError as error:
            raise ValueError(str(error)) from error
        except ConfigError as error:
            self._failure = str(error)
            raise
        self._paid.append(None if shown.get("reward") is None else float(shown["reward"]))
        self._over = bool(shown.get("done"))
        return shown

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session, self._over = None, True


def _caller(name: str) -> Any:
    """What calls one of the server's own tools."""

    def call(environment: OpenEnv, arguments: dict[str, Any]) -> str:
        shown = environment._step({"type": "call_tool", "tool_name": name, "arguments": arguments})
        observation = shown["observation"]
        if observation.get("error"):
            raise ValueError(str(observation["error"].get("message") or observation["error"]))
        result = observation.get("result")
        if isinstance(result, Mapping) and "data" in result:  # FastMCP's result, with the plain value beside its parts
            if result.get("is_error"):
                raise ValueError(_text(result["data"]) or "the tool failed")
            return _text(result["data"])
        return _text(result)

    return call


def _listed(server: Server) -> list[Mapping[str, Any]]:
    """The tools that the server's environment lists. Raises ConfigError where it lists none."""
    session = server.open()
    try:
        observation = session.ask("step", {"type": "list_tools"})["observation"]
    except OpenEnvError as error:
        raise ConfigError(f"the OpenEnv server does not list its tools: {error}", given=server.url) from error
    finally:
        session.close()
    tools = observation.get("tools") or []
    if not tools:
        raise ConfigError(
            "the environment of the OpenEnv server has no tools",
            given=server.url,
            hint="a server whose actions have a schema, or whose environment is an MCPEnvironment with tools",
        )
    return tools


def _text(shown: Any) -> str:
    """What a model reads of an observation: its one field that is set, if that is text; else all that are, as JSON."""
    if shown is None:
        return ""
    if isinstance(shown, Mapping):
        shown = {key: value for key, value in shown.items() if key != "metadata" and value is not None}
        if len(shown) == 1:
            shown = next(iter(shown.values()))
        elif not shown:
            return ""
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False, default=str)
