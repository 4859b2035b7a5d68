"""Preference training in iterations: what pairs are made of, that iterations chain, and what a resumed run does again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, PromptTask, Sample
from rlllm.core.runs import Run, file_hash, read_json, read_jsonl
from rlllm.core.verdict import Diagnostics, judge
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.training.trainers.iterative import records_of, steps_per_iteration
from rlllm.training.trainers.iterative_dpo import extremes
from rlllm.training.trainers.spin import data_against_samples

SETTINGS: dict[str, Any] = {
    "method": "iterative-dpo",
    "data": {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 4},
    "rewards": "gold",
    "iterations": 2,
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "num_generations": 4,
    "max_new_tokens": 16,
    "learning_rate": 1e-4,
    "eval": {"rows": 2, "samples": 1},
}


def align(model: str, folder: Path, **settings: Any) -> Run:
    return rlllm.align(**{"model": model, "output_dir": folder, **SETTINGS, **settings})


def codes(run: Run) -> list[str]:
    return [reason["code"] for reason in run.verdict["reasons"]]


def written(run: Run) -> dict[str, tuple[str, int]]:
    """Hash and time of every file of the iterations."""
    files = sorted(path for path in (run.path / "iterations").rglob("*") if path.is_file())
    return {str(path.relative_to(run.path)): (file_hash(path), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def finished(nano: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two iterations of one step under the gold reward."""
    return align(nano, tmp_path_factory.mktemp("iterations") / "run")


def test_every_iteration_is_a_run_of_its_own_and_starts_from_the_one_before(finished: Run) -> None:
    assert (finished.ok, codes(finished), finished.status["state"]) == (True, ["no_measurable_change"], "done")
    first, second = (Run(finished.path / "iterations" / number) for number in "12")
    assert first.ok
    assert second.ok
    assert second.config["settings"]["model"] == str(first.model.resolve())
    assert first.config["settings"]["trainer"]["max_steps"] == 1
    assert file_hash(finished.model / "model.safetensors") == file_hash(second.model / "model.safetensors")
    assert file_hash(first.model / "model.safetensors") != file_hash(second.model / "model.safetensors")
    assert (finished.verdict["diagnostics"]["steps_done"], finished.verdict["diagnostics"]["steps_requested"]) == (2, 2)
    assert [row["step"] for row in finished.metrics()] == [1, 2]


def test_pairs_are_the_better_over_the_worse_by_the_reward(finished: Run) -> None:
    for number in "12":
        rows = list(read_jsonl(finished.path / "iterations" / f"{number}-pairs.jsonl"))
        assert rows
        assert all(row["chosen_score"] > row["rejected_score"] for row in rows)
        assert all(row["chosen"] != row["rejected"] for row in rows)


def test_start_and_end_are_measured_once(finished: Run) -> None:
    measures = {row["name"]: row for row in finished.results["measures"]}
    assert "gold utility" in measures
    assert not list((finished.path / "iterations").rglob("measured_*.json"))


def test_a_resumed_run_keeps_finished_iterations_and_trains_the_rest(nano: str, finished: Run) -> None:
    before = {name: seen for name, seen in written(finished).items() if name.startswith("iterations/1")}
    model = file_hash(finished.model / "model.safetensors")
    shutil.rmtree(finished.path / "iterations" / "2")
    (finished.path / "iterations" / "2-pairs.jsonl").unlink()
    shutil.rmtree(finished.model)
    resumed = align(nano, finished.path, resume=True)
    after = written(resumed)
    assert resumed.ok
    assert {name: seen for name, seen in after.items() if name.startswith("iterations/1")} == before
    assert file_hash(resumed.model / "model.safetensors") == model
    assert [row["step"] for row in resumed.metrics()] == [1, 2]


