"""Rows from a run: which completions are chosen, what they say of where they come from, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlllm import data_from_run
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, PreferencePair
from rlllm.core.runs import read_json, read_jsonl
from rlllm.data.config import DataConfig
from rlllm.data.from_run import FromRunParams, rows_of_run
from rlllm.data.load import load


def sample(prompt: str, completion: str, reward: float, tokens: int, step: int = 1, **more: Any) -> dict[str, Any]:
    rewards = {"exact": {"value": float(reward >= 1)}, "format": {"value": 1.0}}
    first = {"step": step, "row": 0, "prompt": prompt, "completion": completion, "answer": "4", "reward": reward}
    return {**first, "rewards": rewards, "advantage": 0.0, "truncated": False, "tokens": tokens, "level": 2, **more}


SAMPLES = [
    sample("2+2?", "two and two is 4", 1.1, 9),
    sample("2+2?", "4", 1.0, 1),
    sample("2+2?", "4", 1.0, 1, step=2),
    sample("2+2?", "5", 0.1, 1),
    sample("cut?", "4 and so", 1.1, 3, truncated=True),
    sample("shown?", "4, as given", 1.1, 4, demonstration=True),
    sample("hard?", "no", 0.0, 1),
    sample("hard?", "never", 0.0, 1),
    sample("hard?", "4!", 1.0, 2, step=3),
    sample("never?", "no", 0.1, 1),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SAMPLES))
    return tmp_path / "run"


CHOSEN: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["two and two is 4", "4!"]),
    ({"choose": "short"}, ["4", "4!"]),
    ({"choose": "hard"}, ["4!"]),
    ({"each": 5}, ["two and two is 4", "4", "4!"]),
    ({"since_step": 2}, ["4", "4!"]),
    ({"least": 0.0}, ["two and two is 4", "4!", "no"]),
]


@pytest.mark.parametrize(("params", "completions"), CHOSEN)
def test_right_completions_are_chosen(run: Path, params: dict[str, Any], completions: list[str]) -> None:
    found = rows_of_run(FromRunParams(run=str(run), **params))
    assert [item.row["completion"] for item in found.chosen] == completions


def test_a_file_of_rows_says_which_samples_of_which_run_they_are(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    written = data_from_run(run, out=out, choose="short")
    assert (written.rows, written.samples, written.right, written.prompts) == (2, 9, 4, 4)
    rows = list(read_jsonl(out))
    assert {key: rows[0][key] for key in ("prompt", "completion", "step", "reward", "solved", "run")} == {
        "prompt": "2+2?",
        "completion": "4",
        "step": 2,
        "reward": 1.0,
        "solved": 0.75,
        "run": written.run,
    }
    assert len({row["sample"] for row in rows}) == 2
    lineage = read_json(tmp_path / "rows.jsonl.lineage.json")
    assert (lineage["run"], lineage["params"]["choose"], lineage["rows"]) == (written.run, "short", 2)
    with pytest.raises(ConfigError, match="the file exists"):
        data_from_run(run, out=out)
    loaded = load(DataConfig(name=str(out), holdout=0), Conversation)
    assert [record.completion for record in loaded.train] == ["4", "4!"]


def test_a_run_is_a_data_set_whose_prompts_are_in_one_split_only(tmp_path: Path) -> None:
    rows = [sample(f"What is {number}?", "4", 1.0, 1) for number in range(200)]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load(DataConfig(name=f"from-run:{tmp_path}", rows=500, holdout=500), Conversation)
    assert len(loaded.train) + len(loaded.holdout) == 200
    assert len(loaded.holdout) == 20
    assert not {row.prompt for row in loaded.train} & {row.prompt for row in loaded.holdout}
    assert loaded.train[0].meta["level"] == 2
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[1:]))
    assert load(DataConfig(name=f"from-run:{tmp_path}", rows=500), Conversation).hash != loaded.hash


def test_of_two_prompts_one_is_held_out(run: Path) -> None:
    loaded = load(DataConfig(name=f"from-run:{run}", holdout=8), Conversation)
    assert (len(loaded.train), len(loaded.holdout)) == (1, 1)


def test_what_has_nothing_to_imitate_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sampled no completions to train on"):
        rows_of_run(FromRunParams(run=str(tmp_path)))
    (tmp_path / "items.jsonl").write_text("")
    with pytest.raises(DataError, match="held out"):
        rows_of_run(FromRunParams(run=str(tmp_path)))
    with pytest.raises(DataError, match="none of 9 completions"):
        rows_of_run(FromRunParams(run=str(run), least=2.0))
    with pytest.raises(DataError, match="from-run cannot make PreferencePair rows"):
        load(DataConfig(name=f"from-run:{run}"), PreferencePair)
    with pytest.raises(ConfigError, match="unknown parameter of this data set: eahc"):
        load(DataConfig(name=f"from-run:{run}", params={"eahc": 2}), Conversation)
