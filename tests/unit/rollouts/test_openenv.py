"""OpenEnv: servers of the real package are played over their sockets, and a game there is the same game as the one here."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError, UnknownNameError
from rlllm.core.records import Conversation, PromptTask
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.data.others.openenv import Server, Session, openenv
from rlllm.data.request import DataRequest
from rlllm.rollouts.environments.base import finished
from rlllm.rollouts.environments.guess import Guess
from rlllm.rollouts.environments.multi_turn import Episode, begin, tool_results
from rlllm.training.environment import EnvironmentSpec, PlannedEnvironment, planned_environment

SERVERS = Path(__file__).parents[2] / "fixtures" / "openenv"
PYTHON = Path(sys.prefix) / "openenv" / "bin" / "python"
pytest.importorskip("websockets", reason="OpenEnv is played by websockets: make others")
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="openenv has an environment of its own: make others")


@contextmanager
def serving(app: str, folder: Path) -> Iterator[str]:
    """The address of a server process, which `openenv`'s own code makes of an app."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(PYTHON), "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": ""})
    try:
        for _ in range(600):
            assert process.poll() is None, "the server ended"
            with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def game() -> Iterator[str]:
    with serving("guessing:game", SERVERS) as url:
        yield url


@pytest.fixture(scope="module")
def tools() -> Iterator[str]:
    with serving("guessing:tools", SERVERS) as url:
        yield url


def planned(url: str, **params: Any) -> PlannedEnvironment:
    environment = planned_environment(EnvironmentSpec(name="openenv", params={"url": url, **params}))
    assert environment is not None
    return environment


def started(url: str, task: PromptTask, **params: Any) -> Episode:
    return begin(planned(url, **params).factory([task]), 0, task)


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}}


def said(episode: Episode, *calls: dict[str, Any]) -> list[str]:
    return [result["content"] for result in tool_results(episode.tools, calls)]


def paid(episode: Episode) -> dict[str, Any]:
    sample = finished(episode.task, [{"role": "assistant", "content": "done"}], episode.environment, None, False)
    return {key: value for key, value in sample.meta.items() if key.startswith("environment")}


def test_an_action_is_a_tool_with_the_words_of_its_schema(game: str) -> None:
    environment = planned(game, tool="guess")
    assert environment.describe() == "openenv with guess(number: int) (4 rounds of calls)"
    assert environment.kind.guess.__doc__ == "Guess the hidden number.\n\nArgs:\n    number: Your guess."
    assert planned(game).describe() == "openenv with step(number: int) (4 rounds of calls)"


def test_a_game_on_the_server_is_the_game_here_call_by_call(game: str) -> None:
    for secret, guesses in itertools.product((4, 5), itertools.product((4, "5", 6), repeat=2)):
        row = {"secret": secret, "guesses": 2}
        there = started(game, PromptTask("Guess.", None, row), tool="guess")
        here = Guess()
        here.reset(**row)
        calls = [call("guess", number=number) for number in guesses]
        if int(guesses[0]) == secret:
            calls = calls[:1]
        assert said(there, *calls) == [here.guess(int(one["function"]["arguments"]["number"])) for one in calls]
        assert paid(there) == {"environment_reward": here.get_reward()}


def test_what_the_environment_refuses_is_read_by_the_model(game: str) -> None:
    episode = started(game, PromptTask("Guess.", None, {"secret": 4, "guesses": 1}), tool="guess")
    assert said(
        episode, call("guess", number="four"), call("guess"), call("guess", number=1), call("guess", number=4)
    ) == [
        "{'error': 'number: input should be a valid integer, unable to parse string as an integer'}",
        "{'error': \"missing a required argument: 'number'\"}",
        "over",
        "{'error': 'the episode is over'}",
    ]
    assert paid(episode) == {"environment_reward": 0.0}


def test_a_rollout_without_a_step_is_worth_nothing_and_one_step_what_it_paid(game: str) -> None:
    task = PromptTask("Guess.", None, {"secret": 4, "guesses": 3})
    for pays in ("sum", "last"):
        assert paid(started(game, task, tool="guess", reward=pays)) == {"environment_reward": 0.0}
        episode = started(game, task, tool="guess", reward=pays)
        said(episode, call("guess", number=3), call("guess", number=4))
        assert paid(episode) == {"environment_reward": 1.0}


def test_tools_that_a_server_lists_are_called_and_one_that_pays_nothing_is_not_judged(tools: str) -> None:
    assert planned(tools).describe() == "openenv with add(number: int, times: int = 1) (4 rounds of calls)"
    episode = started(tools, PromptTask("Count.", None, {"seed": 1}))
    results = said(episode, call("add", number=2), call("add", number="3", times=2), call("add", number=-1))
    assert results[:2] == ["2 so far", "8 so far"]
    assert "only upwards" in results[2]
    assert results[2].startswith("{'error'")
    assert paid(episode) == {"environment_reward": None}


def test_rows_are_seeds_that_the_prompt_names_and_no_seed_is_in_both_splits(game: str) -> None:
    loaded = load(DataConfig(name=f"openenv:{game}", rows=40, holdout=20), PromptTask)
    assert loaded.rewards == ("environment",)
    assert loaded.train[0].prompt == f"Guess my number.\nEpisode {loaded.train[0].meta['seed']}."
    assert max(row.meta["seed"] for row in loaded.train) < 2**30 <= min(row.meta["seed"] for row in loaded.holdout)
    assert loaded.hash == load(DataConfig(name=f"openenv:{game}", rows=40, holdout=20), PromptTask).hash
    planned(game).check(loaded.train)
    episode = begin(planned(game).factory(loaded.train), 0, loaded.train[0])
    assert episode.opening[-1]["content"] == f"{loaded.train[0].prompt}\n\n2 guesses"


