"""A process reward model from its data to its uses, each run for real: training, evaluation, selection, step labels."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core import trl_fields
from rlllm.core.config import resolve
from rlllm.core.errors import ConfigError, DataError, ModelError
from rlllm.core.events import NullProgress
from rlllm.core.records import StepwiseSolution
from rlllm.core.runs import Run
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.evals.metrics.prm_steps import measure_steps
from rlllm.policies.loading import load_policy
from rlllm.policies.model_sources import resolve_model
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.models.process_reward_model import ProcessModel
from rlllm.tools.data.label_steps import StepLabelConfig, label_from_outcomes, label_steps
from rlllm.training.reward_specs import named_models
from rlllm.training.trainers.prm import WITHOUT_EFFECT, refuse_settings_without_effect

DATA = {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 12}


def train(folder: Path, **settings: Any) -> Run:
    common = {"data": DATA, "max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-3}
    return rlllm.train_rm(method="process", output_dir=folder, **{**common, **settings})


@pytest.fixture(scope="module")
def trained(nano: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("process") / "run", model=nano)


def test_training_ends_in_a_verdict_and_measures_before_and_after(trained: Run) -> None:
    assert trained.ok
    found, accuracy = trained.results["measures"]
    assert found["name"].startswith("first wrong step found (chance 0.")
    assert accuracy["name"] == "step accuracy"
    assert found["after"]["n"] == 12
    assert [row["step"] for row in trained.metrics()] == [1, 2]
    assert all(0 <= row["step_accuracy"] <= 1 for row in trained.metrics())


def test_what_is_saved_is_what_was_measured(trained: Run) -> None:
    held_out = load(DataConfig(**DATA), StepwiseSolution).holdout
    rows = ProcessModel(str(trained.model)).chances([(record.prompt, record.steps) for record in held_out])
    agreement = [
        sum((p >= 0.5) == label for p, label in zip(row or [], record.labels, strict=True)) / len(record.labels)
        for row, record in zip(rows, held_out, strict=True)
    ]
    assert trained.results["measures"][1]["after"]["estimate"] == pytest.approx(sum(agreement) / len(agreement))


def test_the_steps_task_shows_chance_beside_what_was_found(trained: Run, tmp_path: Path) -> None:
    run = rlllm.evaluate(model=str(trained.path), tasks=["prm-steps"], data=DATA, rows=12, output_dir=tmp_path / "eval")
    values = run.results["tasks"]["prm-steps:arithmetic"]["values"]
    found, chance, above, accuracy = list(values)[:4]
    assert (found, above, accuracy) == ("first wrong step found", "above chance", "step accuracy")
    assert chance.startswith("chance (always ")
    assert values[above]["estimate"] == pytest.approx(values[found]["estimate"] - values[chance]["estimate"])
    assert values[found] == trained.results["measures"][0]["after"]
    items = [json.loads(line) for line in (run.path / "items.jsonl").read_text().splitlines()]
    assert len(items) == 12
    assert {"none", "step 1"} <= {item["answer"] for item in items}


def test_the_steps_task_refuses_a_model_that_judges_no_steps(nano: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a process reward model"):
        rlllm.evaluate(model=nano, tasks=["prm-steps"], data=DATA, output_dir=tmp_path / "eval")
    assert not (tmp_path / "eval").exists()


METHODS = ["exact-2", "weighted exact-2", "process", "weighted process", "majority"]
"""Ways to choose among samples, each named over those behind it."""


def test_best_of_n_compares_what_each_reward_would_choose(trained: Run, nano: str, tmp_path: Path) -> None:
    run = rlllm.evaluate(
        model=nano,
        tasks=["best-of"],
        data=DATA,
        rows=6,
        samples=3,
        rewards=["exact", {"name": "process", "path": str(trained.path)}, "exact"],
        sampling={"max_new_tokens": 24},
        output_dir=tmp_path / "eval",
    )
    task = run.results["tasks"]["best-of:arithmetic"]
    values = {name: interval["estimate"] for name, interval in task["values"].items()}
    assert list(values) == [
        "pass@1",
        "pass@3",
        "maj@3",
        "weighted@3 process",
        "best-of-3 process",
        "weighted@3 exact-2",
        "best-of-3 exact-2",
        *(f"{a} over {b}" for a, b in combinations(METHODS, 2)),
    ]
    assert values["best-of-3 exact-2"] == values["pass@3"]  # a selector that knows the answer is the oracle
    assert values["process over majority"] == pytest.approx(values["best-of-3 process"] - values["maj@3"])
    assert task["without_score"] == {"process": 0, "exact-2": 0}


def test_best_of_n_needs_something_to_choose_from(nano: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 2 samples"):
        rlllm.evaluate(model=nano, tasks=["best-of"], data=DATA, samples=1, output_dir=tmp_path / "eval")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("center_rewards_coefficient", 0.01), ("label_smoothing_factor", 0.1), ("pad_to_multiple_of", 8)],
)
def test_a_setting_that_would_have_no_effect_is_refused(setting: str, value: Any, nano: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{setting} has no effect"):
        train(tmp_path / "run", model=nano, **{setting: value})
    assert not (tmp_path / "run").exists()


def test_what_has_no_effect_is_a_field_and_its_default_is_no_mistake() -> None:
    fields = trl_fields.table("RewardConfig")
    refuse_settings_without_effect({name: fields[name]["default"] for name in WITHOUT_EFFECT})


@pytest.mark.parametrize(("share", "word"), [(0.0, "right"), (1.0, "wrong")])
def test_labels_of_one_class_only_are_refused(share: float, word: str, nano: str, tmp_path: Path) -> None:
    data = {**DATA, "name": "lists", "params": {"wrong_share": share}}
    with pytest.raises(DataError, match=f"every step is labelled {word}"):
        train(tmp_path / "run", model=nano, data=data)


class StopsAfterOne(NullProgress):
    """Presses Ctrl-C at the first step."""

    def step(self, step: int, values: Mapping[str, float]) -> None:
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_resumed_run_equals_one_that_was_not_stopped(tiny_model: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": tiny_model, "max_steps": 3, "save_steps": 1}
    whole = train(tmp_path / "whole", **settings)
    stopped = train(tmp_path / "stopped", progress=StopsAfterOne(), **settings)
    assert stopped.status["state"] == "interrupted"
    resumed = train(tmp_path / "stopped", resume=True, **settings)
    assert resumed.ok
    weights = [(run.model / "model.safetensors").read_bytes() for run in (whole, resumed)]
    assert weights[0] == weights[1]
    assert [row["loss"] for row in resumed.metrics()] == [row["loss"] for row in whole.metrics()]
    assert [row["step_accuracy"] for row in resumed.metrics()] == [row["step_accuracy"] for row in whole.metrics()]


def test_adapters_are_merged_and_the_head_is_trained(tiny_model: str, tmp_path: Path) -> None:
    run = train(tmp_path / "run", model=tiny_model, lora={"r": 2}, eval={"rows": 0})
    assert run.ok
    assert ProcessModel(str(run.model)).chances([("p", ["1+1=2"])])[0]


@pytest.mark.parametrize(
    ("outcomes", "hard", "soft"),
    [
        ([[True, False], [True, True], [True]], [True, True, True], [0.5, 1.0, 1.0]),
        ([[True, False, False, False], [False] * 4, [False]], [True, False, False], [0.25, 0.0, 0.0]),
        ([[False]], [False], [0.0]),
    ],
)
def test_a_step_is_right_if_any_continuation_is_and_as_right_as_their_share(
    outcomes: list[list[bool]], hard: list[bool], soft: list[float]
) -> None:
    labels = label_from_outcomes(outcomes)
    assert (labels.hard, labels.soft) == (hard, soft)


def test_a_step_without_rollouts_has_no_label() -> None:
    with pytest.raises(DataError, match="no rollouts"):
        label_from_outcomes([[True], []])


def labelling(output: Path, **settings: Any) -> StepLabelConfig:
    common: dict[str, Any] = {
        "output": str(output),
        "data": {"name": "arithmetic", "level": 1},
        "rows": 3,
        "rollouts": 2,
        "max_new_tokens": 24,
    }
    return resolve(StepLabelConfig, {}, {**common, **settings}.items())


def test_step_labels_from_rollouts_are_rows_to_train_on(nano: str, tmp_path: Path) -> None:
    made = label_steps(labelling(tmp_path / "steps.jsonl", solutions=2, model=nano))
    rows = [json.loads(line) for line in made.output.read_text().splitlines()]
    assert made.rows == len(rows)
    assert made.rows + sum(made.skipped.values()) == 6
    assert made.problems == 3
    for row in rows:
        assert len(row["steps"]) == len(row["labels"]) == len(row["soft"])
        assert all(label == (soft > 0) for label, soft in zip(row["labels"], row["soft"], strict=True))
        assert row["soft"][-1] in (0.0, 1.0)
        assert row["labels"][-1] == (row["steps"][-1] == f"#### {row['answer']}")
    records = load(DataConfig(name=str(made.output)), StepwiseSolution).train
    assert [list(record.labels) for record in records] == [row["labels"] for row in rows]
    with pytest.raises(ConfigError, match="the output file exists"):
        label_steps(labelling(made.output, model=nano))


def test_the_same_seed_gives_the_same_labels(nano: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        label_steps(labelling(tmp_path / name, model=nano, seed=5))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_solutions_without_an_end_are_counted_and_nothing_at_all_is_an_error(nano: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no solution could be labelled") as caught:
        label_steps(labelling(tmp_path / "steps.jsonl", model=nano, max_new_tokens=2))
    assert "'longer than max_new_tokens': 3" in str(caught.value)
    assert not (tmp_path / "steps.jsonl").exists()


def test_greedy_rollouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at temperature 0"):
        labelling(tmp_path / "steps.jsonl", temperature=0.0)


def test_the_recipe_plans() -> None:
    from rlllm.core.recipes import find_recipe, read_recipe
    from rlllm.stages.catalog import plan, resolve_settings

    planned: Any = plan(resolve_settings("train-rm", read_recipe(find_recipe("process", "train-rm").path)))
    assert planned.trainer.name == "process"
    assert isinstance(planned.loaded.train[0], StepwiseSolution)


def test_a_run_is_named_as_a_reward_and_known_as_one_that_scores_steps(trained: Run) -> None:
    (spec,) = named_models([RewardSpec(name=str(trained.path))])
    assert (spec.name, spec.params) == ("process", {"path": str(trained.model)})


def test_a_reward_model_neither_writes_nor_gets_a_head_of_another_size(trained: Run, tmp_path: Path) -> None:
    source = resolve_model(str(trained.path))
    with pytest.raises(ModelError, match="a reward model scores texts and writes none"):
        load_policy(source)
    with pytest.raises(ModelError, match="a classifier with 2 labels cannot be trained to give 1"):
        rlllm.train_rm(model=str(trained.path), data=DATA, output_dir=tmp_path / "run", max_steps=1)


@pytest.mark.parametrize("setting", ["rewards", "rollout"])
def test_settings_of_the_loop_are_refused_where_nothing_is_sampled(setting: str, nano: str, tmp_path: Path) -> None:
    value = {"rewards": ["exact"], "rollout": {"max_new_tokens": 8}}[setting]
    with pytest.raises(ConfigError, match=f"process does not read {setting}"):
        train(tmp_path / "run", model=nano, **{setting: value})
    assert not (tmp_path / "run").exists()


def test_solutions_that_are_too_long_to_train_on_or_to_measure_do_not_end_a_run(nano: str, tmp_path: Path) -> None:
    lines = [["1+1=2", "#### 2"]] * 4 + [["a much longer step of a solution " * 3, "#### 2"]] * 4
    rows = [
        {"prompt": f"{number}?", "steps": steps, "labels": [True, number % 2 == 0]}
        for number, steps in enumerate([*lines, *lines[4:]])
    ]
    path = tmp_path / "steps.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    held_out = DataConfig(name=str(path), holdout=4)
    longest = 60 if all(len(record.steps[0]) > 60 for record in load(held_out, StepwiseSolution).holdout) else 40
    notes: list[str] = []

    class Heard(NullProgress):
        def note(self, text: str) -> None:
            notes.append(text)

    run = rlllm.train_rm(
        method="process",
        model=nano,
        data={"name": str(path), "holdout": 4},
        output_dir=tmp_path / "run",
        max_steps=1,
        per_device_train_batch_size=1,
        max_length=longest,
        progress=Heard(),
    )
    assert run.ok
    assert any(f"are left out, since max_length={longest} leaves nothing" in note for note in notes)
    assert "rows_dropped" in [reason["code"] for reason in run.verdict["reasons"]]


def test_no_measure_is_made_of_solutions_that_cannot_be_read(trained: Run) -> None:
    record = StepwiseSolution("1+1?", ("1+1=2", "#### 2"), (True, True))
    assert measure_steps(ProcessModel(str(trained.model), max_length=3), [record]) == []
