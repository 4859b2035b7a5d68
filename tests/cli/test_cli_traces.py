"""`rlllm traces` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from command_line import Rlllm

from rlllm.tools.traces.rewards import Unit
from rlllm_cli.commands.traces import Credit

EXAMPLE = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "traces" / "two_workers.json").read_text(encoding="utf-8")
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps({**EXAMPLE, "trace_id": f"run-{at}"}) + "\n" for at in range(3)))
    return path


def test_good_and_bad_files_are_told_apart_by_exit_code(rlllm: Rlllm, file: Path) -> None:
    said = rlllm(f"traces validate {file}")
    assert (said.code, said.out) == (0, "3 of 3 traces fit the schema\n")
    file.write_text(file.read_text() + json.dumps({**EXAMPLE, "topology": "star"}) + "\n")
    said = rlllm(f"traces validate {file} --json")
    assert said.code == 1
    assert (said.json["ok"], said.json["traces"]) == (False, 3)
    assert f"line 4 of {file} is no trace:\n  topology: input should be" in said.json["faults"][0]
    assert rlllm(f"traces validate {file}.gone").code == 2


def test_a_trace_is_drawn_by_its_name(rlllm: Rlllm, file: Path) -> None:
    said = rlllm(f"traces show {file} --trace run-1 --page {file.parent / 'page.html'}")
    assert said.code == 0
    assert "run-1" in said.out
    assert "run-0" not in said.out
    assert "O5_stop" in said.out
    assert (file.parent / "page.html").read_text().count("<svg") == 1
    unknown = rlllm(f"traces show {file} --trace run-9")
    assert unknown.code == 2
    assert "exists: run-0, run-1, run-2" in unknown.err


def test_scores_and_credit(rlllm: Rlllm, file: Path) -> None:
    values = rlllm(f"traces score {file} --json").json
    assert values["run-2"]["critical_steps"] == 9
    assert values["run-2"]["R1_team"] == 1
    weighted = rlllm(f"traces score {file} parallel=1 finish=0 --json").json
    assert weighted["run-2"]["R7_orchestration"] == pytest.approx(1.25)
    assert "critical_steps" in rlllm(f"traces score {file}").out.splitlines()[0]
    rows = rlllm(f"traces score {file} --credit team --json").json
    assert [row["advantage"] for row in rows] == [0, 0, 0]
    assert rlllm(f"traces score {file} paralel=1").code == 2
    assert "weights are written KEY=VALUE" in rlllm(f"traces score {file} parallel").err


def test_every_unit_of_credit_can_be_typed() -> None:
    assert [unit.value for unit in Credit] == list(get_args(Unit))


def test_a_run_without_turns_is_refused(rlllm: Rlllm, tmp_path: Path) -> None:
    said = rlllm(f"traces export {tmp_path} -o {tmp_path / 'out.jsonl'}")
    assert said.code == 2
    assert "environment=NAME" in said.err
