"""From a name to records: finding the source, holding out, limiting, hashing."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError, DataError, RlllmError, UnknownNameError
from rlllm.core.records import Conversation, PreferencePair, PromptTask, Record
from rlllm.data.config import DataConfig
from rlllm.data.load import Loaded, load
from rlllm.data.sources import HubSource, PathSource, find


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def prompts(count: int, copies: int = 1) -> list[dict[str, Any]]:
    return [{"prompt": f"p{n}", "answer": str(n), "copy": c} for n in range(count) for c in range(copies)]


def loaded(name: str, kind: type[Record] = PromptTask, **settings: Any) -> Loaded:
    return load(DataConfig(name=name, **settings), kind)


def test_a_file_is_loaded_in_its_own_order_without_a_holdout(tmp_path: Path) -> None:
    data = loaded(write(tmp_path / "a.jsonl", prompts(5)))
    assert [task.answer for task in data.train] == ["0", "1", "2", "3", "4"]
    assert (data.holdout, data.rewards) == ([], ())
    assert data.columns == {"prompt": "prompt", "answer": "answer"}
    assert data.source.endswith("a.jsonl: 5 training rows")


def test_rows_limits_what_is_left_after_the_holdout(tmp_path: Path) -> None:
    name = write(tmp_path / "a.jsonl", prompts(20))
    whole, part = loaded(name, holdout=5), loaded(name, holdout=5, rows=4)
    assert (len(whole.train), len(whole.holdout), len(part.train)) == (15, 5, 4)
    assert part.holdout == whole.holdout
    assert part.train == whole.train[:4]


def test_the_short_form_takes_the_first_rows(tmp_path: Path) -> None:
    name = write(tmp_path / "a.jsonl", [*prompts(3), {"prompt": None}])
    assert len(load(DataConfig.model_validate(f"{name}#3"), PromptTask).train) == 3


@given(count=st.integers(2, 12), copies=st.integers(1, 3), holdout=st.integers(1, 8))
def test_no_prompt_ever_stands_on_both_sides(
    tmp_path_factory: pytest.TempPathFactory, count: int, copies: int, holdout: int
) -> None:
    name = write(tmp_path_factory.mktemp("split") / "a.jsonl", prompts(count, copies))
    try:
        data = loaded(name, holdout=holdout)
    except DataError:
        assert holdout >= count * copies or holdout < copies
        return
    assert not {task.prompt for task in data.train} & {task.prompt for task in data.holdout}
    assert len(data.train) + len(data.holdout) == count * copies
    assert len(data.holdout) == holdout - holdout % copies


def test_the_holdout_depends_neither_on_the_order_nor_on_the_seed(tmp_path: Path) -> None:
    rows = prompts(30)
    one = loaded(write(tmp_path / "a.jsonl", rows), holdout=6)
    other = loaded(write(tmp_path / "b.jsonl", rows[::-1]), holdout=6, seed=3)
    assert {task.prompt for task in one.holdout} == {task.prompt for task in other.holdout}


def test_plain_texts_are_held_out_by_their_text(tmp_path: Path) -> None:
    name = write(tmp_path / "a.jsonl", [{"text": f"text {n % 4}"} for n in range(12)])
    data = loaded(name, Conversation, holdout=3)
    assert len({record.completion for record in data.holdout}) == 1
    assert len(data.train) == 9


@pytest.mark.parametrize(
    ("copies", "holdout", "problem"),
    [(1, 4, "a holdout of 4 rows leaves none of 4"), (1, 9, "of 4"), (3, 2, "at least 3")],
)
def test_an_impossible_holdout_is_an_error_with_the_numbers(
    tmp_path: Path, copies: int, holdout: int, problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        loaded(write(tmp_path / "a.jsonl", prompts(4, copies)), holdout=holdout)


def test_the_hash_follows_the_content_and_only_the_content(tmp_path: Path) -> None:
    rows = prompts(4)
    same = [loaded(write(tmp_path / name, rows)).hash for name in ("a.jsonl", "b.jsonl")]
    other = loaded(write(tmp_path / "c.jsonl", [*rows[:3], {**rows[3], "copy": 9}])).hash
    assert same[0] == same[1] != other


@pytest.mark.parametrize("kind", [PromptTask, Conversation, PreferencePair])
def test_a_procedural_source_has_a_held_out_split_of_its_own(kind: type[Record]) -> None:
    data = loaded("arithmetic", kind, rows=20, holdout=10)
    assert (len(data.train), len(data.holdout)) == (20, 10)
    assert all(isinstance(record, kind) for record in [*data.train, *data.holdout])
    assert not {str(record.prompt) for record in data.train} & {str(record.prompt) for record in data.holdout}
    assert data.rewards


def test_a_procedural_source_without_numbers_gives_2000_and_256_rows() -> None:
    data = loaded("arithmetic")
    assert (len(data.train), len(data.holdout)) == (2000, 256)


@pytest.mark.parametrize(
    ("name", "settings", "field"),
    [
        ("rows.jsonl", {"level": 2}, "level"),
        ("rows.jsonl", {"params": {"a": 1}}, "params"),
        ("rows.jsonl", {"subset": "main"}, "subset"),
        ("rows.jsonl", {"revision": "v1"}, "revision"),
        ("rows.jsonl", {"split": "test"}, "split"),
        ("arithmetic", {"columns": {"prompt": "q"}}, "columns"),
        ("arithmetic", {"split": "test"}, "split"),
        ("org/name", {"level": 1}, "level"),
        ("gym:chain_sum", {"params": {"task": "x"}}, "task"),
    ],
)
def test_a_setting_the_source_does_not_take_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any], field: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.jsonl", prompts(2))
    with pytest.raises(ConfigError, match=rf"{field}|splits"):
        loaded(name, **settings)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("arithmetik", "did you mean arithmetic?"),
        ("gmy:chain_sum", "did you mean gym?"),
        ("tasks", "did you mean tasks.jsonl?"),
        ("taks.jsonl", "did you mean tasks.jsonl?"),
        ("./taks", "did you mean tasks.jsonl?"),
        ("folder/trian", "did you mean folder/train.csv?"),
        ("nothing-like-it", "list them with: rlllm data ls"),
    ],
)
def test_an_unknown_name_gets_the_nearest_name_or_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "tasks.jsonl", prompts(1))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.csv").write_text("prompt\np\n")
    with pytest.raises((UnknownNameError, DataError)) as caught:
        find(name)
    assert caught.value.hint == hint
    assert caught.value.exit_code == 2


def test_org_slash_name_is_a_hub_id_unless_it_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("openai/gsm8k") == HubSource("openai/gsm8k")
    (tmp_path / "openai" / "gsm8k").mkdir(parents=True)
    assert isinstance(find("openai/gsm8k"), PathSource)


def test_a_registered_name_wins_over_a_folder_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arithmetic").mkdir()
    assert not isinstance(find("arithmetic"), PathSource)
    assert isinstance(find("./arithmetic"), PathSource)


@given(name=st.text(min_size=1, max_size=400))
def test_any_text_is_a_source_or_an_error_of_ours(name: str) -> None:
    with contextlib.suppress(RlllmError):
        find(name)


def test_a_function_in_a_file_is_a_dataset(tmp_path: Path) -> None:
    script = tmp_path / "rows.py"
    script.write_text(
        "def make(request):\n"
        "    start = 0 if request.split == 'train' else 1000\n"
        "    while True:\n"
        "        start += 1\n"
        "        yield {'q': f'{request.seed} {start}', 'target': start}\n"
        "make.rewards = ('exact',)\n"
    )
    data = loaded(f"{script}:make", rows=3, holdout=2, seed=7, columns={"prompt": "q"})
    assert data.train == [PromptTask(f"7 {n}", str(n)) for n in (1, 2, 3)]
    assert [task.prompt for task in data.holdout] == ["7 1001", "7 1002"]
    assert data.rewards == ("exact",)


IGNORES_SPLIT = "def make(request):\n    return [{'prompt': 'p', 'answer': 'a'}]\n"


def test_held_out_rows_that_are_trained_on_are_dropped(tmp_path: Path) -> None:
    script = tmp_path / "rows.py"
    script.write_text(IGNORES_SPLIT)
    assert loaded(f"{script}:make").holdout == []
    with pytest.raises(DataError, match="also trained on"):
        loaded(f"{script}:make", holdout=1)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("def make(request):\n    return 1 / 0\n", "ZeroDivisionError"),
        ("def make():\n    return []\n", "TypeError"),
        ("def make(request):\n    return [1]\n", "not a mapping"),
        ("def make(request):\n    return []\n", "no rows"),
        ("def make(request):\n    return None\n", "TypeError"),
        ("def make(request):\n    return [{'prompt': 'a', 'x': '\\ud800'}]\n", "cannot be stored"),
        ("def make(request):\n    return [{'prompt': 'a', 'x': {1: 1, 'a': 2}}]\n", "cannot be stored"),
        (
            "from rlllm import Conversation\ndef make(request):\n    return [Conversation('a', 'b')]\n",
            "is a Conversation, where PromptTask was asked for",
        ),
        ("make = 3\n", "must be callable"),
        ("import nothing_like_this\n", "does not import"),
        ("other = 3\n", "unknown dataset in"),
    ],
)
def test_a_dataset_file_that_fails_is_one_error(tmp_path: Path, body: str, problem: str) -> None:
    script = tmp_path / "rows.py"
    script.write_text(body)
    with pytest.raises(RlllmError, match=problem) as caught:
        loaded(f"{script}:make", rows=2, holdout=0)
    assert caught.value.exit_code == 2


def run_python(code: str, **env: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **env}
    )
    return result.stdout


def test_loading_a_local_file_imports_nothing_heavy(tmp_path: Path) -> None:
    name = write(tmp_path / "a.jsonl", prompts(3))
    heavy = {"torch", "transformers", "datasets", "trl", "numpy", "scipy", "pyarrow", "reasoning_gym"}
    code = (
        "import sys\nfrom rlllm.core.records import PromptTask\nfrom rlllm.data.inspect.summary import check\n"
        "from rlllm.data.config import DataConfig\nfrom rlllm.data.load import load\n"
        f"print(check(load(DataConfig(name={name!r}, holdout=1), PromptTask)).train)\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    assert run_python(code).split("\n")[:2] == ["2", "[]"]


def test_a_hub_id_that_cannot_be_reached_names_the_alternatives(tmp_path: Path) -> None:
    code = (
        "from rlllm.core.errors import DataError\nfrom rlllm.core.records import PromptTask\n"
        "from rlllm.data.config import DataConfig\nfrom rlllm.data.load import load\n"
        "try:\n    load(DataConfig(name='no-such-org/no-such-name'), PromptTask)\n"
        "except DataError as error:\n    print(error.exit_code.value, error)"
    )
    shown = run_python(code, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert shown.startswith("2 the Hub cannot be reached")
    assert "local file" in shown
    assert "rlllm data ls" in shown