def test_rows_are_the_tasks_that_a_server_lists() -> None:
    with serving("guessing:listed", SERVERS) as url:
        rows = [
            row
            for split in ("train", "holdout")
            for row in openenv(DataRequest(split=split, params={"url": url}))  # type: ignore[arg-type]
        ]
        assert sorted(row.meta["index"] for row in rows) == list(range(6))
        assert {str(row.prompt) for row in rows} == {f"Guess number {place} of train." for place in range(6)}
        row = next(row for row in rows if row.meta["index"] == 5)
        assert row.meta == {"level": 1, "split": "train", "index": 5}
        assert said(started(url, row), call("step", number=9)) == ["right"]
        assert openenv(DataRequest(params={"url": url, "split": "test"}))[0].meta["split"] == "test"
        with pytest.raises(UnknownNameError, match="part of the server's task list"):
            openenv(DataRequest(params={"url": url, "split": "exam"}))


def test_an_environment_of_the_packages_own_template_is_played(tmp_path: Path) -> None:
    made = [str(PYTHON), "-m", "openenv.cli", "init", "echo_env"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    with serving("server.app:app", tmp_path / "echo_env") as url:
        environment = planned(url)
        rows = openenv(DataRequest(rows=2, params={"url": url, "prompt": "Say something."}))
        environment.check(rows)
        episode = begin(environment.factory(rows), 0, rows[0])
        assert "ready!" in episode.opening[-1]["content"]
        assert said(episode, call("step", message="Hi")) == ['{"echoed_message": "Hi", "message_length": 2}']
        # the template lets one session in: a second rollout is refused by name, and let in when the first is over
        with pytest.raises(ConfigError, match="takes no more than 1 sessions at once"):
            begin(environment.factory(rows), 1, rows[1])
        said(episode, call("step", message="Hello"))
        assert paid(episode) == {"environment_reward": pytest.approx(0.2 + 0.5)}
        last = planned(url, reward="last").factory(rows)
        second = _eventually(lambda: begin(last, 1, rows[1]))
        said(second, call("step", message="Hi"), call("step", message="Hello"))
        assert paid(second) == {"environment_reward": 0.5}


def test_what_a_server_said_before_it_hung_up_is_read() -> None:
    """A full server refuses a session as soon as it is opened: its close may come before the first question."""
    from websockets.sync.client import connect
    from websockets.sync.server import serve

    full = {"type": "error", "data": {"code": "CAPACITY_REACHED", "message": "full", "max_sessions": 3}}
    with serve(lambda connection: connection.send(json.dumps(full)), "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with connect(f"ws://127.0.0.1:{server.socket.getsockname()[1]}") as connection:
            time.sleep(0.5)
            with pytest.raises(ConfigError, match="no more than 3 sessions at once"):
                Session(connection, "http://here").ask("reset", {})


def _eventually(act: Callable[[], Episode]) -> Episode:
    """Its result, once the server has noticed that the session before is over."""
    for _ in range(100):
        with suppress(ConfigError):
            return act()
        time.sleep(0.1)
    return act()


def test_a_server_that_goes_away_leaves_an_error_and_no_zero() -> None:
    task = PromptTask("Guess.", None, {"secret": 4, "guesses": 2})
    with serving("guessing:game", SERVERS) as url:
        episode = started(url, task, tool="guess")
        assert said(episode, call("guess", number=3)) == ["higher"]
    (result,) = said(episode, call("guess", number=4))
    assert "the connection to the OpenEnv server broke" in result
    columns = paid(episode)
    assert "environment_reward" not in columns
    assert "the connection to the OpenEnv server broke" in columns["environment_error"]
    with pytest.raises(ConfigError, match="no OpenEnv server answers"):
        planned(url)
    with pytest.raises(ConfigError, match="no OpenEnv server answers"):
        Server(url).open()


def test_what_is_no_server_or_no_fitting_row_is_refused_by_name(game: str) -> None:
    for url in ("127.0.0.1:8000", "ftp://127.0.0.1", "http://"):
        with pytest.raises(ConfigError, match="an address that begins with http"):
            planned(url)
    with pytest.raises(ConfigError, match="a game needs a secret or a seed"):
        planned(game).check([PromptTask("Guess.", None, {})])
    with pytest.raises(ConfigError, match="a name that no tool can have") as refused:
        planned(game, tool="reset")
    assert refused.value.given == "reset"
    with pytest.raises(ConfigError, match="reward of the environment openenv"):
        planned(game, reward="mean")
    with pytest.raises(ConfigError, match="needs the address of a server"):
        openenv(DataRequest())
    with pytest.raises(UnknownNameError, match="parameter of openenv"):
        openenv(DataRequest(params={"url": game, "port": 1}))
    with pytest.raises(DataError, match="makes no Conversation"):
        openenv(DataRequest(kind=Conversation, params={"url": game}))


def test_a_run_trains_in_a_servers_environment(game: str, one_step: Callable[..., list[dict[str, Any]]]) -> None:
    rows = one_step({"name": f"openenv:{game}", "rows": 4}, {"name": "openenv", "url": game, "tool": "guess"})
    assert {row["rewards"]["environment"]["value"] for row in rows} == {row["environment_reward"] for row in rows}
    assert all(row["environment_reward"] == float("'right'" in str(row["transcript"])) for row in rows)


def test_the_servers_package_is_the_one_that_is_named() -> None:
    assert shutil.which(str(PYTHON))
    told = subprocess.run([str(PYTHON), "-m", "pip", "show", "openenv"], capture_output=True, text=True, check=True)
    assert "Version: 0.10.0" in told.stdout
