"""verifiers: a taskset of the real package is data, tools and rewards here; what cannot be played here is refused by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, PromptTask, Sample
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.data.others.verifiers import verifiers
from rlllm.data.request import DataRequest
from rlllm.rewards.verifiers_task import VerifiersTask
from rlllm.rollouts.environments.base import finished
from rlllm.rollouts.environments.multi_turn import Episode, begin, tool_results
from rlllm.training.environment import EnvironmentSpec, PlannedEnvironment, default_rewards, planned_environment

pytest.importorskip("verifiers", reason="verifiers is not installed: make others")
TASKSETS = Path(__file__).parents[2] / "fixtures" / "verifiers"
ROW = "What is the capital of France?"
SCRAPS = {
    "bare_v1": "import verifiers.v1 as vf\n",
    "leader_v1": """
import verifiers.v1 as vf
class Own(vf.Env[vf.EnvConfig]):
    async def run(self, task, agents): ...
class Tasks(vf.Taskset[vf.Task, vf.TasksetConfig]):
    def load(self): return []
__all__ = ["Own", "Tasks"]
""",
    "program_v1": """
import verifiers.v1 as vf
from verifiers.v1.harnesses.null import NullHarness
class Own(NullHarness): ...
class Tasks(vf.Taskset[vf.Task, vf.TasksetConfig]):
    def load(self): return []
__all__ = ["Own", "Tasks"]
""",
    "boxed_v1": """
import verifiers.v1 as vf
class Boxed(vf.Task[vf.TaskData]):
    async def setup(self, trace, runtime): await runtime.run(["true"], {})
class Tasks(vf.Taskset[Boxed, vf.TasksetConfig]):
    def load(self): return []
__all__ = ["Tasks"]
""",
    "looking_v1": """
import verifiers.v1 as vf
class Looking(vf.Task[vf.TaskData]):
    @vf.reward
    async def passes(self, trace, runtime): return 1.0
class Tasks(vf.Taskset[Looking, vf.TasksetConfig]):
    def load(self): return []
__all__ = ["Tasks"]
""",
    "speechless_v1": """
import verifiers.v1 as vf
class Silent(vf.Task[vf.TaskData]): ...
class Tasks(vf.Taskset[Silent, vf.TasksetConfig]):
    def load(self):
        yield Silent(vf.TaskData(prompt="Say something."))
        yield Silent(vf.TaskData())
__all__ = ["Tasks"]
""",
    "failing_v1": """
import verifiers.v1 as vf
class Failing(vf.Task[vf.TaskData]):
    @vf.reward
    async def fails(self, trace): raise ValueError("no scale")
class Tasks(vf.Taskset[Failing, vf.TasksetConfig]):
    def load(self):
        yield Failing(vf.TaskData(prompt="Weigh it."))
        raise OSError("no more disk")
__all__ = ["Tasks"]
""",
}


@pytest.fixture(autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasksets of this page, where packages are found."""
    folder = tmp_path_factory.getbasetemp() / "scraps"
    folder.mkdir(exist_ok=True)
    for name, text in SCRAPS.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.syspath_prepend(TASKSETS)


def planned(name: str = "capitals-v1", **config: Any) -> PlannedEnvironment:
    environment = planned_environment(EnvironmentSpec(name="verifiers", params={"id": name, **config}))
    assert environment is not None
    return environment


def rows(name: str = "capitals-v1", **params: Any) -> list[PromptTask]:
    return [
        row
        for split in ("train", "holdout")
        for row in verifiers(DataRequest(split=split, params={"id": name, **params}))  # type: ignore[arg-type]
    ]


def french(**params: Any) -> PromptTask:
    return next(row for row in rows(**params) if row.answer == "Paris")


def played(episode: Episode, calls: list[tuple[str, dict[str, Any]]], answer: str) -> tuple[list[str], Sample]:
    """Results of the calls, one a turn, and the rollout that they and an answer make."""
    messages: list[dict[str, Any]] = []
    for name, arguments in calls:
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        results = tool_results(episode.tools, [call])
        messages += [{"role": "assistant", "content": "", "tool_calls": [call]}, *results]
    messages.append({"role": "assistant", "content": answer})
    results = [message["content"] for message in messages if message["role"] == "tool"]
    return results, finished(episode.task, messages, episode.environment, None, False)


def test_tasks_are_rows_with_prompt_answer_and_their_own_data() -> None:
    every = rows()
    assert len(every) == 12
    assert len({row.prompt for row in every}) == 12
    task = french()
    assert task.prompt == ROW
    assert task.meta["verifiers_task"] == {"idx": 0, "prompt": ROW, "country": "France", "answer": "Paris"}
    assert [row.answer for row in rows(polite=True)] == [row.answer for row in every]
    assert french(polite=True).prompt == [{"role": "system", "content": "Be polite."}, {"role": "user", "content": ROW}]
    loaded = load(DataConfig(name="verifiers:capitals-v1", holdout=2), PromptTask)
    assert (len(loaded.train), len(loaded.holdout), loaded.rewards) == (10, 2, ("verifiers",))


