"""Sweeps: arms under the same seeds, resumed, failing, compared, written as tables."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError, DataError, RlllmError, RunDirectoryError
from rlllm.core.runs import Run, read_json
from rlllm.evals.dialogue_turns import OF_DIALOGUE
from rlllm.evals.statistics.seeds import t_test
from rlllm.report.sweep_tables import comma_separated, latex, markdown
from rlllm.stages.sweep.arms import plan_arms
from rlllm.stages.sweep.measurements import RunNumbers
from rlllm.stages.sweep.results import ArmRuns, hopeless, sweep_results
from rlllm.stages.sweep.settings import compose, load_sweep, point_name
from rlllm.tools.compare import arms_of, compare_arms, comparison_page

SETTINGS = {
    "data": {"name": "arithmetic", "rows": 8, "holdout": 4},
    "rollout": {"max_new_tokens": 4, "group_size": 2},
    "eval": {"rows": 4, "samples": 2},
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "stop_when_flat": 0,
}
REWARD = """
import os
import signal


def odd(sample):
    left = int(os.environ.get("CALLS_UNTIL_CTRL_C", "-1"))
    if left >= 0:
        os.environ["CALLS_UNTIL_CTRL_C"] = str(left - 1)
    if left == 0:
        os.kill(os.getpid(), signal.SIGINT)
    total = sum(sample.completion.encode())
    return 1.0 if total % 2 else total % 7 / 10
"""
"""Half of all completions pass, and few get the same. It presses Ctrl-C at a call of its own choosing."""


@pytest.fixture(scope="module")
def small(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A sweep of two seeds whose runs take two steps; it lacks arms."""
    path = tmp_path_factory.mktemp("rewards") / "rewards.py"
    path.write_text(REWARD)
    settings = {**SETTINGS, "model": tiny_model, "rewards": [{"name": f"{path}:odd", "deadline": 0}]}
    return {"stage": "reason", "seeds": 2, "settings": settings}


