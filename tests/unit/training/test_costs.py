"""What a run will cost, counted from its settings: rollouts, completions, passes, and memory from the files' headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlllm.policies.model_sources import NANO, weight_shapes
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.training.cost import Cost, cost_of

SMALL: dict[str, Any] = {
    "data": {"name": "arithmetic", "rows": 40, "holdout": 8},
    "rollout": {"group_size": 4, "max_new_tokens": 10},
}
TRAINER = {"per_device_train_batch_size": 8, "save_strategy": "no"}


def cost(trainer: dict[str, Any] | None = None, **settings: Any) -> Cost:
    found = cost_of(plan(resolve_settings("reason", {**SMALL, **settings, "trainer": {**TRAINER, **(trainer or {})}})))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("trainer", "steps", "rollouts", "completions", "forward", "backward"),
    [
        ({"max_steps": 6}, 6, 6, 48, 48, 48),
        ({"max_steps": 6, "beta": 0.1}, 6, 6, 48, 48 * 3, 48),
        ({"max_steps": 6, "gradient_accumulation_steps": 2}, 6, 6, 96, 96, 96),
        ({"max_steps": 6, "steps_per_generation": 2}, 6, 3, 48, 48 * 2, 48),
        ({"max_steps": 6, "num_iterations": 3}, 6, 2, 16, 48 + 16, 48),
        ({"max_steps": 5, "num_iterations": 3}, 5, 2, 16, 40 + 16, 40),
        ({"num_train_epochs": 2}, 40, 40, 320, 320, 320),
        ({"num_train_epochs": 1, "num_iterations": 2}, 40, 20, 160, 480, 320),
    ],
)
def test_rollouts_and_passes_follow_from_the_batch_settings(
    trainer: dict[str, Any], steps: int, rollouts: int, completions: int, forward: int, backward: int
) -> None:
    found = cost(trainer)
    assert (found.steps, found.rollouts, found.completions) == (steps, rollouts, completions)
    assert (found.forward, found.backward) == (forward, backward)
    assert found.tokens_sampled == completions * 10


def test_a_sampler_that_fills_up_groups_may_cost_its_rounds_again() -> None:
    found = cost({"max_steps": 6}, sampler={"name": "dynamic", "max_rounds": 3})
    assert (found.completions, found.resampled) == (48, 3 * 48)
    assert any("144 completions more" in line for _, line in found.lines())


def test_a_mask_that_reads_log_probabilities_costs_a_pass() -> None:
    assert cost({"max_steps": 6}, mask="clip-cov").forward == 48 * 2


def test_a_critic_is_a_second_model_that_learns_and_scores() -> None:
    found = cost({"max_steps": 1}, method="ppo")
    assert found.backward == 16, "policy and critic"
    assert found.forward == 16 + 8 * 3, "and the rollout once more by policy, reference and critic"
    alone = cost({"max_steps": 1}).memory
    assert found.memory is not None
    assert alone is not None
    assert found.memory.weights == 3 * alone.weights
    assert found.memory.training == 2 * alone.training


def test_a_greedy_baseline_is_one_more_completion_a_prompt() -> None:
    assert cost({"max_steps": 1}, method="remax").completions == 8 + 2


def test_parameters_and_their_memory_are_read_from_the_files_without_loading_them() -> None:
    from safetensors import safe_open

    with safe_open(NANO / "model.safetensors", "pt") as file:
        numbers = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    memory = cost({"max_steps": 1}).memory
    assert memory is not None
    assert memory.parameters == memory.trained == numbers
    assert (memory.weights, memory.training) == (4 * numbers, 12 * numbers)
    assert memory.cache == 2 * 4 * 4 * 32 * 4 * 8 * 10, (
        "keys and values, layers, heads, width, bytes, completions, tokens"
    )


def test_adapters_train_little_and_need_no_second_reference() -> None:
    whole, adapted = (
        cost({"max_steps": 1, "beta": 0.1}).memory,
        cost({"max_steps": 1, "beta": 0.1}, lora={"r": 4}).memory,
    )
    assert whole is not None
    assert adapted is not None
    assert adapted.trained == 4 * 4 * (4 * (128 + 128) + 3 * (128 + 384)), "layers, rank, attention, feed-forward"
    assert adapted.weights * 2 == whole.weights


def test_memory_follows_the_number_format_and_an_adapter_counts_its_base(tiny_model: str, tmp_path: Path) -> None:
    import rlllm

    in_float32 = cost({"max_steps": 1}).memory
    in_bf16 = cost({"max_steps": 1}, model={"name": "nano", "dtype": "bfloat16"}).memory
    assert in_float32 is not None
    assert in_bf16 is not None
    assert (in_bf16.weights * 2, in_bf16.training * 2) == (in_float32.weights, in_float32.training)
    assert in_bf16.cache is not None
    assert in_bf16.cache * 2 == in_float32.cache
    run = rlllm.sft(
        model=tiny_model,
        data="arithmetic#16",
        lora={"r": 2},
        max_steps=1,
        eval={"rows": 0},
        output_dir=tmp_path / "run",
    )
    on_base, on_adapter = (cost({"max_steps": 1}, model=model).memory for model in (tiny_model, str(run.path)))
    assert on_base == on_adapter


def test_a_file_that_is_no_safetensors_gives_no_estimate(tmp_path: Path) -> None:
    assert weight_shapes(tmp_path) is None
    for content in (b"", b"short", (10**12).to_bytes(8, "little"), (4).to_bytes(8, "little") + b"{..."):
        (tmp_path / "model.safetensors").write_bytes(content)
        assert weight_shapes(tmp_path) is None


def test_an_experiment_says_how_many_runs_it_is_and_what_they_come_to() -> None:
    found = cost({"max_steps": 6}, controls=["random", "frozen"], seeds=2)
    assert found.runs == 6
    said = dict(found.lines())
    assert said["runs"] == "6 whole runs, one after another; each costs:"
    assert any("all runs: 288 completions, at most 2,880 tokens sampled" in value for _, value in found.lines())


def test_a_budget_of_tokens_is_named_beside_the_counts() -> None:
    said = [text for _, text in cost({"max_steps": 6}, max_tokens=1500).lines()]
    assert said[1] == "or fewer: max_tokens ends it at 1,500 tokens of prompts and completions"


def test_data_too_small_for_a_step_have_no_cost() -> None:
    config = resolve_settings("reason", {**SMALL, "trainer": {"per_device_train_batch_size": 400, "max_steps": 6}})
    assert cost_of(plan(config)) is None


def test_a_method_without_rollouts_has_no_such_cost() -> None:
    assert cost_of(plan(resolve_settings("align", {"data": {"name": "arithmetic", "rows": 8}}))) is None
