"""Defaults by the size of the model: which row holds, what it leaves alone, and that it is said where a value comes from."""

import json
from pathlib import Path

import pytest

from rlllm.algorithms.methods.base import Method
from rlllm.core.recipes import PIPELINES, list_recipes, read_recipe
from rlllm.core.records import PromptTask
from rlllm.policies.model_sources import NANO, ModelSource
from rlllm.stages.catalog import resolve_settings
from rlllm.stages.pipeline.settings import load_pipeline
from rlllm.training.plan import Plan, resolve_method
from rlllm.training.registry import TRAINERS, plan_run, trainer_of
from rlllm.training.settings import TrainingConfig
from rlllm.training.size_defaults import KINDS, TABLE, SizeDefaults, row_for, size_defaults

TRAINING = ("sft", "train-rm", "align", "reason")


def defaults_of(config: TrainingConfig, source: ModelSource, records: int = 2000, processes: int = 1) -> SizeDefaults:
    method = resolve_method(config.method, config.stage)
    trainer = trainer_of(method)
    rows = [PromptTask(prompt="1+1=")] * records
    return size_defaults(config, method, trainer.size_defaults, trainer.trl_config, source, rows, processes)


def planned(verb: str, **settings: object) -> Plan:
    given = {"model": "nano", "data": {"name": "arithmetic", "rows": 64, "holdout": 8}, **settings}
    config = resolve_settings(verb, {}, given.items())
    assert isinstance(config, TrainingConfig)
    return plan_run(config)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_kind_cover_every_size_once(kind: str) -> None:
    rows = [row for row in TABLE if row.kind == kind]
    assert (rows[0].at_least, rows[-1].below) == (0, None)
    assert [row.below for row in rows[:-1]] == [row.at_least for row in rows[1:]]
    assert all((row.epochs is None) != (row.steps is None) for row in rows)
    assert all((row.group_size is None) == (row.kind != "loop") for row in rows)


def test_every_trainer_that_ships_has_rows() -> None:
    assert {TRAINERS.load(name).size_defaults for name in TRAINERS.builtins} == set(KINDS)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [(900_000, "under 10M"), (10_000_000, "10M to 1B"), (8_000_000_000, "1B to 10B"), (70_000_000_000, "10B and more")],
)
def test_the_row_follows_from_the_number_of_parameters(parameters: int, expected: str) -> None:
    assert row_for("loop", parameters).range_text == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SmolLM2-135M-Instruct", 135_000_000),
        ("Qwen2.5-0.5B", 500_000_000),
        ("Mixtral-8x7B-v0.1", 56_000_000_000),
        ("Qwen3-30B-A3B", 30_000_000_000),
        ("Meta-Llama-3-8b", 8_000_000_000),
        ("gpt2", None),
        ("phi-3-mini-4k-instruct", None),
        ("bge-m3", None),
    ],
)
def test_the_size_of_a_hub_model_is_what_its_name_says(name: str, expected: int | None) -> None:
    assert ModelSource(f"org/{name}", "hub", name).parameter_count() == expected


def test_the_size_of_a_folder_is_what_its_weights_hold() -> None:
    source = ModelSource(str(NANO), "nano", "nano")
    assert source.parameter_count() == 886_528
    assert source.context_length() == 512


def test_adapters_learn_ten_times_as_fast_as_whole_models_unless_measured_otherwise() -> None:
    row = row_for("preferences", 8_000_000_000)
    assert (row.rate(lora=False), row.rate(lora=True)) == (5e-7, 5e-6)
    measured = row_for("preferences", 900_000)
    assert (measured.rate(lora=False), measured.rate(lora=True)) == (1e-4, 3e-4)


@pytest.mark.parametrize("verb", TRAINING)
def test_nothing_given_takes_the_row_and_says_so(verb: str) -> None:
    plan = planned(verb)
    row = row_for(plan.trainer.size_defaults, 886_528)
    assert plan.setting("learning_rate") == row.learning_rate
    assert plan.origins()["learning_rate"] == {"value": row.learning_rate, "origin": "size"}
    text = next(line for line in plan.lines() if line[0] == "defaults")[1]
    assert f"learning_rate={row.learning_rate}" in text
    assert any("under 10M" in text and "docs/reference/size-defaults.md" in text for _, text in plan.lines())


@pytest.mark.parametrize("verb", TRAINING)
def test_trl_s_defaults_are_one_setting_away(verb: str) -> None:
    plan = planned(verb, defaults="trl")
    assert plan.sizes.values == {}
    assert plan.origins()["learning_rate"]["origin"] == "TRL"
    assert any(label == "TRL defaults" and "learning_rate=" in text for label, text in plan.lines())