def test_without_two_different_rewards_in_any_group_the_run_fails_by_that_name(tiny_model: str, tmp_path: Path) -> None:
    (tmp_path / "reward.py").write_text("def same(sample): return 1.0\n")
    run = align(tiny_model, tmp_path / "run", rewards=[f"{tmp_path / 'reward.py'}:same"], eval={"rows": 0})
    assert (run.ok, codes(run)[0], run.status["state"]) == (False, "constant_reward", "failed")
    assert not run.model.exists()


def test_an_iteration_that_fails_fails_the_whole_with_its_reason(tiny_model: str, tmp_path: Path) -> None:
    run = align(tiny_model, tmp_path / "run", learning_rate=0.0, eval={"rows": 0}, rewards=[length(tmp_path)])
    assert (run.ok, codes(run)[0]) == (False, "error")
    assert run.verdict["reasons"][0]["text"].startswith("iteration 1 of 2 failed: the model's weights are the ones")


def test_a_reward_that_breaks_ends_the_run_with_its_words(tiny_model: str, tmp_path: Path) -> None:
    (tmp_path / "reward.py").write_text("def broken(sample): return sample.answer.no_such_field\n")
    run = align(tiny_model, tmp_path / "run", rewards=[f"{tmp_path / 'reward.py'}:broken"], eval={"rows": 0})
    assert codes(run)[0] == "error"
    assert "the reward broken raised AttributeError" in run.verdict["reasons"][0]["text"]


FAILS_ONCE = """
def characters(sample):
    if sample.prompt == {prompt!r}:
        raise KeyError("nothing to see")
    return float(len(sample.completion.encode()))
"""


@pytest.mark.parametrize("lost", [["2-pairs.jsonl", "2-pairs_counts.json", "2-pairs_facts.json"], []])
def test_what_was_seen_of_rewards_in_a_finished_iteration_counts_after_a_resume(
    tiny_model: str, tmp_path: Path, lost: list[str]
) -> None:
    data = {"name": "arithmetic", "level": 1, "rows": 64, "holdout": 0}
    prompt = load(DataConfig(**data), PromptTask).train[0].prompt
    (tmp_path / "once.py").write_text(FAILS_ONCE.format(prompt=prompt))
    settings = {"rewards": [f"{tmp_path / 'once.py'}:characters"], "data": data, "per_device_train_batch_size": 32}
    whole = align(tiny_model, tmp_path / "run", eval={"rows": 0}, **settings)
    before = whole.verdict
    faults = before["diagnostics"]["reward_faults"]
    assert [(fault["failed"], fault["seen"]) for fault in faults] == [(4, 256)], before["reasons"]
    assert before["diagnostics"]["reward_rows"] == 256
    shutil.rmtree(whole.path / "iterations" / "2")
    for name in lost:
        (whole.path / "iterations" / name).unlink()
    shutil.rmtree(whole.model)
    resumed = align(tiny_model, whole.path, eval={"rows": 0}, resume=True, **settings)
    assert resumed.verdict == before


def length(folder: Path) -> str:
    (folder / "length.py").write_text("def characters(sample): return float(len(sample.completion.encode()))\n")
    return f"{folder / 'length.py'}:characters"


