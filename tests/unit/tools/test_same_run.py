"""The comparison of two run directories finds every number that differs, and none that may."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rlllm.core.runs import write_json, write_jsonl
from rlllm.tools.resume_proof.same_run import NOT_COMPARED, VARYING, compare_runs, varying

PAGE = Path(__file__).parents[3] / "docs" / "guides" / "faults.md"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with the files of one small run."""
    one = tmp_path / "one" / "run"
    checkpoint = one / "checkpoints" / "checkpoint-2"
    checkpoint.mkdir(parents=True)
    (one / "model").mkdir()
    weights = {"layer": torch.arange(6.0).reshape(2, 3)}
    save_file(weights, one / "model" / "model.safetensors")
    torch.save({"state": {0: {"exp_avg": torch.ones(3), "step": torch.tensor(2.0)}}}, checkpoint / "optimizer.pt")
    write_json(checkpoint / "manifest.json", {"optimizer.pt": "1"})
    write_json(one / "config.json", {"stage": "reason", "settings": {"output_dir": str(one)}})
    write_json(one / "verdict.json", {"ok": True, "diagnostics": {"findings": [], "reward_spread": 0.5}})
    rows = [{"step": step, "time": step * 1.5, "loss": 0.5 * step, "num_tokens": 10.0 * step} for step in (1, 2)]
    write_jsonl(one / "metrics.jsonl", rows)
    write_jsonl(one / "samples.jsonl", [{"step": 1, "completion": "4", "reward": float("nan")}])
    other = tmp_path / "other" / "run"
    shutil.copytree(one, other)
    write_json(other / "config.json", {"stage": "reason", "settings": {"output_dir": str(other)}})
    return one, other


def change(file: str, edit: Callable[[Any], object]) -> Callable[[Path], None]:
    """An edit of the values in a file of JSON; of its rows, where it has several."""

    def apply(run: Path) -> None:
        path = run / file
        if path.suffix == ".json":
            value = json.loads(path.read_text())
            edit(value)
            path.write_text(json.dumps(value))
            return
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        edit(rows)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    return apply


def other_weights(run: Path) -> None:
    weights = torch.arange(6.0).reshape(2, 3)
    weights[1, 0] += 1e-6
    save_file({"layer": weights}, run / "model" / "model.safetensors")


def other_moments(run: Path) -> None:
    state = {"state": {0: {"exp_avg": torch.tensor([1.0, 1.0, 2.0]), "step": torch.tensor(2.0)}}}
    torch.save(state, run / "checkpoints" / "checkpoint-2" / "optimizer.pt")


DIFFERENCES: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "a loss": (
        change("metrics.jsonl", lambda rows: rows[1].update(loss=1.0000000000000002)),
        "metrics.jsonl, step 2, loss",
        "1.0",
        "1.0000000000000002",
    ),
    "a metric that is not there": (
        change("metrics.jsonl", lambda rows: rows[0].pop("loss")),
        "metrics.jsonl, step 1, loss",
        "0.5",
        "nothing",
    ),
    "a step that is logged twice": (
        change("metrics.jsonl", lambda rows: rows.append(rows[1])),
        "metrics.jsonl",
        "2 rows",
        "3 rows",
    ),
    "a completion": (
        change("samples.jsonl", lambda rows: rows[0].update(completion="5")),
        "samples.jsonl, step 1, completion",
        "'4'",
        "'5'",
    ),
    "a finding": (
        change("verdict.json", lambda verdict: verdict["diagnostics"].update(findings=["plateau"])),
        "verdict.json, diagnostics.findings",
        "[]",
        "['plateau']",
    ),
    "a fact": (
        change("verdict.json", lambda verdict: verdict["diagnostics"].update(reward_spread=0.25)),
        "verdict.json, diagnostics.reward_spread",
        "0.5",
        "0.25",
    ),
    "a weight": (other_weights, "model/model.safetensors, layer[3]", "3.0", "3.0000009536743164"),
    "the optimizer": (
        other_moments,
        "checkpoints/checkpoint-2/optimizer.pt, step 2, state.0.exp_avg[2]",
        "1.0",
        "2.0",
    ),
    "a file that is missing": (lambda run: (run / "verdict.json").unlink(), "verdict.json", "there", "not there"),
    "a file that a kill left": (
        lambda run: (run / "verdict.json.partial").write_text("{"),
        "verdict.json.partial",
        "not there",
        "there",
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_first_difference_is_named_by_file_step_and_value(pair: tuple[Path, Path], name: str) -> None:
    edit, place, one, other = DIFFERENCES[name]
    edit(pair[1])
    found = compare_runs(*pair).difference
    assert found is not None
    assert (found.place, found.one, found.other) == (place, one, other)


def test_two_runs_that_differ_in_times_and_their_folder_are_equal(pair: tuple[Path, Path]) -> None:
    change("metrics.jsonl", lambda rows: rows[0].update(time=9.0))(pair[1])
    write_json(pair[1] / "checkpoints" / "checkpoint-2" / "manifest.json", {"optimizer.pt": "2"})
    (pair[1] / "report.html").write_text("later")
    compared = compare_runs(*pair)
    assert compared.difference is None
    assert compared.files == 6


def test_tokens_are_compared_where_they_are_counted_through_a_resume(pair: tuple[Path, Path]) -> None:
    change("metrics.jsonl", lambda rows: rows[0].update(num_tokens=1.0))(pair[1])
    found = compare_runs(*pair).difference
    assert found is not None
    assert found.value == "num_tokens"
    assert "num_tokens" in varying("sft")


def test_the_page_lists_everything_that_is_not_compared() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in {**NOT_COMPARED, **VARYING} if f"`{name}`" not in text] == []