@pytest.fixture(scope="module")
def swept(small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("sweep") / "methods"
    return rlllm.sweep({**small, "axes": METHODS}, folder)


METHODS = {"method": ["grpo", "dr-grpo"]}


def test_every_arm_has_a_run_for_every_seed_and_is_compared_with_the_first(swept: Run) -> None:
    assert swept.ok, swept.verdict
    results = swept.results
    assert results["baseline"] == "grpo"
    assert [[row["run"] for row in arm["seeds"]] for arm in results["arms"].values()] == [
        ["grpo/seed-0", "grpo/seed-1"],
        ["dr-grpo/seed-0", "dr-grpo/seed-1"],
    ]
    (row,) = results["comparisons"]
    assert (row["arm"], row["seeds"], row["measure"]) == ("dr-grpo", [0, 1], "pass@1")
    metrics = results["arms"]["grpo"]["metrics"]
    assert metrics["steps"]["estimate"] == 2
    assert {"before", "after", "pass@2", "tokens", "seconds", "zero-variance groups"} <= metrics.keys()


def test_numbers_of_an_arm_are_those_of_its_runs(swept: Run) -> None:
    measured = [
        Run(swept.path / "grpo" / f"seed-{seed}").results["measures"][0]["after"]["estimate"] for seed in (0, 1)
    ]
    assert swept.results["arms"]["grpo"]["metrics"]["after"]["estimate"] == pytest.approx(fmean(measured))


def test_a_sweep_is_a_run_directory_with_tables_and_a_page(swept: Run) -> None:
    names = {path.name for path in swept.path.iterdir()}
    assert {"sweep.json", "results.json", "table.md", "table.csv", "table.tex", "report.html", "status.json"} <= names
    assert read_json(swept.path / "sweep.json")["axes"] == {"method": ["grpo", "dr-grpo"]}
    page = (swept.path / "report.html").read_text()
    assert "Against grpo" in page
    assert 'href="dr-grpo/seed-1/report.html"' in page


def test_a_resumed_sweep_makes_only_what_is_missing(swept: Run, small: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "methods"
    shutil.copytree(swept.path, folder)
    shutil.rmtree(folder / "dr-grpo" / "seed-1")
    for name in ("measured_after.json", "verdict.json"):  # killed while it was measured
        (folder / "grpo" / "seed-1" / name).unlink()
    (folder / "grpo" / "seed-1" / "status.json").write_text('{"state": "running"}')
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("*/seed-0/status.json")}
    again = rlllm.sweep({**small, "axes": METHODS}, folder, resume=True)
    assert again.ok, again.verdict
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/seed-0/status.json")} == kept
    for name in ("grpo", "dr-grpo"):
        mine, first = (run.results["arms"][name]["metrics"]["after"] for run in (again, swept))
        assert mine == first


def test_a_run_whose_method_fills_in_settings_is_not_repeated(small: dict[str, Any], tmp_path: Path) -> None:
    settings = {**small["settings"], "rollout": {"max_new_tokens": 4}, "per_device_train_batch_size": 8}
    sweep = {**small, "seeds": 1, "settings": settings, "axes": {"method": ["grpo", "remax"]}}
    first = rlllm.sweep(sweep, tmp_path / "sweep")
    assert first.ok, first.verdict
    made = [path.stat().st_mtime_ns for path in sorted(first.path.glob("*/seed-0/status.json"))]
    again = rlllm.sweep({**sweep, "seeds": 2}, tmp_path / "sweep", resume=True)
    assert [path.stat().st_mtime_ns for path in sorted(again.path.glob("*/seed-0/status.json"))] == made
    assert len(made) == 2


def test_a_resumed_sweep_may_have_more_arms_and_seeds_but_no_other_settings(
    swept: Run, small: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "methods"
    shutil.copytree(swept.path, folder)
    more = {**small, "axes": {"method": ["grpo", "dr-grpo", "bnpo"]}}
    assert list(rlllm.sweep(more, folder, resume=True).results["arms"]) == ["grpo", "dr-grpo", "bnpo"]
    other = {**more, "settings": {**more["settings"], "learning_rate": 1e-4}}
    with pytest.raises(RunDirectoryError, match="the settings differ"):
        rlllm.sweep(other, folder, resume=True)
    with pytest.raises(RunDirectoryError, match="not empty"):
        rlllm.sweep(more, folder)


def test_an_arm_that_fails_is_recorded_and_the_others_go_on(small: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text("def raises(sample):\n    raise RuntimeError('no score today')\n")
    arms = {"fine": {}, "broken": {"rewards": [f"{tmp_path}/raises.py:raises"]}, "also-fine": {"method": "dr-grpo"}}
    run = rlllm.sweep({**small, "arms": arms, "seeds": 1}, tmp_path / "sweep")
    assert not run.ok
    states = {name: arm["state"] for name, arm in run.results["arms"].items()}
    assert states == {"fine": "done", "broken": "failed", "also-fine": "done"}
    assert "no score today" in run.results["arms"]["broken"]["seeds"][0]["failure"]
    assert [reason["code"] for reason in run.verdict["reasons"]] == ["arm_failed"]
    compared = {row["arm"]: row for row in run.results["comparisons"]}
    assert compared["broken"]["p_value"] is None
    assert compared["also-fine"]["how"].startswith("one seed, over 4")


def test_equal_tokens_end_every_run_where_the_first_one_of_the_baseline_ended(
    small: dict[str, Any], tmp_path: Path
) -> None:
    arms = {"four": {}, "eight": {"per_device_train_batch_size": 8}}
    run = rlllm.sweep({**small, "arms": arms, "equal": "tokens", "seeds": 1}, tmp_path / "sweep")
    assert run.ok, run.verdict
    tokens = {name: arm["metrics"]["tokens"]["estimate"] for name, arm in run.results["arms"].items()}
    assert run.results["budget"] == tokens["four"]
    assert tokens["eight"] >= tokens["four"]
    assert run.results["arms"]["eight"]["metrics"]["steps"]["estimate"] == 1
    assert Run(run.path / "eight" / "seed-0").config["settings"]["trainer"]["lr_scheduler_type"] == "constant"


STARTED: dict[str, Any] = {
    "stage": "reason",
    "before": [
        {"name": "shown", "stage": "sft", "model": "nano", "data": "arithmetic"},
        {"name": "start", "stage": "sft", "model": "@shown", "data": "arithmetic", "data.seed": "@seed"},
    ],
    "settings": {
        "model": "@start",
        "data": {"name": "arithmetic", "rows": 32, "holdout": 8},
        "rewards": ["exact"],
        "max_steps": 3,
    },
    "arms": {"one": {}, "two": {"max_steps": 4}},
}


def test_arms_that_start_from_runs_still_to_be_made_are_planned_with_the_model_of_those() -> None:
    for arm in plan_arms(load_sweep(STARTED)):
        assert arm.plan is not None
        assert (arm.plan.config.model.reference, dict(arm.overrides)["model"]) == ("nano", "@start")
        assert arm.planned_with == ("nano in the place of @start",)
    with pytest.raises(ConfigError, match="the same max_steps"):
        plan_arms(load_sweep({**STARTED, "equal": "steps"}))
    with pytest.raises(ConfigError, match="arm one: unknown environment"):
        plan_arms(load_sweep({**STARTED, "arms": {"one": {"environment": "calculatr"}}}))


def test_a_run_before_the_arms_that_cannot_work_is_refused_under_its_name() -> None:
    broken = [STARTED["before"][0], {**STARTED["before"][1], "data": "arithmetik"}]
    with pytest.raises(RlllmError, match="start: unknown data"):
        plan_arms(load_sweep({**STARTED, "before": broken}))


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"stage": "eval"}, "a sweep compares training runs"),
    ({"stage": "reason", "settings": {"learning_rat": 1}}, "arm run: unknown key for reason: learning_rat"),
    ({"stage": "reason", "axes": {"method": []}}, "method has no values"),
    ({"stage": "reason", "axes": {"beta": [0.1, 0.1]}}, "beta has one value twice"),
    ({"stage": "reason", "axes": {"method": ["grpo", "grop"]}}, "arm grop: unknown method: grop"),
    ({"stage": "reason", "arms": {"a/b": {}}}, "a folder's name of its own"),
    ({"stage": "reason", "arms": {"tuning": {}}}, "a folder's name of its own"),
    ({"stage": "reason", "arms": {"a": {"seeds": 3}}}, "seeds is the sweep's to set"),
    ({"stage": "reason", "arms": {"a": {}}, "baseline": "b"}, "no arm of this name to be the baseline"),
    ({"stage": "reason", "arms": {"a": {"data": {"name": "arithmetic", "holdout": 0}}}}, "compared on held-out rows"),
    ({"stage": "reason", "arms": {"a": {"model": "@start"}}}, "arm a refers to @start"),
    ({"stage": "reason", "arms": {"a": {"max_steps": 5}, "b": {"max_steps": 6}}, "equal": "steps"}, "a: 5, b: 6"),
]


