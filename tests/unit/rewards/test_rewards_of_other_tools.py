"""Reward functions of TRL, verl, OpenRLHF, ms-swift and verifiers: recognised, called as their tool does, tried first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.stages.catalog import plan, resolve_settings

FILE = Path(__file__).parents[2] / "fixtures" / "rewards" / "of_other_tools.py"
META = {"data_source": "sums", "extra_info": {"index": 3}, "unit": "m"}
SAMPLES = [Sample("2 + 2 = ?", "it is 4 m", "4", META), Sample("2 + 3 = ?", "it is 4", "5", META)]
CHAT = [{"role": "user", "content": "2 + 2 = ?"}]


def spec(name: str, **params: Any) -> RewardSpec:
    return RewardSpec.checked({"name": f"{FILE}:{name}", "deadline": 0, **params})


VALUES: list[tuple[str, dict[str, Any], str, list[float | None]]] = [
    ("trl_named", {}, "TRL", [1.0, 0.0]),
    ("trl_keywords", {}, "TRL", [1.0, 1.0]),
    ("trl_async", {}, "TRL", [1.0, None]),
    ("compute_score", {}, "verl", [1.0, 0.0]),
    ("compute_scores", {}, "verl", [1.0, 0.0]),
    ("compute_scores", {"bonus": 0.5}, "verl", [1.5, 0.5]),
    ("reward_func", {}, "OpenRLHF", [1.0, 0.0]),
    ("Short", {}, "ms-swift", [1.0, 0.0]),
    ("Short", {"limit": 8}, "ms-swift", [0.0, 0.0]),
    ("rubric", {}, "verifiers", [1.0, 0.0]),
]


@pytest.mark.parametrize(("name", "params", "tool", "values"), VALUES)
def test_a_function_of_another_tool_is_called_as_its_tool_calls_it(
    name: str, params: dict[str, Any], tool: str, values: list[float | None]
) -> None:
    composition = build([spec(name, **params)])
    assert composition.rewards[0].convention == tool
    assert composition.score(SAMPLES).values == [values]


def test_trl_gets_messages_where_prompts_are_messages_and_text_where_they_are_text() -> None:
    samples = [Sample(CHAT, "4"), Sample(CHAT, "5")]
    assert build([spec("trl_messages")]).score(samples).values == [[1.0, 0.0]]
    assert build([spec("rubric")]).score([Sample(CHAT, "4", "4")]).values == [[1.0]]


def test_a_mapping_of_verl_keeps_its_other_values_as_the_note() -> None:
    (details,) = build([spec("compute_score")]).score(SAMPLES[:1]).details
    assert details[0] is not None
    assert details[0].note == "source=sums, index=3"


def test_the_answer_of_verls_layout_is_the_ground_truth() -> None:
    sample = Sample("2 + 2 = ?", "4", meta={"reward_model": {"ground_truth": "4"}, "data_source": "sums"})
    assert build([spec("compute_score")]).score([sample]).values == [[1.0]]


WRONG_ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("compute_scores", {"bonsu": 1}, "takes no argument bonsu"),
    ("compute_score", {"ground_truth": "4"}, "is given ground_truth with every call"),
    ("Short", {"limits": 8}, "does not take these arguments"),
    ("unknown", {}, "missing a required argument"),
]


@pytest.mark.parametrize(("name", "params", "message"), WRONG_ARGUMENTS)
def test_arguments_that_do_not_fit_are_refused(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build([spec(name, **params)])


def test_an_unknown_signature_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError) as error:
        build([spec("unknown")])
    assert "TRL: f(completions, solution, **kwargs)" in error.value.exists
    assert "verl: compute_score(data_source, solution_str, ground_truth, extra_info)" in error.value.exists


def recipe(name: str, model: str, folder: Path) -> dict[str, Any]:
    file = folder / "rows.jsonl"
    row = {"prompt": "2 + 2 = ?", "answer": "4", **META}
    file.write_text("".join(json.dumps({**row, "prompt": f"{n} + 1 = ?"}) + "\n" for n in range(8)), encoding="utf-8")
    return {"model": model, "data": {"name": str(file)}, "rewards": [f"{FILE}:{name}"], "method": "grpo"}


DRY: list[tuple[str, str]] = [
    ("needs_parser", "takes parser, and no column"),
    ("needs_column", "takes difficulty, and no column"),
    ("not_a_number", "returned str, not a number"),
    ("breaks", "raised KeyError"),
    ("unknown", "missing a required argument"),
]


@pytest.mark.parametrize(("name", "message"), DRY)
def test_a_function_that_fails_on_one_row_is_refused_before_training(
    name: str, message: str, tiny_model: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(resolve_settings("reason", recipe(name, tiny_model, tmp_path)))


def test_a_list_that_is_too_short_is_an_error_of_the_reward() -> None:
    scores = build([spec("wrong_length")], max_error_rate=1.0)
    with pytest.raises(Exception, match="returned 1 values"):
        scores.score(SAMPLES)


@pytest.mark.parametrize("name", ["trl_named", "trl_keywords", "compute_score", "reward_func", "Short", "rubric"])
def test_a_function_of_another_tool_trains_two_steps(name: str, tmp_path: Path) -> None:
    values = {
        "rollout": {"group_size": 2, "max_new_tokens": 4},
        "trainer": {"max_steps": 2, "per_device_train_batch_size": 4},
        "output_dir": str(tmp_path / "run"),
    }
    finished = rlllm.reason(**{**recipe(name, "nano", tmp_path), **values})
    lines = (finished.path / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    rewards = [json.loads(line)["rewards"] for line in lines]
    assert len(rewards) == 8
    assert all(name in row and row[name] is not None for row in rewards)
