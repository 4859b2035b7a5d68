"""`rlllm sweep` as it is typed: arms from lists of values, plans, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Rlllm

from rlllm_cli.commands.sweep import split_values

SMALL = "--set data.name=arithmetic --set data.rows=64 --set data.holdout=16 --set max_steps=3 --set eval.rows=8"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("grpo,dapo", ["grpo", "dapo"]),
        ("1e-4", ["1e-4"]),
        ("[exact, format],[majority]", ["[exact, format]", "[majority]"]),
        ("{name: entropy, fraction: 0.1},random", ["{name: entropy, fraction: 0.1}", "random"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("a,", ["a", ""]),
    ],
)
def test_values_are_split_at_commas_outside_of_brackets_and_quotes(text: str, values: list[str]) -> None:
    assert split_values(text) == values


def test_a_dry_run_lists_arms_runs_and_tokens(rlllm: Rlllm, model: str) -> None:
    line = f"sweep --stage reason model={model} method=grpo,dapo rollout.temperature=0.7,1 {SMALL} --seeds 3 --dry-run"
    said = rlllm(line)
    assert said.code == 0, said.err
    assert "4 arms x 3 seeds = 12, one after another" in said.out
    assert "dapo,rollout.temperature=0.7" in said.out
    planned = rlllm(f"{line} --json").json
    assert planned["baseline"] == "grpo,rollout.temperature=0.7"
    assert planned["arms"][3]["settings"]["rollout.temperature"] == 1
    assert planned["arms"][0]["tokens_sampled"] == 3 * 3 * 8 * 512


def test_a_recipe_of_a_sweep_can_be_cut_down_to_some_arms(rlllm: Rlllm, tmp_path: Path, model: str) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"# rlllm sweep mine.yaml\nstage: reason\nbaseline: b\nsettings: {{model: {model}, data: arithmetic#64}}\n"
        "arms:\n  a: {method: dapo}\n  b: {method: grpo}\n  c: {method: gspo}\n"
    )
    said = rlllm(f"sweep {recipe} --arms c learning_rate=1e-5 --dry-run --json")
    assert said.code == 0, said.err
    assert [arm["arm"] for arm in said.json["arms"]] == ["b", "c"]
    assert said.json["arms"][0]["settings"]["learning_rate"] == 1e-5
    assert rlllm(f"recipes check {recipe}").code == 0
    points = rlllm(
        f"sweep {recipe} --arms a --arms b,learning_rate=2e-05 learning_rate=1e-5,2e-5 --dry-run --json"
    ).json["arms"]
    names = ["b,learning_rate=1e-05", "a,learning_rate=1e-05", "a,learning_rate=2e-05", "b,learning_rate=2e-05"]
    assert [arm["arm"] for arm in points] == names


def test_a_plan_names_an_arm_that_cannot_differ_from_another_method(rlllm: Rlllm, model: str) -> None:
    said = rlllm(f"sweep --stage reason model={model} method=grpo,gspo steps_per_generation=1 {SMALL} --dry-run")
    assert said.code == 0, said.err
    row = next(line for line in said.out.splitlines() if line.startswith("gspo "))
    assert "method=gspo" in row
    assert "equals grpo" in row


WRONG = [
    ("sweep", "which recipe?"),
    ("sweep quickstart method=grpo,dapo", "several stages have a recipe quickstart"),
    ("sweep reason/quickstart method=grpo,grop", "arm grop: unknown method: grop"),
    ("sweep reason/quickstart learning_rat=1,2", "unknown key for reason: learning_rat"),
    ("sweep reason/quickstart method=grpo method=dapo", "method is given twice"),
    ("sweep reason/quickstart more/quickstart method=grpo,dapo", "one recipe at most"),
    ("sweep reason/quickstart method=grpo,dapo --baseline ppo", "no arm of this name to be the baseline"),
    ("sweep reason/quickstart method=grpo,dapo --set beta", "a setting is typed KEY=VALUE"),
    ("sweep reason-methods --arms gpro", "no arm of this name"),
    ("sweep eval/quickstart samples=1,2", "a sweep compares training runs"),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_a_wrong_sweep_is_refused_before_anything_runs(rlllm: Rlllm, line: str, message: str) -> None:
    said = rlllm(f"{line} --dry-run")
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
