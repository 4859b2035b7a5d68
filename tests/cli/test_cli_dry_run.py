"""`--dry-run`: the settings resolve as they will run, class defaults < recipe < command line, and nothing is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import Rlllm

from rlllm.policies.model_sources import NANO

RECIPE = """
# rlllm reason mine.yaml
data: {name: arithmetic, level: 2, rows: 64, holdout: 16}
method: dr-grpo
rollout: {group_size: 4, max_new_tokens: 32}
trainer: {learning_rate: 1.0e-4, max_steps: 3, per_device_train_batch_size: 8}
"""


@pytest.fixture
def planned(rlllm: Rlllm, tmp_path: Path, model: str) -> Any:
    """The JSON plan of `rlllm reason mine.yaml WORDS`."""
    (tmp_path / "mine.yaml").write_text(RECIPE)

    def plan(words: str = "", verb: str = "reason", recipe: str = "mine.yaml") -> Any:
        said = rlllm(f"{verb} {recipe} --model {model} --dry-run --json {words}")
        assert said.code == 0, said.err
        assert said.err == ""
        return said.json

    return plan


def test_a_recipe_wins_over_the_class_defaults(planned: Any) -> None:
    plan = planned()
    assert plan["method"] == "dr-grpo"
    assert plan["data"]["train"] == 64
    assert plan["trainer"]["learning_rate"] == 1e-4
    assert plan["trainer"]["num_generations"] == 4
    assert plan["trainer"]["scale_rewards"] == "none", "the method's settings lie under the recipe's"


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        ("learning_rate=2e-4", "learning_rate", 2e-4),
        ("--learning_rate 2e-4", "learning_rate", 2e-4),
        ("--learning-rate=2e-4", "learning_rate", 2e-4),
        ("trainer.learning_rate=2e-4", "learning_rate", 2e-4),
        ("rollout.group_size=2", "num_generations", 2),
        ("num_generations=2", "num_generations", 2),
        ("--num_generations 2", "num_generations", 2),
        ("--scale_rewards group", "scale_rewards", "group"),
        ("--method grpo", "loss_type", "grpo"),
        ("--log_completions", "log_completions", True),
    ],
)
def test_the_command_line_wins_over_the_recipe(words: str, key: str, value: Any, planned: Any) -> None:
    assert planned(words)["trainer"][key] == value


def test_a_recipe_can_be_named_as_an_option(planned: Any) -> None:
    assert planned("--config mine.yaml", recipe="") == planned()


def test_data_on_the_command_line_replaces_the_recipes_data(planned: Any, tmp_path: Path) -> None:
    rows = '{"question": "1+1?", "final": "2"}\n{"question": "1+2?", "final": "3"}\n'
    (tmp_path / "own.jsonl").write_text(rows * 4)
    plan = planned("--data own.jsonl --columns prompt=question,answer=final --reward exact --reward format=0.1")
    assert (plan["data"]["train"], plan["data"]["holdout"]) == (8, 0)
    assert plan["rewards"] == ["exact", "format"]


def test_rewards_of_align_add_up_with_their_weights(planned: Any) -> None:
    plan = planned("--method ppo --reward gold --reward eos=0.5", verb="align", recipe="")
    assert (plan["rewards"], plan["trainer"]["reward_weights"]) == (["gold", "eos"], [1.0, 0.5])


def test_a_key_refines_the_data_named_before_it(planned: Any) -> None:
    assert planned("--data arithmetic data.rows=32 data.holdout=0")["data"]["train"] == 32


@pytest.mark.parametrize("verb", ["sft", "train-rm", "align", "eval"])
def test_every_verb_plans_on_its_defaults(verb: str, planned: Any) -> None:
    assert planned(verb=verb, recipe="")["stage"] == verb


def test_eval_takes_its_tasks_as_words(planned: Any) -> None:
    tasks = planned("arithmetic countdown rows=8", verb="eval", recipe="")["tasks"]
    assert [(task["name"], task["rows"]) for task in tasks] == [("arithmetic", 8), ("countdown", 8)]


def test_a_plan_for_people_is_labelled_and_leaves_nothing_behind(rlllm: Rlllm, tmp_path: Path, model: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    said = rlllm(f"reason --model {model} --dry-run --output-dir out")
    assert (said.code, said.err) == (0, "")
    labels = [line.split("  ")[0] for line in said.out.splitlines()]
    assert {"stage", "model", "data", "batch"} <= set(labels)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_the_chat_template_does_to_the_rows_is_in_the_plan(rlllm: Rlllm, tmp_path: Path) -> None:
    folder = tmp_path / "no-end"
    shutil.copytree(NANO, folder)
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    command = f"sft --model {folder} --data arithmetic#8 --dry-run"
    assert "writes no end token behind the completion" in rlllm(command).out
    assert "writes no end token" in rlllm(f"{command} --json").json["template"][0]
    refused = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(refused)
    said = rlllm(f"{command} --data.system_prompt=short")
    assert (said.code, "the chat template refuses row 1: no system role" in said.err) == (2, True)
