"""The plan: all that is known, checked and printed before torch is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlllm.algorithms.components import SlotSpec, component
from rlllm.algorithms.registry import METHODS
from rlllm.core.errors import ConfigError, DataError, ExitCode, ModelError, RlllmError, UnknownNameError
from rlllm.stages.catalog import STAGES, config_class, plan, resolve_settings, stage_function
from rlllm.training.plan import resolve_method

SMALL = {"name": "arithmetic", "rows": 40, "holdout": 4}


def planned(verb: str, model: str, **settings: Any) -> Any:
    return plan(resolve_settings(verb, {"data": SMALL}, [("model", model), *settings.items()]))


def test_the_users_settings_lie_over_the_methods_and_the_sections_over_both(tiny_model: str) -> None:
    made = planned("reason", tiny_model, method="gspo", epsilon=0.1, **{"rollout.temperature": 0.7})
    assert (made.settings["importance_sampling_level"], made.settings["epsilon"]) == ("sequence", 0.1)
    assert (made.settings["temperature"], made.settings["num_generations"]) == (0.7, 8)


EPSILONS = [
    ("gspo", {}, (3e-4, 4e-4)),
    ("gspo", {"epsilon": 0.3}, (0.3, 0.4)),
    ("gspo", {"epsilon": 0.3, "epsilon_high": 0.5}, (0.3, 0.5)),
    ("gspo", {"epsilon_high": 5e-4}, (3e-4, 5e-4)),
    ("luspo", {"epsilon": 0.2}, (0.2, 0.25)),
    ("dapo", {"epsilon": 0.1}, (0.1, 0.14)),
    ("entropy-80-20", {"epsilon": 0.1}, (0.1, 0.14)),
    ("clip-cov", {"epsilon": 0.2}, (0.2, 0.2)),
    ("grpo", {"epsilon": 0.1}, (0.1, None)),
    ("rloo", {"epsilon": 0.1}, (0.1, None)),
    ("tracer", {"epsilon": 0.2}, (0.2, 0.2)),
]


@pytest.mark.parametrize(("method", "given", "expected"), EPSILONS)
def test_a_presets_upper_bound_keeps_its_proportion_to_an_epsilon_that_is_given_alone(
    tiny_model: str, method: str, given: dict[str, float], expected: tuple[float, float | None]
) -> None:
    settings = planned("reason", tiny_model, method=method, **given).settings
    assert (settings["epsilon"], settings.get("epsilon_high")) == expected


def test_an_entropy_target_is_measured_unless_it_is_given(tiny_model: str) -> None:
    method = {"method": "adaptive-entropy"}
    assert planned("reason", tiny_model, **method).entropy_target_is_measured
    assert ("entropy target", "the policy's own entropy on its first rollout") in planned(
        "reason", tiny_model, **method
    ).lines()
    assert not planned("reason", tiny_model, **method, entropy_target=0.1).entropy_target_is_measured
    assert not planned("reason", tiny_model).entropy_target_is_measured


def test_every_preset_with_two_bounds_is_among_these() -> None:
    methods = [METHODS.load(name) for name in METHODS.names()]
    two = {method.name for method in methods if {"epsilon", "epsilon_high"} <= method.settings.keys()}
    assert two == {method for method, _, (_, high) in EPSILONS if high is not None}


KL_TERMS = [
    ({"beta": 0.04}, False),
    ({"beta": 0.04, "use_bias_correction_kl": True}, True),
    ({}, None),
    ({"method": "intuitor"}, False),
    ({"method": "entropy-min"}, False),
    ({"method": "dapo", "beta": 0.001}, False),
    ({"method": "rloo"}, None),
    ({"method": "rloo", "kl": {"where": "loss"}}, False),
]


@pytest.mark.parametrize(("settings", "corrected"), KL_TERMS)
def test_a_kl_term_of_the_loss_is_k3_unless_the_correction_is_asked_for(
    tiny_model: str, settings: dict[str, Any], corrected: bool | None
) -> None:
    assert planned("reason", tiny_model, **settings).settings.get("use_bias_correction_kl") is corrected


@pytest.mark.parametrize("spelling", ["num_generations", "trainer.num_generations", "rollout.group_size"])
def test_trls_name_of_the_group_size_reaches_trl(tiny_model: str, spelling: str) -> None:
    made = planned("reason", tiny_model, **{spelling: 4})
    assert (made.settings["num_generations"], made.batches and made.batches.group_size) == (4, 4)


def test_settings_of_sampling_are_left_to_the_engine_that_reads_them(tiny_model: str) -> None:
    assert planned("reason", tiny_model, min_p=0.1, **{"rollout.engine": "hf"}).settings["min_p"] == 0.1
    assert planned("reason", tiny_model, repetition_penalty=1.0).settings["repetition_penalty"] == 1.0


METHOD_SLOTS = [
    ({"method": "grpo"}, {"sampler": "shuffle", "advantage": "group", "mask": "all"}),
    ({"method": "lite-ppo", "loss": "grpo"}, {"sampler": "shuffle", "advantage": "lite", "mask": "all"}),
    (
        {"method": "lite-ppo", "loss": "grpo", "advantage": "rloo"},
        {"sampler": "shuffle", "advantage": "rloo", "mask": "all"},
    ),
    ({"mask": {"name": "random", "fraction": 0.5}}, {"sampler": "shuffle", "advantage": "group", "mask": "random"}),
    ({"shuffle_dataset": False}, {"sampler": "in-order", "advantage": "group", "mask": "all"}),
]


@pytest.mark.parametrize(("settings", "slots"), METHOD_SLOTS)
def test_a_method_fills_the_slots_and_the_user_overrides_any(
    tiny_model: str, settings: dict[str, Any], slots: dict[str, str]
) -> None:
    made = planned("reason", tiny_model, **settings)
    assert {slot: spec.name for slot, spec in made.slots.items()} == {**slots, "loss": "grpo"}


def test_rloo_has_its_kl_in_the_reward_and_sums_over_tokens(tiny_model: str) -> None:
    made = planned("reason", tiny_model, method="rloo")
    assert (made.slots["advantage"].name, made.slots["loss"].name) == ("rloo", "rloo")
    assert (made.config.kl.where, made.settings["beta"]) == ("reward", 0.05)
    assert "importance_sampling_level" not in made.settings


def test_rows_needed_are_the_prompts_of_one_rollout(tiny_model: str) -> None:
    assert planned("reason", tiny_model, per_device_train_batch_size=64).rows_needed == 8
    assert planned("sft", tiny_model).rows_needed == 1


def test_weights_of_rewards_reach_trl_in_order(tiny_model: str) -> None:
    made = planned("reason", tiny_model, rewards=["exact", {"name": "format", "weight": 0.1}])
    assert made.settings["reward_weights"] == [1.0, 0.1]


def test_pairs_of_the_simulated_annotator_are_measured_by_its_utility(tiny_model: str) -> None:
    for method in ("dpo", "kto"):
        made = planned("align", tiny_model, method=method)
        assert made.eval_reward is not None
        assert made.eval_reward.names == ["gold"]
        assert made.rewards is None


def test_other_pairs_are_measured_by_nothing_unless_an_eval_reward_is_named(tiny_model: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n' * 4)
    assert planned("align", tiny_model, data=str(path)).eval_reward is None
    judged = planned("align", tiny_model, data=str(path), eval_reward={"name": "length", "budget": 3})
    assert judged.eval_reward is not None
    assert judged.eval_reward.names == ["length"]


def test_the_eval_reward_is_monitored_in_an_online_method_and_does_not_train(tiny_model: str) -> None:
    made = planned("align", tiny_model, method="ppo", rewards="format")
    assert made.rewards is not None
    assert (made.rewards.names, made.rewards.weights) == (["format", "gold"], [1.0, 0.0])
    alone = planned("align", tiny_model, method="ppo", rewards="gold")
    assert alone.rewards is not None
    assert (alone.rewards.names, alone.rewards.weights) == (["gold"], [1.0])


def test_a_method_fills_sections_and_the_user_overrides_them(tiny_model: str) -> None:
    made = planned("align", tiny_model, method="ppo", rewards="gold", rollout={"max_new_tokens": 9})
    config = made.config
    assert (config.rollout.group_size, config.rollout.max_new_tokens, config.kl.where) == (1, 9, "reward")
    other = planned("align", tiny_model, method="ppo", rewards="gold", num_generations=4, kl={"where": "loss"}).config
    assert (other.rollout.group_size, other.kl.where) == (4, "loss")


def test_online_dpo_takes_trls_beta_for_its_own(tiny_model: str) -> None:
    made = planned("align", tiny_model, method="online-dpo", rewards="gold", beta=0.3)
    assert made.slots["advantage"].params == {"beta": 0.3}


REFUSED: list[tuple[str, dict[str, Any], type[RlllmError], str]] = [
    ("reason", {"method": "grpoo"}, UnknownNameError, "unknown method: grpoo\nhint: did you mean grpo?"),
    ("reason", {"method": "dpo"}, ConfigError, "dpo is a method of align, not of reason"),
    ("reason", {"method": "spin"}, ConfigError, "hint: rlllm methods ls --stage reason"),
    ("align", {"method": "grpo"}, ConfigError, "method grpo maximises a reward, and none is named"),
    ("align", {"method": "grpo", "reward": "gold", "num_generations": 1}, ConfigError, "it needs at least two"),
    ("align", {"method": "grpo", "reward": "gold", "kl": {"where": "reward"}}, ConfigError, "kl.where=loss, or"),
    ("align", {"method": "ppo", "reward": "gold", "beta": 0.0, "kl": {"target": 1}}, ConfigError, "hint: beta=0.05"),
    ("align", {"method": "ppo", "reward": "gold", "critic.share_backbone": True}, ConfigError, "hint: add lora.r=16"),
    ("align", {"method": "ppo", "reward": "gold", "fp16": True}, ConfigError, "hint: bf16=true, or neither"),
    ("align", {"method": "kto", "hub_model_id": "a/b"}, ConfigError, "hint: push_to_hub=true"),
    ("align", {"method": "dpo", "advantage": "gae"}, ConfigError, "method dpo does not read advantage"),
    ("align", {"method": "dpo", "num_iterations": 2}, ConfigError, "it is read by methods of the trainer rl (grpo, "),
    ("align", {"method": "kto", "per_device_train_batch_size": 1}, ConfigError, "batch"),
    ("align", {"method": "iterative-dpo", "reward": "gold", "max_steps": 4}, ConfigError, "max_steps=3 or 6"),
    (
        "align",
        {"method": "constrained", "reward": "gold", "advantage.cost": "lenth"},
        ConfigError,
        "no reward is named lenth\nexists: gold",
    ),
    ("align", {"method": "ppo", "reward": "gold", "advantage.lambda": 0.9}, ConfigError, "did you mean lam?"),
    ("align", {"method": "ppo", "reward": "gold", "advantage.lam": 2}, ConfigError, "lam is between 0 and 1"),
    ("align", {"method": "ppo", "reward": "gold", "critic.init": "reward"}, ConfigError, "needs a reward model"),
    ("align", {"method": "ppo", "reward": "gold", "critic.init": "nothere"}, ModelError, "no such model"),
    (
        "align",
        {"method": "ppo", "reward": "gold", "critic.warmup_steps": 5, "max_steps": 5},
        ConfigError,
        "never learn",
    ),
    ("align", {"method": "grpo", "reward": "gold", "critic.clip": 0.1}, ConfigError, "advantage=group has no critic"),
    ("align", {"method": "online-dpo", "reward": "gold", "beta": 0}, ConfigError, "pairwise: beta is above 0"),
    ("align", {"method": "online-dpo", "reward": "gold", "kl.target": 6}, ConfigError, "kl.where=nowhere"),
    ("align", {"method": "ppo", "reward": "gold", "beta": -0.1}, ConfigError, "beta is not below 0"),
    ("sft", {"learning_rate": -1.0}, ConfigError, "learning_rate is not below 0"),
    ("reason", {"eval_strategy": "steps"}, ConfigError, "held-out rows are evaluated by rlllm"),
    ("train-rm", {"members": 4}, ConfigError, "method bt does not read members"),
    ("train-rm", {"kind": "process", "center_rewards_coefficient": 0.1}, ConfigError, "no effect on a process"),
    ("sft", {"method": "posixpath:join"}, ConfigError, "posixpath:join is not a method"),
    ("reason", {"rewards": "exakt"}, UnknownNameError, "did you mean exact?"),
    ("reason", {"mask": "randon"}, ConfigError, "unknown mask: randon\nhint: did you mean random?"),
    (
        "reason",
        {"advantage": "all"},
        ConfigError,
        "unknown advantage: all\nexists: best-of, dasd, e3rl, gae, group, information-gain,",
    ),
    ("reason", {"rollout.engine": "vlm"}, UnknownNameError, "unknown engine: vlm"),
    ("reason", {"min_p": 0.1}, ConfigError, "the engine native does not read min_p"),
    (
        "reason",
        {"use_vllm": True, "repetition_penalty": 1.2},
        ConfigError,
        "hint: rollout.engine=vllm in place of use_vllm=true",
    ),
    (
        "reason",
        {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": "http://gpu:8000"},
        ConfigError,
        "hint: rollout.engine=vllm-server rollout.servers=http://gpu:8000 in place of",
    ),
    ("reason", {"min_p": 0.1, "repetition_penalty": 1.2}, ConfigError, "hint: rollout.engine=hf, or leave it out"),
    ("reason", {"per_device_train_batch_size": 6}, ConfigError, "cannot be cut into groups of 8"),
    ("reason", {"data.name": "aritmetic"}, RlllmError, "arithmetic"),
    ("sft", {"data": "missing.jsonl"}, DataError, "missing.jsonl"),
    ("sft", {"model": "no-such-model"}, ModelError, "no such model"),
    ("reason", {"reward": {"name": "model", "path": "no-such-model"}}, ModelError, "no such model"),
]


@pytest.mark.parametrize(("verb", "settings", "kind", "words"), REFUSED)
def test_what_cannot_work_is_refused_while_planning(
    tiny_model: str, verb: str, settings: dict[str, Any], kind: type[RlllmError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        planned(verb, **{"model": tiny_model, **settings})
    assert words in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_data_without_rewards_of_its_own_asks_for_one(tiny_model: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a", "answer": "b"}\n' * 4)
    with pytest.raises(ConfigError, match="no reward: this data brings none of its own") as caught:
        planned("reason", tiny_model, data=str(path))
    assert "--reward NAME" in (caught.value.hint or "")


def test_a_slot_component_with_a_field_it_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="mask random does not take these fields"):
        component("mask", SlotSpec.model_validate({"name": "random", "fracton": 0.1}))


@pytest.mark.parametrize("verb", ["sft", "train-rm", "align", "reason"])
def test_a_plan_prints_its_lines_and_is_json(tiny_model: str, verb: str) -> None:
    made = planned(verb, tiny_model)
    labels = [label for label, _ in made.lines()]
    assert {"stage", "model", "data", "defaults"} <= set(labels)
    assert json.loads(json.dumps(made.to_json()))["rows_needed"] == made.rows_needed


def test_a_plan_warns_of_data_too_small_for_one_step(tiny_model: str) -> None:
    lines = planned("reason", tiny_model, per_device_train_batch_size=512).lines()
    assert ("warning", "one step takes 64 rows: this data is too small to train on") in lines


@pytest.mark.parametrize("verb", STAGES)
def test_every_verb_has_a_config_of_its_name_and_a_function(verb: str) -> None:
    assert config_class(verb).stage == verb
    assert callable(stage_function(verb))


def test_an_unknown_verb_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown stage: reson"):
        config_class("reson")


def test_a_method_is_looked_up_for_its_stage() -> None:
    assert resolve_method("dpo", "align").name == "dpo"


def test_planning_leaves_the_heavy_libraries_alone(tiny_model: str) -> None:
    code = (
        "import sys\n"
        "from rlllm.stages.catalog import plan, resolve_settings\n"
        "for verb in ('sft', 'train-rm', 'align', 'reason', 'eval'):\n"
        f"    plan(resolve_settings(verb, {{'data': 'arithmetic#20'}}, [('model', {tiny_model!r})]))\n"
        "print(sorted({'torch', 'transformers', 'trl', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_recipe_can_be_resolved_from_the_saved_settings_of_a_run(tiny_model: str) -> None:
    config = resolve_settings(
        "reason", {"data": SMALL, "model": tiny_model}, [("num_generations", 4), ("max_steps", 3)]
    )
    assert resolve_settings("reason", config.model_dump(mode="json")).digest() == config.digest()


@pytest.mark.parametrize("kind", ["bt", "ensemble"])
def test_margins_of_some_pairs_only_are_refused_while_planning(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"{n}?", "chosen": "a", "rejected": "b", **({"margin": 1} if n else {})} for n in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match="some preference pairs have a margin and some have none"):
        plan(resolve_settings("train-rm", {"method": kind, "data": {"name": str(path)}}))


SHAPED = [{"name": "format", "weight": 0.1}, "exact"]


@pytest.mark.parametrize(
    ("settings", "reward"),
    [
        ({"sampler": "dynamic"}, "exact"),
        ({"method": "dapo"}, "exact"),
        ({"method": "pass-band"}, "exact"),
        ({"method": "replay"}, "exact"),
        ({"sampler": {"name": "dynamic", "reward": "format"}}, "format"),
        ({"method": "dapo", "sampler.reward": "format"}, "format"),
        ({}, None),
    ],
)
def test_the_plan_names_the_reward_that_groups_are_judged_by(
    tiny_model: str, settings: dict[str, Any], reward: str | None
) -> None:
    made = planned("reason", tiny_model, rewards=SHAPED, **settings)
    assert (made.filter_reward, made.to_json().get("filter_reward")) == (reward, reward)
    lines = [text.split(" by ")[1].split()[0] for label, text in made.lines() if label == "filter"]
    assert lines == ([reward] if reward else [])


@pytest.mark.parametrize(
    ("sampler", "rewards", "message"),
    [
        ({"name": "dynamic", "reward": "exct"}, SHAPED, "exists: format, exact"),
        ({"name": "dynamic", "reward": "math"}, SHAPED, "exists: format, exact"),
        ("dynamic", [{"name": "exact", "weight": 0}], "and none trains here"),
    ],
)
def test_a_filter_that_is_no_reward_of_the_run_is_refused(
    tiny_model: str, sampler: Any, rewards: list[Any], message: str
) -> None:
    method = "intuitor" if sampler == "dynamic" else "grpo"
    with pytest.raises(ConfigError) as caught:
        planned("reason", tiny_model, sampler=sampler, rewards=rewards, method=method)
    assert message in f"{caught.value} exists: {', '.join(caught.value.exists)}"