def test_self_play_pairs_the_data_with_the_models_own_completion(tiny_model: str, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    answers = {f"say {number}": f"word {number}" for number in range(8)}
    data.write_text("".join(json.dumps({"prompt": p, "completion": a}) + "\n" for p, a in answers.items()))
    run = align(tiny_model, tmp_path / "run", method="spin", data=str(data), num_generations=1, rewards=[])
    assert run.ok
    assert run.results == {}
    for number in "12":
        rows = list(read_jsonl(run.path / "iterations" / f"{number}-pairs.jsonl"))
        assert len(rows) == 4
        assert all(row["chosen"] == answers[row["prompt"]] != row["rejected"] for row in rows)
    first, second = (read_json(run.path / "iterations" / number / "lineage.json") for number in "12")
    assert first["model"]["weights"] != second["model"]["weights"]


def test_text_without_prompts_is_nothing_to_answer(tiny_model: str, tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"text": "just text"}\n' * 2)
    with pytest.raises(DataError, match="no prompt"):
        align(tiny_model, tmp_path / "run", method="spin", data=str(tmp_path / "data.jsonl"), rewards=[])


REFUSED = [
    ({"max_steps": 3}, "3 steps cannot be divided evenly over 2 iterations"),
    ({"rewards": []}, "picks completions by a reward, and none is named"),
    ({"num_generations": 1}, "a pair takes two completions"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED)
def test_settings_that_cannot_work_are_refused_before_anything_is_written(
    tmp_path: Path, tiny_model: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        align(tiny_model, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_steps_are_divided_among_iterations_and_the_hint_divides() -> None:
    assert steps_per_iteration({"max_steps": 60}, 3) == 20
    assert steps_per_iteration({}, 3) is None
    with pytest.raises(ConfigError) as caught:
        steps_per_iteration({"max_steps": 7}, 3)
    assert caught.value.hint == "max_steps=6 or 9"
    with pytest.raises(ConfigError) as caught:
        steps_per_iteration({"max_steps": 2}, 3)
    assert caught.value.hint == "max_steps=3"


def test_iterations_visit_the_next_records_and_start_again_at_the_end() -> None:
    settings = {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 1}
    visited = [records_of([*"abcdefgh"], number, 1, settings) for number in (1, 2, 3)]
    assert visited == [[*"abc"], [*"def"], [*"gha"]]
    assert records_of([*"ab"], 2, 5, settings) == [*"ab"]
    assert records_of([*"abcdefgh"], 3, None, settings) == [*"abcdefgh"]


def sample(text: str) -> Sample:
    return Sample("q", text)


EXTREMES: list[tuple[list[tuple[str, float | None]], tuple[str, str] | None]] = [
    ([("a", 1.0), ("b", 3.0), ("c", 2.0)], ("b", "a")),
    ([("a", 3.0), ("b", 3.0), ("c", 1.0), ("d", 1.0)], ("a", "c")),
    ([("a", 1.0), ("b", 1.0)], None),
    ([("a", None), ("b", 1.0)], None),
    ([("a", None), ("b", None)], None),
    ([("a", None), ("b", 1.0), ("c", 0.0)], ("b", "c")),
    ([(" ", 3.0), ("b", 2.0), ("c", 1.0)], ("b", "c")),
    ([("", 1.0), ("b", 2.0)], ("b", "")),
    ([("", 2.0), ("b", 1.0)], None),
    ([("a", 1.0), ("a", 2.0)], None),
]


@pytest.mark.parametrize(("group", "pair"), EXTREMES)
def test_a_pair_is_the_best_text_over_the_worst(group: list[tuple[str, float | None]], pair: Any) -> None:
    row = extremes([(sample(text), score) for text, score in group])
    assert (row and (row["chosen"], row["rejected"])) == pair


def test_pairs_of_a_file_serve_self_play_by_their_better_side(tiny_model: str, tmp_path: Path) -> None:
    data = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"say {number}", "chosen": f"yes {number}", "rejected": "no"} for number in range(8)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = {"name": str(data), "columns": {"completion": "chosen"}}
    run = align(tiny_model, tmp_path / "run", method="spin", data=chosen, num_generations=1, rewards=[])
    assert run.ok
    assert {row["chosen"][:3] for row in read_jsonl(run.path / "iterations" / "1-pairs.jsonl")} == {"yes"}


@pytest.mark.parametrize(("own", "kept", "fatal"), [(["data", "mine"], 1, False), (["data", "data"], 0, True)])
def test_an_answer_that_is_the_datas_own_text_makes_no_pair(own: list[str], kept: int, fatal: bool) -> None:
    diagnostics = Diagnostics(rows=1)
    job: Any = SimpleNamespace(diagnostics=diagnostics)
    rows = data_against_samples(job, [Conversation("q", "data")], [[sample(text) for text in own]])
    assert len(rows) == kept
    assert [(reason.code, reason.fatal) for reason in judge(diagnostics).reasons] == [("identical_pairs", fatal)]
