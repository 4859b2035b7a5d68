"""How runs are listed, shown and concluded. The run directories are real ones, written as stages write them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import Rlllm

from rlllm.core.outcome import outcome_of
from rlllm.core.runs import Run, append_jsonl, write_json
from rlllm.core.verdict import Diagnostics, judge
from rlllm_cli import outcome
from rlllm_cli.invocation import Invocation
from rlllm_cli.outcome import conclude, next_commands


def interval(estimate: float) -> dict[str, Any]:
    return {"estimate": estimate, "low": estimate - 0.05, "high": estimate + 0.05, "n": 64, "method": "bootstrap"}


MEASURE = {
    "name": "pass@1",
    "higher_is_better": True,
    "before": interval(0.4),
    "after": interval(0.7),
    "difference": {**interval(0.3), "p_value": 0.001},
}
SAMPLES = [
    {
        "step": 1,
        "prompt": "1+1=",
        "completion": "3",
        "answer": "2",
        "reward": 0.0,
        "rewards": {"exact": {"value": 0.0}},
    },
    {
        "step": 1,
        "prompt": "1+1=",
        "completion": "2",
        "answer": "2",
        "reward": 1.0,
        "rewards": {"exact": {"value": 1.0}},
    },
    {
        "step": 2,
        "prompt": "2+2=",
        "completion": "?",
        "answer": "4",
        "reward": None,
        "rewards": {"exact": {"value": None}},
    },
]
Make = Callable[..., Run]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(
        name: str = "one",
        stage: str = "reason",
        diagnostics: Diagnostics | None = None,
        results: Mapping[str, Any] | None = None,
        fail_on: Sequence[str] = (),
        **settings: Any,
    ) -> Run:
        run = Run(tmp_path / "runs" / name)
        diagnostics = diagnostics or Diagnostics(steps_requested=2, steps_done=2, rows=8)
        verdict = judge(diagnostics, None if results is None else outcome_of(results), fail_on)
        if results is not None:
            write_json(run.path / "results.json", results)
        command = f"rlllm {stage} --output-dir runs/{name}"
        settings = {"model": "nano", "data": {"name": "arithmetic"}, **settings}
        write_json(run.path / "config.json", {"stage": stage, "digest": "d", "command": command, "settings": settings})
        write_json(run.path / "verdict.json", verdict.to_json())
        state = "interrupted" if diagnostics.interrupted else "done" if verdict.carried_out else "failed"
        run.set_status(state)
        run.model.mkdir()
        return run

    return build


def changed(low: float, high: float) -> dict[str, Any]:
    """Results whose main measure moved by between `low` and `high`."""
    difference = {**interval((low + high) / 2), "low": low, "high": high, "p_value": 0.5}
    return {"measures": [{**MEASURE, "difference": difference}]}


OUTCOMES = [
    ("improved", changed(0.26, 0.34), "improved: pass@1 +0.30 [0.26, 0.34]", 0),
    ("no measurable change", changed(-0.071, 0.057), "no measurable change: pass@1 -0.007 [-0.071, 0.057]", 0),
    ("got worse", changed(-0.41, -0.22), "got worse: pass@1 -0.32 [-0.41, -0.22]", 1),
    ("not measured", {}, "not measured", 0),
]


@pytest.mark.parametrize(("state", "results", "words", "code"), OUTCOMES)
def test_a_run_ends_with_its_outcome(
    state: str, results: dict[str, Any], words: str, code: int, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(results=results)
    assert exit_code(run) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split(maxsplit=1) == ["outcome", words]
    assert lines[2].split(maxsplit=1) == ["verdict", "failed: got_worse" if code else "ok"]
    assert (run.outcome and run.outcome.state) == state
    assert run.carried_out


@pytest.mark.parametrize(("state", "results", "words", "code"), OUTCOMES)
def test_the_outcome_is_in_every_json_document_and_listing(
    state: str, results: dict[str, Any], words: str, code: int, make: Make, rlllm: Rlllm
) -> None:
    run = make(results=results)
    document = rlllm("runs show runs/one --json").json
    assert document["outcome"] == document["verdict"]["outcome"] == run.verdict["outcome"]
    assert set(document["outcome"]) == {"state", "measure", "difference", "before", "after", "higher_is_better"}
    assert document["outcome"]["state"] == state
    assert document["ok"] is (code == 0)
    assert rlllm("runs ls --json").json[0]["outcome"] == state
    assert state in rlllm("runs ls").out
    assert words in rlllm("runs show runs/one").out


def test_an_evaluation_has_no_outcome(make: Make, rlllm: Rlllm) -> None:
    run = make(stage="eval")
    assert exit_code(run) == 0
    assert run.outcome is None
    assert rlllm("runs show runs/one --json").json["outcome"] is None
    assert rlllm("runs ls --json").json[0]["outcome"] is None


def test_an_outcome_that_was_asked_to_fail_exits_with_one(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(make(results=changed(-0.1, 0.1), fail_on=["no-gain"])) == 1
    streams = capsys.readouterr()
    assert "failed: no_measurable_change" in streams.out
    assert streams.err.startswith("error: pass@1 did not change measurably")


def exit_code(run: Run) -> int:
    try:
        conclude(run, Invocation(("reason",)), as_json=False)
    except typer.Exit as ended:
        return int(ended.exit_code)
    return 0


def test_runs_are_listed_with_their_verdict_and_result(make: Make, rlllm: Rlllm) -> None:
    make("one", results={"measures": [MEASURE]})
    make("two", diagnostics=Diagnostics(steps_requested=2, steps_done=2, rows=8, weights_changed=False))
    said = rlllm("runs ls")
    assert said.code == 0
    header, first, second = said.out.splitlines()
    assert header.split() == ["run", "stage", "model", "verdict", "outcome", "result", "ended"]
    assert "pass@1 0.400 [0.350, 0.450] -> 0.700 [0.650, 0.750]" in first
    assert "failed: weights_unchanged" in second
    assert [row["verdict"] for row in rlllm("runs ls --json").json] == ["ok", "failed: weights_unchanged"]


def test_no_runs_is_not_an_error(rlllm: Rlllm) -> None:
    said = rlllm("runs ls")
    assert (said.code, said.out, said.err) == (0, "", "no runs in runs\n")
    assert rlllm("runs ls --json").json == []


def test_a_run_is_shown_with_results_and_last_metrics(make: Make, rlllm: Rlllm) -> None:
    run = make()
    write_json(run.path / "results.json", {"measures": [MEASURE]})
    append_jsonl(run.path / "metrics.jsonl", [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "note": "text"}])
    said = rlllm("runs show runs/one")
    lines = dict(line.split("  ", 1) for line in said.out.splitlines() if "  " in line)
    assert lines["verdict"].strip() == "ok"
    assert lines["command"].strip() == "rlllm reason --output-dir runs/one"
    assert lines["last step"].strip() == "2"
    assert lines["loss"].strip() == "0.25"
    shown = rlllm("runs show runs/one --json").json
    assert shown["metrics"] == {"step": 2, "loss": 0.25, "note": "text"}
    assert shown["results"]["measures"][0]["name"] == "pass@1"


@pytest.mark.parametrize(("which", "completions"), [("worst", ["3", "2"]), ("best", ["2", "3"]), ("last", ["2", "?"])])
def test_samples_are_chosen_by_reward_and_unjudged_ones_are_neither_best_nor_worst(
    which: str, completions: list[str], make: Make, rlllm: Rlllm
) -> None:
    append_jsonl(make().path / "samples.jsonl", SAMPLES)
    shown = rlllm(f"runs show runs/one --samples {which} -n 2 --json").json["samples"]
    assert [row["completion"] for row in shown] == completions
    said = rlllm(f"runs show runs/one --samples {which} -n 1")
    assert f"completion  {completions[0] if which != 'last' else '?'}" in said.out


def test_an_evaluation_shows_its_items_as_samples(make: Make, rlllm: Rlllm) -> None:
    run = make(stage="eval")
    item = {
        "task": "arithmetic",
        "id": "a",
        "prompt": "1+1=",
        "answer": "2",
        "completions": ["2", "5"],
        "scores": [1, 0],
    }
    append_jsonl(run.path / "items.jsonl", [item])
    said = rlllm("runs show runs/one --samples worst -n 1")
    assert said.out.splitlines()[:3] == ["task arithmetic  reward 0", "prompt      1+1=", "completion  5"]


def test_a_run_without_samples_says_so(make: Make, rlllm: Rlllm) -> None:
    make()
    said = rlllm("runs show runs/one --samples best")
    assert (said.code, said.out, said.err) == (0, "", "this run has logged no completions\n")


def test_a_report_is_written_where_it_is_asked_for(make: Make, rlllm: Rlllm, tmp_path: Path) -> None:
    make()
    assert rlllm("report runs/one").out == "runs/one/report.html\n"
    assert rlllm("report runs/one -o mine.html").out == "mine.html\n"
    assert (tmp_path / "mine.html").read_text().startswith("<!DOCTYPE html>")
    assert rlllm("report runs/one -o nowhere/mine.html").code == 2


def test_the_report_of_a_pipeline_is_the_one_it_wrote(rlllm: Rlllm, tmp_path: Path) -> None:
    write_json(tmp_path / "runs" / "demo" / "pipeline.json", {"ok": True})
    (tmp_path / "runs" / "demo" / "report.html").write_text("<!DOCTYPE html>all steps")
    assert rlllm("report runs/demo").out == "runs/demo/report.html\n"
    assert rlllm("report runs/demo -o mine.html").code == 0
    assert (tmp_path / "mine.html").read_text() == "<!DOCTYPE html>all steps"


def test_a_success_ends_with_what_to_type_next(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(results={"measures": [MEASURE]})
    conclude(run, Invocation(("reason",)), as_json=False)
    streams = capsys.readouterr()
    assert streams.err == ""
    assert [line.split()[0] for line in streams.out.splitlines()] == ["run", "outcome", "verdict", "pass@1", "next"]
    assert "change 0.300 [0.250, 0.350]" in streams.out


def test_a_failure_names_its_reasons_and_exits_with_one(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(diagnostics=Diagnostics(steps_requested=2, steps_done=2, rows=8, reward_rows=64, reward_spread=0.0))
    with pytest.raises(typer.Exit) as ended:
        conclude(run, Invocation(("reason",)), as_json=False)
    assert ended.value.exit_code == 1
    streams = capsys.readouterr()
    assert "failed: constant_reward" in streams.out
    assert streams.err.startswith("error: every group of completions got one and the same reward")
    assert "hint: " in streams.err


def test_a_warning_does_not_fail_a_run(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(
        stage="align", diagnostics=Diagnostics(steps_requested=2, steps_done=2, rows=8, pairs=8, identical_pairs=1)
    )
    conclude(run, Invocation(("align",)), as_json=False)
    assert capsys.readouterr().err.startswith("warning: chosen equals rejected in 1 of 8 pairs")


def test_an_interrupted_run_exits_with_130_and_says_how_to_resume(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(diagnostics=Diagnostics(steps_requested=9, steps_done=2, rows=8, interrupted=True))
    with pytest.raises(typer.Exit) as ended:
        conclude(run, Invocation(("reason", "quickstart", "max_steps=9")), as_json=True)
    assert ended.value.exit_code == 130
    resume = f"rlllm reason quickstart max_steps=9 --output-dir {run.path} --resume"
    streams = capsys.readouterr()
    assert streams.err == f"interrupted; continue with: {resume}\n"
    assert json.loads(streams.out)["next"] == [resume]


@pytest.mark.parametrize(
    ("arguments", "resume"),
    [
        (["reason"], "rlllm reason --output-dir runs/x --resume"),
        (["reason", "--overwrite"], "rlllm reason --output-dir runs/x --resume"),
        (["reason", "--resume", "--output-dir", "runs/x"], "rlllm reason --output-dir runs/x --resume"),
        (["reason", "--output-dir=runs/x"], "rlllm reason --output-dir=runs/x --resume"),
        (["reason", "output_dir=runs/x"], "rlllm reason output_dir=runs/x --resume"),
        (["reason", "--output_dir", "runs/x"], "rlllm reason --output_dir runs/x --resume"),
        (["reason", "rewards=[a, b]"], "rlllm reason 'rewards=[a, b]' --output-dir runs/x --resume"),
    ],
)
def test_the_resume_command_repeats_the_line(arguments: list[str], resume: str) -> None:
    assert Invocation(tuple(arguments)).to_resume(Path("runs/x")) == resume


@pytest.mark.parametrize(
    ("stage", "settings", "words"),
    [
        ("sft", {}, "rlllm eval --model {run} --data arithmetic"),
        ("train-rm", {}, "rlllm eval rm --model {run} --data arithmetic"),
        ("train-rm", {"method": "process"}, "rlllm eval prm-steps --model {run} --data arithmetic"),
        ("align", {}, "rlllm runs show {run}"),
        (
            "reason",
            {
                "data": {"name": "my.jsonl", "columns": {"prompt": "q"}},
                "rewards": [{"name": "exact", "weight": 1.0, "params": {}}, {"name": "format", "weight": 0.1}],
            },
            "rlllm eval --model {run} --data my.jsonl --columns prompt=q --reward exact --reward format=0.1",
        ),
        (
            "reason",
            {
                "rewards": [
                    {"name": "exact", "weight": 1.0, "params": {}, "deadline": None},
                    {"name": "length", "weight": 0.1, "params": {"budget": 40}, "deadline": None},
                ],
            },
            "rlllm eval --model {run} --data arithmetic "
            """'rewards=["exact", {{"name": "length", "budget": 40, "weight": 0.1}}]'""",
        ),
        (
            "reason",
            {"data": {"name": "my.jsonl", "row_schema": "quiz.py:SCHEMA"}},
            "rlllm eval --model {run} --data my.jsonl data.row_schema=quiz.py:SCHEMA",
        ),
        (
            "reason",
            {"data": {"name": "arithmetic", "level": 2}},
            "rlllm eval --model {run} --data arithmetic data.level=2",
        ),
        (
            "train-rm",
            {"method": "process", "data": {"name": "my.jsonl", "holdout": 8}},
            "rlllm eval prm-steps --model {run} --data my.jsonl data.holdout=8",
        ),
        (
            "train-rm",
            {"method": "generative", "rewards": [{"name": "verdict"}], "data": {"name": "arithmetic", "holdout": 8}},
            "rlllm eval judge --model {run} --data arithmetic",
        ),
        ("eval", {}, "rlllm runs show {run} --samples worst"),
    ],
)
def test_the_next_command_measures_what_was_trained(
    stage: str, settings: dict[str, Any], words: str, make: Make
) -> None:
    run = make(stage=stage, **settings)
    assert next_commands(run) == [words.format(run=run.path)]


@pytest.mark.parametrize(
    ("settings", "judge"),
    [
        ({}, ""),
        ({"rewards": [{"name": "model", "weight": 1.0, "params": {"path": "runs/rm"}}]}, ""),
        ({"eval_reward": {"name": "exact", "weight": 1.0, "params": {}}}, " --reward exact"),
    ],
)
def test_an_aligned_model_meets_its_start_under_its_judge(settings: dict[str, Any], judge: str, make: Make) -> None:
    run = make(stage="align", **settings)
    write_json(run.path / "results.json", {"measures": [{**MEASURE, "name": "gold win rate"}]})
    assert next_commands(run) == [
        f"rlllm eval reward-win-rate --model {run.path} --baseline nano --data arithmetic{judge}"
    ]


def test_the_next_command_parses(make: Make, rlllm: Rlllm, model: str) -> None:
    rewards = [{"name": "length", "weight": 0.1, "params": {"budget": 40}}]
    run = make(data={"name": "arithmetic", "level": 2, "params": {}}, rewards=rewards)
    command = next_commands(run)[0].replace(str(run.path), model)
    said = rlllm(*shlex.split(command)[1:], "--dry-run")
    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.1, 0.5, "0.250 [0.100, 0.500]"), (-0.0001, None, "0.250 [0.000, ?]"), (None, None, "0.250")],
)
def test_an_estimate_without_an_interval_stands_alone(low: float | None, high: float | None, words: str) -> None:
    assert outcome.interval({"estimate": 0.25, "low": low, "high": high}) == words


def test_two_runs_differ_in_what_they_used(rlllm: Rlllm) -> None:
    for name, rate in (("a", "1e-3"), ("b", "2e-3")):
        words = f"sft --data arithmetic#8 --max_steps 1 data.holdout=0 learning_rate={rate} --output-dir {name}"
        assert rlllm(words).code == 0
    said = rlllm("runs diff a b")
    assert said.code == 0
    assert re.search(r"learning_rate +0\.001 +0\.002", said.out)
    assert "the same: hardware, versions, data and model" in said.out
    assert json.loads(rlllm("runs diff a b --json").out)["differ"]["TRL"] == {"learning_rate": ["0.001", "0.002"]}
    assert json.loads(rlllm("runs diff a a --json").out) == {"equal": True, "differ": {}, "not_recorded": []}
    assert rlllm("runs diff a c").code == 2


def test_evaluations_during_training_are_shown_with_their_intervals_and_the_kept_one_is_named(
    make: Make, rlllm: Rlllm
) -> None:
    said = "the model is that of step 10, chosen on 64 held-out rows"
    run = make(results={**changed(0.26, 0.34), "evaluations": {"kept": 10, "text": said}})
    for step, value, change in ((0, 0.4, None), (10, 0.7, interval(0.3))):
        measure = {"name": "pass@1", "higher_is_better": True, "value": interval(value), "difference": change}
        append_jsonl(run.path / "evaluations.jsonl", [{"step": step, "rows": 64, "measures": [measure]}])
    shown = rlllm("runs show runs/one").out
    assert said in shown
    lines = [line.split(maxsplit=2) for line in shown.splitlines() if line.startswith("step ")]
    assert lines == [
        ["step", "0", "pass@1 0.400 [0.350, 0.450]"],
        ["step", "10", "pass@1 0.700 [0.650, 0.750], +0.300 [0.250, 0.350] since the start (kept)"],
    ]
    found = rlllm("runs show runs/one --json").json
    assert [row["step"] for row in found["evaluations"]] == [0, 10]