@pytest.mark.parametrize(("recipe", "words"), BROKEN)
def test_a_sweep_that_cannot_work_is_refused_before_any_run(recipe: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        rlllm.sweep({"seeds": 1, **recipe}, tmp_path / "sweep")
    assert words in str(caught.value)
    assert not (tmp_path / "sweep").exists()


def test_arms_are_all_combinations_of_the_axes_and_of_the_named_ones() -> None:
    axes = {"method": ["grpo", "dapo"], "learning_rate": [1e-4, 2e-4]}
    product = load_sweep({"stage": "reason", "axes": axes}).expanded()
    assert list(product) == [f"{m},learning_rate={rate}" for m in ("grpo", "dapo") for rate in ("0.0001", "0.0002")]
    named = load_sweep(
        {"stage": "reason", "arms": {"a": {}, "b": {}}, "axes": {"beta": [0, 0.1]}, "baseline": "b,beta=0"}
    )
    assert list(named.expanded()) == ["b,beta=0", "a,beta=0", "a,beta=0.1", "b,beta=0.1"]
    assert point_name({"rewards": ["exact", {"name": "format", "weight": 0.1}]}).isprintable()
    assert "/" not in point_name({"rewards": "a/b.py:c"})


def test_shared_settings_that_only_other_arms_read_are_left_out_and_said() -> None:
    common = {"data": {"name": "arithmetic", "level": 2, "rows": 64, "holdout": 8}, "rollout": {"group_size": 4}}
    arms = {"ppo": {"method": "ppo", "rewards": ["gold"]}, "dpo": {"method": "dpo"}}
    first, second = plan_arms(load_sweep({"stage": "align", "settings": common, "arms": arms}))
    assert (first.left_out, second.left_out) == ((), ("rollout.group_size",))
    wrong = {**common, "rollout": {"grop_size": 4}}
    with pytest.raises(ConfigError, match="grop_size"):
        plan_arms(load_sweep({"stage": "align", "settings": wrong, "arms": arms}))


def test_equal_completions_give_arms_that_draw_more_a_step_fewer_steps() -> None:
    settings = {**SETTINGS, "max_steps": 8}
    arms = {"a": {}, "b": {"per_device_train_batch_size": 8}}
    planned = plan_arms(load_sweep({"stage": "reason", "settings": settings, "arms": arms, "equal": "completions"}))
    assert [dict(arm.overrides)["max_steps"] for arm in planned] == [8, 4]


def test_the_recipe_of_a_verb_becomes_a_sweep() -> None:
    sweep = compose("reason/quickstart", None, {"axes": {"method": ["grpo", "dapo"]}, "seeds": 3})
    assert (sweep.stage, sweep.recipe, sweep.title) == ("reason", "reason/quickstart", "quickstart")
    with pytest.raises(ConfigError, match="several stages have a recipe quickstart"):
        compose("quickstart", None, {})


def arm_of(after: dict[int, list[float]], measure: str = "pass@1", **about: Any) -> ArmRuns:
    """An arm with these scores of its problems by seed."""
    runs = {
        seed: RunNumbers(measure, True, ["p"] * len(scores), list(scores), {"before": 0.1, "after": fmean(scores)})
        for seed, scores in after.items()
    }
    return ArmRuns({}, "reason", runs, **about)


def test_differences_are_paired_by_seed_and_p_values_adjusted_by_holm() -> None:
    """t and p by hand: differences .1, .2, .3 have mean .2, deviation .1, t = 3.4641 with 2 degrees of freedom."""
    base = arm_of({0: [0.2, 0.4], 1: [0.3, 0.5], 2: [0.1, 0.3]})
    better = arm_of({0: [0.3, 0.5], 1: [0.5, 0.7], 2: [0.4, 0.6]})
    same = arm_of({0: [0.4, 0.2], 1: [0.5, 0.3], 2: [0.3, 0.1]})
    worse = arm_of({0: [0.1, 0.3], 1: [0.1, 0.3], 2: [0.0, 0.1]})
    results = sweep_results({"base": base, "better": better, "same": same, "worse": worse}, "base", seeds=[0, 1, 2])
    rows = {row["arm"]: row for row in results["comparisons"]}
    assert rows["better"]["difference"]["estimate"] == pytest.approx(0.2)
    assert rows["better"]["p_value"] == pytest.approx(0.0741799, abs=1e-6)
    half = 4.3026527 * 0.1 / 3**0.5
    assert rows["better"]["difference"]["high"] == pytest.approx(0.2 + half, abs=1e-6)
    assert rows["same"]["p_value"] == 1.0
    p = {name: row["p_value"] for name, row in rows.items()}
    smallest, second = sorted(["better", "worse"], key=lambda name: p[name])
    assert rows[smallest]["p_holm"] == pytest.approx(3 * p[smallest])
    assert rows[second]["p_holm"] == pytest.approx(max(3 * p[smallest], 2 * p[second]))
    assert rows["same"]["p_holm"] == 1.0
    assert rows["better"]["crossed"]["n"] == 2


def test_answers_of_dialogues_are_compared_with_answers_but_not_with_another_measure() -> None:
    base = arm_of({0: [0.2, 0.4], 1: [0.3, 0.5]})
    team = arm_of({0: [0.3, 0.5], 1: [0.4, 0.7]}, measure=f"pass@1{OF_DIALOGUE}")
    other = arm_of({0: [0.3, 0.5], 1: [0.4, 0.7]}, measure="eval reward")
    rows = sweep_results({"base": base, "team": team, "other": other}, "base", seeds=[0, 1])["comparisons"]
    assert rows[0]["measure"] == "pass@1 of the dialogue against pass@1"
    assert rows[0]["by_seed"] == pytest.approx([0.1, 0.15])
    assert (rows[1]["difference"], rows[1]["reason"]) == (None, "it is measured by eval reward, the baseline by pass@1")


def test_an_arm_is_compared_with_the_controls_that_it_names_and_all_count_for_holm() -> None:
    scores = {0: [0.2, 0.4], 1: [0.3, 0.5], 2: [0.1, 0.3]}
    base, control = arm_of(scores), arm_of({0: [0.3, 0.5], 1: [0.5, 0.7], 2: [0.4, 0.6]})
    ours = arm_of({0: [0.4, 0.7], 1: [0.5, 0.8], 2: [0.5, 0.6]}, compare_with=["control", "not trained"])
    rows = sweep_results({"base": base, "ours": ours, "control": control}, "base", seeds=[0, 1, 2])["comparisons"]
    assert [(row["arm"], row["baseline"]) for row in rows] == [
        ("ours", "base"),
        ("control", "base"),
        ("ours", "control"),
    ]
    assert rows[-1]["by_seed"] == pytest.approx([0.15, 0.05, 0.05])
    smallest = min(rows, key=lambda row: row["p_value"])
    assert smallest["p_holm"] == pytest.approx(3 * smallest["p_value"])


def test_controls_are_named_arms_taken_at_the_same_point() -> None:
    arms = {"ours": {"method": "dapo", "compare_with": "control"}, "control": {"method": "grpo"}}
    sweep = load_sweep({"stage": "reason", "arms": arms, "axes": {"learning_rate": [1e-4, 2e-4]}})
    expanded = sweep.expanded()
    assert expanded["ours,learning_rate=0.0002"].compare_with == ["control,learning_rate=0.0002"]
    for wrong in ("controll", "ours"):
        with pytest.raises(ConfigError, match="compared with what is no other arm"):
            load_sweep({"stage": "reason", "arms": {**arms, "ours": {"method": "dapo", "compare_with": wrong}}})


def test_runs_on_other_problems_are_not_compared() -> None:
    base, other = arm_of({0: [0.2], 1: [0.4]}), arm_of({0: [0.2], 1: [0.4]})
    other.runs = {seed: RunNumbers("pass@1", True, ["q"], run.scores, run.numbers) for seed, run in other.runs.items()}
    (row,) = sweep_results({"a": base, "b": other}, "a", seeds=[0, 1])["comparisons"]
    assert row["difference"] is None
    assert "problems are not the baseline's" in row["reason"]


def test_a_t_test_needs_two_numbers_and_says_nothing_where_all_are_equal() -> None:
    assert t_test([0.1, 0.1]) == 1.0
    assert t_test([1.0, 2.0, 3.0, 4.0]) == pytest.approx(0.0304661, abs=1e-6)
    with pytest.raises(DataError):
        t_test([0.1])


def test_names_are_escaped_in_latex_markdown_and_csv() -> None:
    base = arm_of({0: [0.2], 1: [0.4]})
    odd = arm_of({0: [0.3], 1: [0.6]}, stopped="stopped after 2 seeds: 50 % & a_b | ^{x}~\\")
    results = sweep_results({"base_line": base, "lr=1e-4,50%&#": odd}, "base_line", seeds=[0, 1], equal="none")
    tex = latex(results)
    assert r"lr=1e-4,50\%\&\#" in tex
    assert r"base\_line" in tex
    assert r"50 \% \& a\_b \textbar{} \textasciicircum{}\{x\}\textasciitilde{}\textbackslash{}" in tex
    body = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert len({line.replace(r"\&", "").count("&") for line in body}) == 1
    assert "&#124;" in markdown(results)
    rows = list(csv.reader(comma_separated(results).splitlines()))
    assert rows[2][0] == "lr=1e-4,50%&#"
    assert len({len(row) for row in rows}) == 1


def test_ctrl_c_inside_a_run_ends_the_sweep_and_resuming_goes_on(
    small: dict[str, Any], swept: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLS_UNTIL_CTRL_C", "10")  # a run scores 8 before, 8 in training, 8 after
    stopped = rlllm.sweep({**small, "axes": METHODS}, tmp_path / "sweep")
    assert stopped.status["state"] == "interrupted"
    assert not stopped.ok
    assert not (tmp_path / "sweep" / "dr-grpo" / "seed-1").exists()
    monkeypatch.delenv("CALLS_UNTIL_CTRL_C")
    again = rlllm.sweep({**small, "axes": METHODS}, tmp_path / "sweep", resume=True)
    assert again.ok, again.verdict
    for name in METHODS["method"]:
        mine, first = (run.results["arms"][name]["metrics"]["after"] for run in (again, swept))
        assert mine == first


def test_a_value_is_chosen_for_each_arm_under_seeds_outside_of_the_table(small: dict[str, Any], tmp_path: Path) -> None:
    arms = {"first": {}, "fixed": {"learning_rate": 5e-4}}
    wanted = {**small, "arms": arms, "seeds": 1, "tune": {"learning_rate": [1e-3, 1e-2, 1e-1]}, "stop_hopeless": True}
    run = rlllm.sweep(wanted, tmp_path / "sweep")
    assert run.ok, run.verdict
    tuning = run.results["tuning"]
    assert list(tuning) == ["first"], "the other arm sets its learning rate itself"
    values = {entry["name"]: entry for entry in tuning["first"]["values"]}
    assert list(values) == ["learning_rate=0.001", "learning_rate=0.01", "learning_rate=0.1"]
    dropped = [entry for entry in values.values() if entry["dropped"]]
    assert [list(entry["values"]) for entry in dropped] == [["1000"]], "two of three values go on"
    means = {name: fmean(entry["values"].values()) for name, entry in values.items() if not entry["dropped"]}
    assert tuning["first"]["chosen"] == max(means, key=lambda name: means[name])
    chosen = values[tuning["first"]["chosen"]]["settings"]["learning_rate"]
    assert Run(run.path / "first" / "seed-0").config["settings"]["trainer"]["learning_rate"] == chosen
    assert "dropped after 1 seed" in (run.path / "report.html").read_text()
    made = {path: path.stat().st_mtime_ns for path in run.path.rglob("measured_after.json")}
    again = rlllm.sweep(wanted, tmp_path / "sweep", resume=True)
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("measured_after.json")} == made
    assert again.results["tuning"] == tuning


def test_an_arm_without_a_value_that_can_be_trained_fails_and_the_others_go_on(
    small: dict[str, Any], tmp_path: Path
) -> None:
    arms = {"fine": {}, "broken": {"rewards": [f"{tmp_path}/raises.py:raises"], "tune": {"beta": [0.0, 0.1]}}}
    (tmp_path / "raises.py").write_text("def raises(sample):\n    raise RuntimeError('no score today')\n")
    run = rlllm.sweep({**small, "arms": arms, "seeds": 1, "tune_seeds": 1}, tmp_path / "sweep")
    assert {name: arm["state"] for name, arm in run.results["arms"].items()} == {"fine": "done", "broken": "failed"}
    assert "no value of its settings could be trained" in run.verdict["reasons"][0]["text"]


def test_arms_of_another_verb_are_measured_on_the_same_problems(small: dict[str, Any], tmp_path: Path) -> None:
    settings = {**small["settings"], "rewards": ["exact", *small["settings"]["rewards"]]}
    arms = {"grpo": {"method": "grpo"}, "imitate": {"stage": "sft", "eval_reward": "exact"}}
    run = rlllm.sweep({**small, "settings": settings, "arms": arms, "seeds": 1}, tmp_path / "sweep")
    assert run.ok, run.verdict
    (row,) = run.results["comparisons"]
    assert row["measure"] == "pass@1"
    assert row["difference"] is not None, row["reason"]
    assert run.results["arms"]["imitate"]["notes"] == ["does not read rollout.group_size, stop_when_flat, rewards"]
    assert "held-out loss" in run.results["arms"]["imitate"]["metrics"]


def test_runs_before_the_arms_are_made_once_for_each_seed_and_only_if_needed(tiny_model: str, tmp_path: Path) -> None:
    data = {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 4, "seed": "@seed"}
    common = {
        "model": tiny_model,
        "data": data,
        "max_steps": 1,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
    }
    learned = {"rollout": {"max_new_tokens": 4}, "eval": {"rows": 4, "samples": 2}}
    wanted = {
        "stage": "align",
        "seeds": 2,
        "settings": {**common, **learned, "rewards": [{"name": "model", "path": "@judge"}]},
        "before": [{"name": name, "stage": "train-rm", **common} for name in ("judge", "unused")],
        "arms": {"dpo": {"method": "dpo"}, "kto": {"method": "kto"}},
    }
    run = rlllm.sweep(wanted, tmp_path / "sweep")
    assert run.ok, run.verdict
    assert sorted(str(path.relative_to(run.path)) for path in (run.path / "before").glob("*/*")) == [
        "before/judge/seed-0",
        "before/judge/seed-1",
    ]
    metrics = run.results["arms"]["kto"]["metrics"]
    assert {"model utility", "KL from the start"} <= metrics.keys()
    assert run.results["measure"] == "gold utility"
    settings = [Run(run.path / "dpo" / f"seed-{seed}").config["settings"] for seed in (0, 1)]
    assert [entry["data"]["seed"] for entry in settings] == [0, 1]
    assert run.results["comparisons"][0]["crossed"] is None, "each seed has problems of its own"


def test_a_run_before_the_arms_with_a_seed_of_its_own_is_made_once_for_all(tiny_model: str, tmp_path: Path) -> None:
    short = {"max_steps": 1, "per_device_train_batch_size": 4, "learning_rate": 1e-3}
    data = {"name": "arithmetic", "level": 1, "rows": 8, "holdout": 4}
    start = {"stage": "sft", "model": tiny_model, "data": data, **short}
    wanted = {
        "stage": "sft",
        "seeds": 2,
        "settings": {"model": "@shared", "data": data, **short},
        "before": [{"name": "shared", "seed": 7, **start}],
        "arms": {"shared": {}, "own": {"learning_rate": 2e-3}},
    }
    run = rlllm.sweep(wanted, tmp_path / "sweep")
    assert run.ok, run.verdict
    made = run.path / "before" / "shared"
    assert [path.name for path in made.iterdir()] == ["seed-7"]
    assert Run(made / "seed-7").config["settings"]["seed"] == 7
    models = {
        Run(run.path / arm / f"seed-{seed}").config["settings"]["model"] for arm in ("shared", "own") for seed in (0, 1)
    }
    assert models == {str(made / "seed-7")}


def test_an_arm_is_hopeless_where_three_runs_lie_below_three_and_intervals_do_not_touch() -> None:
    def arm(*runs: tuple[float, float], higher: bool = True) -> ArmRuns:
        return ArmRuns(
            {},
            "reason",
            {seed: RunNumbers("m", higher, [], [], {}, low, high) for seed, (low, high) in enumerate(runs)},
        )

    base = arm((0.5, 0.6), (0.4, 0.5), (0.6, 0.7))
    assert hopeless(arm((0.1, 0.2), (0.3, 0.39), (0.0, 0.1)), base)
    assert not hopeless(arm((0.1, 0.2), (0.3, 0.41), (0.0, 0.1)), base), "an interval touches"
    assert not hopeless(arm((0.1, 0.2), (0.3, 0.39)), base), "two seeds are too few"
    losses = arm((0.5, 0.6), (0.4, 0.5), (0.6, 0.7), higher=False)
    assert hopeless(arm((0.8, 0.9), (0.71, 0.8), (0.9, 1.0), higher=False), losses)


def test_arms_sweeps_and_single_runs_of_a_sweep_can_be_compared(swept: Run) -> None:
    found = rlllm.compare(swept.path / "grpo" / "seed-0", swept.path / "dr-grpo" / "seed-0")
    assert [task.task for task in found.tasks] == ["pass@1"]
    for paths in ([swept.path], [swept.path / "grpo", swept.path / "dr-grpo"]):
        results = compare_arms(arms_of(paths))
        mine, first = (entry["comparisons"][0] for entry in (results, swept.results))
        assert {key: mine[key] for key in ("difference", "p_value", "p_holm", "crossed")} == {
            key: first[key] for key in ("difference", "p_value", "p_holm", "crossed")
        }
    assert arms_of([swept.path / "grpo" / "seed-0", swept.path]) == {}
    with pytest.raises(ConfigError, match="at least two arms"):
        compare_arms(arms_of([swept.path / "grpo"]))
    page = comparison_page([swept.path / "grpo" / "seed-0", swept.path / "dr-grpo" / "seed-0"])
    assert "Before and after training" in page
    assert "that both have; differences are paired" in page