def test_what_is_given_wins_over_the_method_and_the_method_over_the_size() -> None:
    plan = planned("align", method="ppo", rewards=["gold"], learning_rate=3e-5)
    assert plan.origins()["learning_rate"] == {"value": 3e-5, "origin": "given"}
    assert plan.origins()["num_generations"] == {"value": 1, "origin": "method"}
    assert plan.origins()["beta"] == {"value": 0.05, "origin": "method"}
    assert plan.origins()["max_completion_length"]["origin"] == "size"


@pytest.mark.parametrize(
    ("given", "left_to_trl"),
    [
        ({"num_train_epochs": 1}, "max_steps"),
        ({"max_tokens": 5000}, "max_steps"),
        ({"per_device_train_batch_size": 16}, "gradient_accumulation_steps"),
        ({"steps_per_generation": 4}, "per_device_train_batch_size"),
        ({"lr_scheduler_type": "linear"}, "warmup_steps"),
    ],
)
def test_settings_that_mean_something_only_together_are_never_mixed(given: dict[str, object], left_to_trl: str) -> None:
    plan = planned("reason", **given)
    assert left_to_trl not in plan.sizes.values
    assert left_to_trl not in plan.settings


@pytest.mark.parametrize(
    ("settings", "processes", "rows", "expected"),
    [
        ({}, 1, 2000, (8, 16)),
        ({}, 4, 2000, (8, 4)),
        ({"rollout.group_size": 6}, 1, 2000, (6, 21)),
        ({"rollout.group_size": 16}, 1, 2000, (8, 16)),
        ({"method": "ppo"}, 1, 2000, (8, 16)),
        ({}, 1, 3, (8, 3)),
    ],
)
def test_a_step_of_the_loop_holds_whole_groups(
    settings: dict[str, object], processes: int, rows: int, expected: tuple[int, int]
) -> None:
    config = resolve_settings("reason", {"model": "org/Some-135M"}, settings.items())
    assert isinstance(config, TrainingConfig)
    values = defaults_of(config, ModelSource("org/Some-135M", "hub", "Some-135M"), rows, processes).settings
    assert (values["per_device_train_batch_size"], values["gradient_accumulation_steps"]) == expected


def test_a_method_that_uses_a_rollout_for_several_steps_does_so_with_any_number_of_passes() -> None:
    config = resolve_settings("reason", {"model": "org/Some-135M"})
    assert isinstance(config, TrainingConfig)
    method = Method(name="m", stages=("reason",), trainer="rl", summary="", settings={"steps_per_generation": 2})
    source = ModelSource("org/Some-135M", "hub", "Some-135M")
    values = size_defaults(config, method, "loop", "GRPOConfig", source, [PromptTask(prompt="1")] * 500, 1).settings
    assert (values["gradient_accumulation_steps"], values["steps_per_generation"]) == (16, 32)


def test_completions_leave_the_prompts_their_room_in_the_context() -> None:
    config = resolve_settings("reason", {"model": "nano"})
    assert isinstance(config, TrainingConfig)
    method = resolve_method(config.method, "reason")
    rows = [PromptTask(prompt="1" * length) for length in (5, 400)]
    source = ModelSource(str(NANO), "nano", "nano")
    values = size_defaults(config, method, "loop", "GRPOConfig", source, rows, 1).values
    assert values["max_completion_length"] == 512 - 400 - 32


def test_a_model_of_unknown_size_keeps_trl_s_defaults_and_the_plan_says_why() -> None:
    config = resolve_settings("sft", {"model": "org/gpt2"})
    assert isinstance(config, TrainingConfig)
    sizes = defaults_of(config, ModelSource("org/gpt2", "hub", "gpt2"))
    assert (sizes.row, sizes.values) == (None, {})
    assert "not known" in sizes.reason


def test_no_recipe_that_ships_depends_on_the_table() -> None:
    """Their recorded numbers hold for what they set; new rows must not move them."""
    taken = {}
    for entry in list_recipes():
        values = read_recipe(entry.path)
        configs = [resolve_settings(entry.stage, values)] if entry.stage in TRAINING else []
        if entry.stage == PIPELINES:
            earlier: dict[str, Path] = {}
            for step in load_pipeline(values).steps:
                configs.append(step.resolve(earlier, 0))
                earlier[step.name] = Path(step.name)
        for config in configs:
            if isinstance(config, TrainingConfig):
                kind = "nano" if config.model in ("nano", "runs/nano-start") or "/" not in config.model else "hub"
                path = str(NANO) if kind == "nano" else config.model
                taken[f"{entry.name} {config.stage}"] = defaults_of(
                    config, ModelSource(path, kind, config.model)
                ).values
    assert len(taken) > 15
    assert {name: values for name, values in taken.items() if values} == {}


def test_the_json_of_a_plan_names_the_row_and_every_origin() -> None:
    document = json.loads(json.dumps(planned("sft", max_steps=3).to_json()))
    assert document["defaults"]["row"] == "sft, under 10M"
    assert document["settings"]["max_steps"] == {"value": 3, "origin": "given"}
    assert document["settings"]["learning_rate"]["origin"] == "size"
