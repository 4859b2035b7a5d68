"""The workspace: files, runs and a submission; programs that go for the reward get none; transcripts show what it says."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.errors import ConfigError
from rlllm.core.records import Conversation, PromptTask
from rlllm.data.procedural.programs import workspace
from rlllm.data.request import DataRequest, Split
from rlllm.policies.chat import as_prompt
from rlllm.rollouts.environments.workspace import Workspace
from rlllm.sandbox import missing_layers

SUMS = [{"stdin": "1 2", "stdout": "3"}, {"stdin": "4 5\n", "stdout": "9\n"}]
RIGHT = "print(sum(map(int, input().split())))"


@pytest.fixture(params=["full", "none"])
def place(request: Any) -> Workspace:
    if request.param == "full" and (lacking := missing_layers()):
        pytest.skip(f"full isolation is refused here: {lacking[0]}")
    place = Workspace(isolation=request.param, seconds=2.0)
    place.reset(prompt="Add.", tests=SUMS)
    return place


def test_a_program_is_written_run_and_submitted(place: Workspace) -> None:
    assert (
        place.write("lib/adding.py", "def add(line):\n    return sum(map(int, line.split()))\n")
        == "lib/adding.py: 2 lines"
    )
    assert place.write("main.py", "from lib.adding import add\nprint(add(input()))") == "main.py: 2 lines"
    assert place.run("main.py", "20 22") == "42"
    assert place.get_reward() == 0
    assert place.submit("main.py") == "accepted"
    assert place.get_reward() == 1
    for call in (lambda: place.write("a.py", ""), lambda: place.run("main.py"), lambda: place.submit("main.py")):
        with pytest.raises(ValueError, match="the task is over"):
            call()
    place.reset(prompt="Add.", tests=SUMS)
    assert place.get_reward() == 0
    with pytest.raises(ValueError, match=r"no file main\.py; there are: none"):
        place.run("main.py")


FAILING = [
    ("print(0)", "0", "rejected"),
    ("print(1/0)", "ZeroDivisionError: division by zero\nexit status 1", "rejected"),
    (f"{RIGHT}\nraise SystemExit(3)", "3\nexit status 3", "rejected"),
    ("", "printed nothing", "rejected"),
    ("print('x' * 2000 + 'end')", "end", "rejected"),
    ("while True: pass", "ran out of time", "rejected"),
    (f"open('left', 'x')\n{RIGHT}", "3", "accepted"),  # runs leave nothing to each other
]


@pytest.mark.parametrize(("source", "end", "verdict"), FAILING, ids=[source[:20] for source, *_ in FAILING])
def test_what_a_program_prints_and_how_it_ends_is_shown(place: Workspace, source: str, end: str, verdict: str) -> None:
    place.write("a.py", source)
    shown = place.run("a.py", "1 2")
    assert shown.endswith(end)
    assert len(shown) < 600
    assert place.submit("a.py") == verdict


def test_the_tests_are_out_of_a_programs_sight(place: Workspace) -> None:
    place.reset(tests=[{"stdin": "5", "stdout": "73109"}])
    place.write(
        "a.py",
        "import os\ntexts = [open(name).read() for name in os.listdir()]\nprint(len(texts), '731' + '09' in str(texts))",
    )
    assert place.run("a.py", "5").endswith("False")


@pytest.mark.parametrize("path", ["../up.py", "/etc/passwd", "a b.py", "", "x/../y.py", ".hidden"])
def test_a_file_stays_in_the_workspace(place: Workspace, path: str) -> None:
    with pytest.raises(ValueError, match="no name of a file here"):
        place.write(path, "")


def test_the_files_of_a_workspace_are_bounded(place: Workspace) -> None:
    place.write("a.py", "#" * 150_000)
    place.write("a.py", "#" * 150_000)
    with pytest.raises(ValueError, match="at most 200,000 characters"):
        place.write("b.py", "#" * 60_000)


def test_settings_and_rows_without_meaning_are_refused(place: Workspace) -> None:
    with pytest.raises(ConfigError, match="memory_mb is 64 or more"):
        Workspace(isolation="none", memory_mb=8)
    with pytest.raises(ConfigError, match="the row has no tests"):
        place.reset(tests=[])


def tasks(level: int, split: Split = "train", count: int = 60) -> list[PromptTask]:
    return workspace(DataRequest(kind=PromptTask, split=split, rows=count, seed=0, level=level))  # type: ignore[return-value]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_the_solution_of_every_row_is_accepted(level: int) -> None:
    place = Workspace(isolation="none")
    for task in tasks(level, count=4):
        place.reset(**task.meta)
        place.write("a.py", task.meta["solution"])
        assert place.run("a.py", task.meta["example"]["stdin"]) == task.meta["example"]["stdout"]
        assert place.submit("a.py") == "accepted"


def test_no_program_is_in_both_splits() -> None:
    solutions = [{task.meta["solution"] for task in tasks(1, split, 1000)} for split in ("train", "holdout")]
    assert not solutions[0] & solutions[1]
    assert len(solutions[1]) > 100


@pytest.mark.parametrize("runs", [1.0, 0.0])
def test_transcripts_show_what_the_environment_says(runs: float) -> None:
    request = DataRequest(kind=Conversation, rows=40, seed=0, level=1, params={"runs": runs, "slips": 0.5})
    place, rewards = Workspace(isolation="none"), []
    for turn in workspace(request):
        assert isinstance(turn, Conversation)
        if turn.completion != "done":
            continue
        place.reset(**turn.meta)
        assert isinstance(turn.prompt, list)
        for call, result in zip(turn.prompt[1::2], turn.prompt[2::2], strict=True):
            name, _, rest = str(call["content"]).removeprefix("<<").removesuffix(">>").partition(" ")
            given = dict(part.split("=", 1) for part in rest.split(";"))
            assert getattr(place, name)(**given) == result["content"]
        rewards.append(place.get_reward())
    assert len(rewards) > 5
    assert (sum(rewards) == len(rewards)) == (runs == 1.0)


@pytest.mark.parametrize("level", [1, 3])
def test_a_program_passes_through_the_notation_of_nano_and_its_context(level: int) -> None:
    tokenizer = build_tokenizer()
    for turn in workspace(DataRequest(kind=Conversation, rows=40, seed=0, level=level, params={"runs": 1.0})):
        assert isinstance(turn, Conversation)
        before = tokenizer.apply_chat_template(
            as_prompt(tokenizer, turn.prompt), add_generation_prompt=True, return_dict=False
        )
        ids = tokenizer.encode(str(turn.completion), add_special_tokens=False)
        assert len(before) + len(ids) < tokenizer.model_max_length
        message = tokenizer.parse_response([*ids, tokenizer.eos_token_id], prefix=before, tools=[])
        calls = [call.get("function", call) for call in message.get("tool_calls") or []]
        said = [
            f"<<{call['name']} {';'.join('='.join(pair) for pair in call['arguments'].items())}>>" for call in calls
        ]
        assert turn.completion == ("".join(said) or message["content"])
