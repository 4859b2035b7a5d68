"""Held-out rows evaluated between steps leave no trace in training; what they decide is decided again after a resume."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from run_files import VERBS, differing_weights, learned_metrics, loop_state, optimizer_differs, write_rewards

from rlllm.core.runs import Run

Train = Callable[..., Run]
EVALUATIONS = {"every": 2, "during_rows": 3}


class CtrlC:
    """Presses Ctrl-C when it hears of a step."""

    def __init__(self, step: int) -> None:
        self.at = step
        self.heard: list[str] = []

    def started(self, stage: str, total_steps: int, run: Path) -> None:
        pass

    def phase(self, name: str) -> None:
        self.heard.append(name)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)

    def note(self, text: str) -> None:
        self.heard.append(text)

    def finished(self, run: Path) -> None:
        pass


@pytest.fixture
def train(tiny_model: str, tmp_path: Path) -> Train:
    """Runs a verb into the named directory: six steps, rewards from the file of rewards."""
    rewards = write_rewards(tmp_path)

    def call(verb: str, name: str, **settings: Any) -> Run:
        evaluations = settings.pop("evaluations", {})
        common: dict[str, Any] = {
            "model": tiny_model,
            "data": {"name": "arithmetic", "rows": 6, "holdout": 12},
            "eval": {"rows": 4, **evaluations, **({"samples": 2} if verb in ("align", "reason") else {})},
            "max_steps": 6,
            "save_strategy": "no",
            "learning_rate": 1e-2,
            "per_device_train_batch_size": 2,
        }
        if verb == "reason":
            common |= {"per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 6}
            common["rewards"] = [{"name": f"{rewards}:rarely", "deadline": 0}]
        return VERBS[verb](output_dir=tmp_path / name, **common | settings)

    return call


def saving(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings, "save_strategy": "steps", "save_steps": 2}


RUNS: list[tuple[str, dict[str, Any]]] = [
    ("sft", {}),
    ("sft", {"eval_reward": "exact", "rollout": {"max_new_tokens": 4}, "lora": {"r": 2, "dropout": 0.5}}),
    ("train-rm", {}),
    ("align", {"method": "dpo", "rollout": {"max_new_tokens": 4}}),
    ("reason", {}),
    ("reason", {"num_iterations": 2, "rollout": {"engine": "hf"}}),
    ("reason", {"lora": {"r": 2, "dropout": 0.5}, "disable_dropout": False}),
    ("reason", {"method": "ppo", "lora": {"r": 2}, "critic": {"share_backbone": True}}),
]


@pytest.mark.parametrize(
    ("verb", "settings"), RUNS, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_training_is_the_same_bit_for_bit_with_evaluations_and_without(
    train: Train, verb: str, settings: dict[str, Any]
) -> None:
    plain = train(verb, "plain", **saving(settings))
    watched = train(verb, "watched", evaluations=EVALUATIONS, **saving(settings))
    assert plain.ok
    assert watched.ok
    assert differing_weights(plain, watched) == []
    assert not optimizer_differs(plain, watched)
    assert loop_state(plain) == loop_state(watched)
    assert learned_metrics(plain) == learned_metrics(watched)
    assert list(plain.samples()) == list(watched.samples())
    assert plain.results["measures"] == watched.results["measures"]
    seen = watched.evaluations()
    assert [row["step"] for row in seen] == [0, 2, 4, 6]
    assert {row["rows"] for row in seen} == {3}
    assert plain.evaluations() == []


def test_an_evaluation_is_the_measurement_of_before_and_after(train: Train) -> None:
    """On the same rows the first is that of before, and the last that of after, digit by digit."""
    run = train("reason", "run", evaluations={"every": 3})
    first, *_, last = run.evaluations()
    measure = run.results["measures"][0]
    assert first["measures"][0]["value"] == measure["before"]
    assert last["measures"][0]["value"] == measure["after"]
    assert last["measures"][0]["difference"] == measure["difference"]
    assert first["measures"][0]["name"] == measure["name"] == "pass@1"


def test_numbers_of_evaluations_stand_in_the_log_and_in_checkpoints_under_transformers_names(train: Train) -> None:
    run = train("train-rm", "run", evaluations=EVALUATIONS, save_strategy="steps", save_steps=4)
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    logged = [row for row in rows if "eval_runtime" in row]
    assert [row["step"] for row in logged] == [2, 4, 6]
    values = [row["measures"][0]["value"] for row in run.evaluations()[1:]]
    ends = {"": "estimate", "_low": "low", "_high": "high"}
    for end, key in ends.items():
        assert [row[f"eval_pair_accuracy{end}"] for row in logged] == [value[key] for value in values]
    state = json.loads((run.checkpoints / "checkpoint-4" / "trainer_state.json").read_text())
    kept = [row for row in state["log_history"] if "eval_pair_accuracy" in row]
    assert [(row["step"], row["eval_pair_accuracy"]) for row in kept] == [
        (row["step"], row["eval_pair_accuracy"]) for row in logged[:2]
    ]


@pytest.mark.parametrize(("verb", "settings"), [RUNS[1], RUNS[4], RUNS[6]], ids=["sft-lora", "reason", "reason-lora"])
@pytest.mark.parametrize("step", [2, 3])
def test_a_run_that_keeps_its_best_step_resumes_exactly(
    train: Train, verb: str, settings: dict[str, Any], step: int
) -> None:
    evaluations = {"every": 2, "during_rows": 8, "keep": "best"}
    whole = train(verb, "whole", evaluations=evaluations, **settings)
    stopped = train(verb, "run", evaluations=evaluations, progress=CtrlC(step), **settings)
    assert stopped.status["state"] == "interrupted"
    resumed = train(verb, "run", evaluations=evaluations, resume=True, **settings)
    assert resumed.ok
    assert differing_weights(whole, resumed) == []
    assert resumed.results == whole.results
    assert [_measured(row) for row in resumed.evaluations()] == [_measured(row) for row in whole.evaluations()]


def _measured(row: Mapping[str, Any]) -> list[Any]:
    return [row["step"], row["rows"], row["measures"]]


def test_the_model_is_that_of_the_best_step_and_checkpoints_that_were_saved_for_less_are_gone(train: Train) -> None:
    heard = CtrlC(step=-1)
    evaluations = {"every": 1, "during_rows": 8, "keep": "best"}
    run = train("reason", "run", evaluations=evaluations, progress=heard)
    values = {row["step"]: row["measures"][0]["value"]["estimate"] for row in run.evaluations() if row["step"]}
    best = max(values, key=lambda step: (values[step], -step))
    assert best < 6  # else this test would hold without the best being kept
    assert run.results["evaluations"]["kept"] == run.results["evaluations"]["best"]["step"] == best
    assert run.results["evaluations"]["evaluations"] == 6
    assert [folder.name for folder in run.checkpoints.iterdir()] == [f"checkpoint-{best}"]
    assert _weights(run.model) == _weights(run.checkpoints / f"checkpoint-{best}")
    assert any(text.startswith(f"keeping step {best}, the best evaluation: pass@1") for text in heard.heard)
    assert f"the model is that of step {best}, chosen on 8 held-out rows" in run.results["evaluations"]["text"]


def _weights(folder: Path) -> dict[str, list[float]]:
    from safetensors.torch import load_file

    return {name: values.flatten().tolist() for name, values in load_file(folder / "model.safetensors").items()}


def test_rows_that_choose_are_others_than_those_that_report(train: Train) -> None:
    run = train("reason", "run", evaluations={"every": 3, "keep": "best"})
    chose = json.loads((run.path / "evaluated_start.json").read_text())[0]["prompts"]
    reported = json.loads((run.path / "measured_after.json").read_text())[0]["prompts"]
    assert (len(chose), len(reported)) == (4, 4)
    assert not set(chose) & set(reported)


def test_a_run_ends_after_evaluations_without_a_gain_and_says_so(train: Train) -> None:
    """With a learning rate of 0 nothing is ever gained: the second evaluation ends it, and a resume ends it again."""
    settings = {
        "learning_rate": 0.0,
        "save_strategy": "steps",
        "save_steps": 4,
        "evaluations": {"every": 2, "stop_after": 2},
    }
    run = train("sft", "run", **settings)
    assert [row["step"] for row in run.evaluations()] == [0, 2, 4]
    early = {"step": 4, "of": 6, "best": 0, "evaluations": 2}
    assert run.verdict["diagnostics"]["stopped_early"] == early
    reasons = {reason["code"]: reason for reason in run.verdict["reasons"]}
    assert (
        "none of the last 2 evaluations of held-out rows was better than that of the start"
        in reasons["stopped_early"]["text"]
    )
    assert not reasons["stopped_early"]["fatal"]
    assert "steps_missing" not in reasons
    again = train("sft", "run", resume=True, **settings)
    assert again.verdict["diagnostics"]["stopped_early"] == early
    assert len(again.metrics()) == 4