def test_a_toolsets_tools_are_the_environments_under_the_names_that_verifiers_shows() -> None:
    environment = planned()
    assert environment.describe() == (
        "verifiers with atlas_capital(country: str, times: int = 1); atlas_hint() (4 rounds of calls)"
    )
    assert environment.kind.atlas_capital.__doc__ == (
        "Look up the capital of a country.\n\nArgs:\n    country: Its English name.\n    times: times"
    )
    assert "Knows every capital" in environment.identity["source"]


@pytest.mark.parametrize(
    ("calls", "answer", "results", "reward"),
    [
        ([], "It is Paris.", [], 1.0),
        ([], "It is Lyon.", [], 0.0),
        ([("atlas_capital", {"country": "France", "times": "2"})], "It is Lyon.", ["Paris Paris"], 0.5),
        ([("atlas_hint", {}), ("atlas_capital", {"country": "France"})], "Paris", ['{"letter": "P"}', "Paris"], 1.5),
        ([("atlas_capital", {"country": "Oz"})], "Paris", ["{'error': 'no country Oz'}"], 1.0),
    ],
)
def test_the_reward_is_the_weighted_sum_with_the_state_that_tools_left(
    calls: list[tuple[str, dict[str, Any]]], answer: str, results: list[str], reward: float
) -> None:
    task = french()
    said, sample = played(begin(planned().factory([task]), 0, task), calls, answer)
    assert said == results
    assert sample.meta["environment_reward"] == reward
    assert sample.completion == answer


def test_an_environment_begins_anew_on_each_row() -> None:
    task = french()
    environments = planned().factory([task])
    episode = begin(environments, 0, task)
    assert played(episode, [("atlas_capital", {"country": "France"})], "")[1].meta["environment_reward"] == 0.5
    episode.environment.reset(row=0)
    assert played(episode, [], "Paris")[1].meta["environment_reward"] == 1.0


def test_the_reward_needs_no_environment() -> None:
    judge = VerifiersTask()
    assert judge(Sample(ROW, "Paris, of course.", "Paris", french().meta)).value == 1.0
    assert judge(Sample(ROW, "Lyon", "Paris", french().meta)).value == 0.0
    assert judge(Sample("2 + 2 = ?", "4", "4", {})).value is None
    meta = {"verifiers_taskset": "speechless-v1", "verifiers_task": {"prompt": "Say something."}}
    assert judge(Sample("Say something.", "Something.", None, meta)).note == "the task rewards nothing"


def test_what_a_reward_raises_is_an_error_that_names_it() -> None:
    meta = {"verifiers_taskset": "failing-v1", "verifiers_task": {"prompt": "Weigh it."}}
    with pytest.raises(Exception, match="no scale"):
        VerifiersTask()(Sample("Weigh it.", "1 kg", None, meta))


def test_in_its_environment_the_environments_own_reward_is_the_default() -> None:
    loaded = load(DataConfig(name="verifiers:capitals-v1", holdout=0), PromptTask)
    assert [spec.name for spec in default_rewards(planned(), loaded)] == ["environment"]
    assert default_rewards(planned_environment(EnvironmentSpec(name="guess")), loaded) == []
    assert default_rewards(None, loaded) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-such-taskset", "no such taskset of verifiers"),
        ("bare-v1", "verifiers: the taskset bare-v1 does not load"),
        ("leader-v1", "its class Own leads the rollout"),
        ("program-v1", "it brings a program of its own that calls the model"),
        ("boxed-v1", "setup of Boxed works in a container"),
        ("looking-v1", "the reward passes looks into a container"),
        ("failing-v1", "has no tools, so that there is one turn"),
    ],
)
def test_what_cannot_be_played_here_is_refused_by_name(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        planned(name)


def test_wrong_settings_and_rows_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="verifiers: the taskset capitals-v1 does not load"):
        planned(politeness=1)
    with pytest.raises(ConfigError, match="the row is no task of verifiers"):
        planned().check([PromptTask(ROW, None, {})])
    with pytest.raises(ConfigError, match="needs the id of a taskset"):
        verifiers(DataRequest())
    with pytest.raises(DataError, match="makes no Conversation"):
        verifiers(DataRequest(kind=Conversation, params={"id": "capitals-v1"}))
    with pytest.raises(DataError, match="task 1 of speechless-v1 has no prompt"):
        rows("speechless-v1")
    with pytest.raises(DataError, match=r"verifiers: the taskset failing-v1 does not load: .*no more disk"):
        rows("failing-v1")


def test_a_run_trains_on_a_taskset(one_step: Callable[..., list[dict[str, Any]]]) -> None:
    rollouts = one_step({"name": "verifiers:capitals-v1"}, {"name": "verifiers", "id": "capitals-v1"})
    assert all(row["reward"] == row["environment_reward"] for row in rollouts)


def test_the_package_is_the_one_that_is_named() -> None:
    assert version("verifiers").startswith("0.4.")
    assert "verifiers" in sys.modules
