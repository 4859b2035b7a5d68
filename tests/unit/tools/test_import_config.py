"""Configs of other tools become recipes that resolve; what has no counterpart is listed with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core import trl_fields
from rlllm.core.errors import ConfigError, RlllmError, UnknownNameError
from rlllm.core.recipes import find_recipe, read_recipe
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.tools.import_config.recipe import Imported, import_config

CONFIGS = Path(__file__).parents[2] / "fixtures" / "configs"
FILES = sorted(path.relative_to(CONFIGS) for path in CONFIGS.glob("*/*.y*ml"))
WHAT: dict[str, tuple[str, str]] = {
    "trl/sft.yaml": ("sft", "sft"),
    "trl/dpo_lora.yaml": ("align", "dpo"),
    "trl/kto.yaml": ("align", "kto"),
    "trl/reward.yaml": ("train-rm", "bt"),
    "trl/grpo.yaml": ("reason", "grpo"),
    "llamafactory/llama3_lora_sft.yaml": ("sft", "sft"),
    "llamafactory/llama3_lora_dpo.yaml": ("align", "dpo"),
    "llamafactory/simpo_full.yaml": ("align", "simpo"),
    "llamafactory/kto.yaml": ("align", "kto"),
    "llamafactory/reward.yaml": ("train-rm", "bt"),
    "llamafactory/ppo.yaml": ("align", "ppo"),
    "axolotl/lora.yml": ("sft", "sft"),
    "axolotl/dpo.yml": ("align", "dpo"),
    "axolotl/orpo.yml": ("align", "orpo"),
    "axolotl/reward.yml": ("train-rm", "bt"),
    "axolotl/grpo.yml": ("reason", "grpo"),
    "verl/ppo.yaml": ("align", "ppo"),
}
"""Fixture to verb and method."""
SWITCHES = {"use_peft", "do_train", "reward_model", "lora_target_linear"}
"""Settings that decide what is read, and have no value of their own."""


def imported(name: str, monkeypatch: pytest.MonkeyPatch) -> Imported:
    monkeypatch.chdir(CONFIGS)
    return import_config(Path(name), name.partition("/")[0])


def made_of(config: dict[str, Any], tool: str, folder: Path, stage: str | None = None) -> Imported:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return import_config(path, tool, stage)


def leaves(value: Any) -> Iterator[Any]:
    """Every value in a recipe that is no mapping and no list."""
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]:
        yield from leaves(item) if isinstance(item, dict | list) else [item]


def test_every_fixture_is_listed_here() -> None:
    assert {str(path) for path in FILES} == set(WHAT)


@pytest.mark.parametrize("name", WHAT)
def test_a_config_becomes_a_recipe_that_resolves(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = imported(name, monkeypatch)
    assert (made.verb, made.recipe["method"]) == WHAT[name]
    file = tmp_path / "recipe.yaml"
    file.write_text(made.text(), encoding="utf-8")
    assert find_recipe(str(file)).stage == made.verb
    assert read_recipe(file) == made.recipe
    resolve_settings(made.verb, made.recipe)
    assert all(one.reason for one in made.unmapped)


@pytest.mark.parametrize("name", WHAT)
def test_every_setting_is_carried_over_or_listed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = imported(name, monkeypatch)
    config = yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))
    listed = {part for one in made.unmapped for part in (one.key, one.key.partition(".")[0])}
    carried = list(leaves(made.recipe))
    numbers = {key: value for key, value in config.items() if isinstance(value, int | float) and value}
    assert not [key for key, value in numbers.items() if key not in {*listed, *SWITCHES} and value not in carried]


def test_llamafactorys_preference_settings_are_trls(monkeypatch: pytest.MonkeyPatch) -> None:
    made = imported("llamafactory/llama3_lora_dpo.yaml", monkeypatch)
    assert made.recipe == {
        "model": "meta-llama/Meta-Llama-3-8B-Instruct",
        "data": {
            "name": "org/dpo-pairs",
            "split": "train_prefs",
            "columns": {"prompt": "conversations", "chosen": "chosen.value", "rejected": "rejected.value"},
        },
        "method": "dpo",
        "defaults": "trl",
        "lora": {"r": 16, "alpha": 16, "dropout": 0.0, "target_modules": ["q_proj", "v_proj"]},
        "trainer": {
            "beta": 0.2,
            "loss_type": ["sigmoid", "sft"],
            "loss_weights": [1.0, 0.5],
            "learning_rate": 5e-6,
            "num_train_epochs": 2.0,
            "max_length": 1024,
            "per_device_train_batch_size": 8,
        },
        "output_dir": "saves/llama3-8b/lora/dpo",
    }
    assert {one.key for one in made.unmapped} == {"template", "quantization_bit"}


def test_axolotls_grpo_section_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    made = imported("axolotl/grpo.yml", monkeypatch)
    expected = {"group_size": 4, "max_new_tokens": 512, "temperature": 0.8, "engine": "auto"}  # use_vllm
    assert made.recipe["rollout"] == expected
    assert made.recipe["data"] == {"name": "openai/gsm8k", "subset": "main", "split": "train"}
    assert made.recipe["trainer"]["per_device_train_batch_size"] == 4
    assert made.recipe["trainer"]["beta"] == 0.001
    assert made.recipe["rewards"] == [{"name": "rewards:accuracy", "weight": 1.0}]


def test_trls_rewards_become_rewards_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = imported("trl/grpo.yaml", monkeypatch)
    assert made.recipe["rewards"] == [{"name": "math"}, {"name": "my_lib.rewards:short"}]
    assert made.recipe["data"]["columns"] == {"answer": "solution"}
    assert made.recipe["trainer"]["scale_rewards"] == "none"


TRL_CLASSES = {
    "sft": "trl:SFTConfig",
    "reward": "trl:RewardConfig",
    "dpo": "trl:DPOConfig",
    "kto": "trl:KTOConfig",
    "cpo": "trl.experimental.cpo:CPOConfig",
    "orpo": "trl.experimental.orpo:ORPOConfig",
    "tpo": "trl.experimental.tpo:TPOConfig",
    "grpo": "trl:GRPOConfig",
    "rloo": "trl:RLOOConfig",
}
"""TRL's commands to the dataclass whose defaults their configs rely on."""
OF_RLLLM = {"output_dir", "seed", "reward_weights", "pad_to_multiple_of"}
"""Fields that rlllm sets, and the padding, which only Neuron devices have."""
PAIRS = {"prompt": "2 + 2 = ?", "chosen": "4", "rejected": "5", "reference": "4"}
ROWS = {
    "sft": {"prompt": "2 + 2 = ?", "completion": "4"},
    "kto": {"prompt": "2 + 2 = ?", "completion": "4", "label": True},
    "grpo": {"prompt": "2 + 2 = ?", "solution": "4"},
    "rloo": {"prompt": "2 + 2 = ?", "solution": "4"},
}
GIVEN: list[tuple[str, dict[str, Any]]] = [
    *((command, {}) for command in TRL_CLASSES),
    ("sft", {"learning_rate": 3e-5, "packing": True}),
    ("dpo", {"loss_type": ["ipo"], "beta": 0.5}),
    ("grpo", {"beta": 0.04}),
    ("grpo", {"beta": 0.04, "use_bias_correction_kl": False, "loss_type": "dr_grpo", "num_generations": 4}),
    ("grpo", {"epsilon": 0.1, "temperature": 0.7}),
    ("grpo", {"use_adaptive_entropy": True}),
    ("grpo", {"loss_type": "cispo", "epsilon_high": 5.0}),
    ("rloo", {"beta": 0.0, "epsilon": 0.1}),
    ("rloo", {"num_generations": 4, "epsilon_high": 0.3, "steps_per_generation": 4}),
]


@pytest.mark.parametrize(("command", "given"), GIVEN)
def test_a_trl_config_trains_with_its_own_values_and_trls_defaults(
    command: str, given: dict[str, Any], tmp_path: Path, tiny_model: str
) -> None:
    rows = tmp_path / "rows.jsonl"
    row = ROWS.get(command, PAIRS)
    both = [row, {**row, "completion": "5", "label": False}] if "label" in row else [row]
    rows.write_text("".join(json.dumps(row) + "\n" for row in both * 8), encoding="utf-8")
    config = {"model_name_or_path": tiny_model, "dataset_name": str(rows), "max_steps": 2, **given}
    made = made_of(
        {**config, **({"reward_funcs": ["accuracy_reward"]} if command in ("grpo", "rloo") else {})},
        "trl",
        tmp_path,
        command,
    )
    planned = plan(resolve_settings(made.verb, made.recipe))
    expected = {name: field["default"] for name, field in trl_fields.table(TRL_CLASSES[command]).items()}
    settings = {name: value for name, value in {**expected, "max_steps": 2, **given}.items() if name not in OF_RLLLM}
    known = trl_fields.table(planned.trainer.trl_config)
    different = {
        name: (planned.setting(name), value)
        for name, value in settings.items()
        if name in known and planned.setting(name) != value
    }
    assert different == {}
    assert {one.key for one in made.unmapped} == ({"completion_only_loss"} if command == "sft" else set())


def test_rloos_settings_that_rlllm_lacks_are_listed(tmp_path: Path) -> None:
    config = {"model_name_or_path": "a/b", "normalize_advantages": True, "reward_clip_range": [-1.0, 1.0]}
    made = made_of(config, "trl", tmp_path, "rloo")
    assert [one.key for one in made.unmapped] == ["normalize_advantages", "reward_clip_range"]
    assert made.recipe["rollout"] == {"group_size": 2}


def test_the_head_of_a_recipe_says_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    text = imported("trl/sft.yaml", monkeypatch).text("mine.yaml")
    assert text.startswith("# Imported from TRL: sft.yaml\n#\n#   rlllm sft mine.yaml\n#\n# Not carried over:\n")
    assert "#   load_in_4bit=True: the recipe loads the weights whole; model.quantisation=4bit quantises" in text


SFT: dict[str, Any] = {"model_name_or_path": "a/b", "packing": True, "dataset_name": "c/d"}
FACTORY: dict[str, Any] = {"model_name_or_path": "a/b", "stage": "sft", "dataset": "x"}
AXOLOTL: dict[str, Any] = {"base_model": "a/b", "datasets": [{"path": "c/d", "type": "alpaca"}], "learning_rate": 1e-4}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("trl", {"model_name_or_path": "a/b", "learning_rate": 1e-4}, "does not say which command it is for"),
    ("trl", {**SFT, "dataset_mixture": {"datasets": []}}, "names no data set"),
    ("trl", {**SFT, "datasets": [{"split": "train"}]}, "has no path"),
    ("trl", {**SFT, "datasets": "a"}, "is not a mapping"),
    ("trl", {**SFT, "seed": "many"}, "seed"),
    ("llamafactory", {**FACTORY, "stage": "pretrain"}, "unknown stage of LLaMA-Factory"),
    ("llamafactory", {**FACTORY, "stage": "dpo", "pref_loss": "kto_pair"}, "no longer has"),
    ("llamafactory", {**FACTORY, "finetuning_type": "freeze"}, "a way of training that rlllm does not have"),
    ("llamafactory", {**FACTORY, "dataset": "x,y", "interleave_probs": "1.0"}, "1 interleave_probs for 2"),
    ("llamafactory", {"stage": "sft"}, "names no data set"),
    ("llamafactory", {**FACTORY, "lora_rank": -1}, "greater than or equal to 1"),
    ("axolotl", {**AXOLOTL, "rl": "ebft"}, "unknown method of Axolotl"),
    ("axolotl", {**AXOLOTL, "adapter": "oft"}, "an adapter that rlllm does not have"),
    ("axolotl", {**AXOLOTL, "datasets": []}, "names no data set"),
    ("axolotl", {**AXOLOTL, "datasets": [{"path": "x", "data_files": ["a", "b"]}]}, "one file"),
    ("axolotl", {**AXOLOTL, "trl": 3}, "is not a mapping"),
]


@pytest.mark.parametrize(("tool", "config", "message"), REFUSED)
def test_what_has_no_recipe_is_an_error(tool: str, config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        made_of(config, tool, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a mapping of settings"),
        ("- a\n", "a mapping of settings"),
        ("a: [", "not valid YAML"),
        ("1: 2", "mapping"),
    ],
)
def test_a_file_that_is_no_config_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        import_config(path, "trl")
    with pytest.raises(ConfigError, match="cannot read the config"):
        import_config(tmp_path / "none.yaml", "trl")
    with pytest.raises(UnknownNameError, match="did you mean axolotl"):
        import_config(path, "axolot")


def test_a_stage_decides_where_a_file_does_not_say(tmp_path: Path) -> None:
    config = {"model_name_or_path": "a/b", "dataset_name": "c/d", "learning_rate": 1e-6}
    assert made_of(config, "trl", tmp_path, "orpo").recipe["method"] == "orpo"
    with pytest.raises(ConfigError, match="no command nonsense"):
        made_of(config, "trl", tmp_path, "nonsense")


EXPERIMENTAL: list[tuple[str, dict[str, Any], set[str]]] = [
    ("cpo", {"loss_type": "simpo", "simpo_gamma": 0.7, "cpo_alpha": 0.0, "alpha": 0.1, "beta": 2.0}, set()),
    ("cpo", {"max_completion_length": 64, "generate_during_eval": True, "cpo_alpha": 0.5}, {"cpo_alpha"}),
    ("orpo", {"beta": 0.2, "max_completion_length": 64, "padding_value": 0, "generate_during_eval": False}, {"beta"}),
    ("tpo", {"loss_type": "tpo-l", "tpo_alpha": 0.5, "tpo_l_gamma": 0.7, "truncation_mode": "keep_end"}, set()),
]
"""Method, fields of its config in TRL's experimental part, and those carried over; none named means all."""


@pytest.mark.parametrize(("method", "fields", "carried"), EXPERIMENTAL)
def test_configs_of_trls_experimental_trainers_are_taken_over(
    tmp_path: Path, method: str, fields: dict[str, Any], carried: set[str]
) -> None:
    made = made_of({"model_name_or_path": "a/b", "dataset_name": "c/d", **fields}, "trl", tmp_path, method)
    assert made.recipe["method"] == method
    assert made.recipe["trainer"] == {name: value for name, value in fields.items() if not carried or name in carried}
    assert not any("neither" in setting.reason for setting in made.unmapped)


def test_a_setting_that_a_method_does_not_take_is_listed(tmp_path: Path) -> None:
    made = made_of({**SFT, "beta": 0.1, "learning_rate": "fast", "colour": "red"}, "trl", tmp_path)
    reasons = {one.key: one.reason for one in made.unmapped}
    assert reasons["beta"] == "neither rlllm nor TRL's SFTConfig has such a setting"
    assert reasons["learning_rate"].startswith("learning_rate takes float")
    assert "colour" in reasons


@pytest.mark.parametrize(("stage", "carried"), [("sft", True), ("dpo", False), ("kto", False)])
def test_batches_without_padding_are_carried_where_trl_has_them(tmp_path: Path, stage: str, carried: bool) -> None:
    made = made_of({"model_name_or_path": "a/b", "dataset_name": "c/d", "padding_free": True}, "trl", tmp_path, stage)
    assert made.recipe.get("trainer", {}).get("padding_free", False) is carried
    assert ("padding_free" in {one.key for one in made.unmapped}) is not carried


def test_json_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "sft.json"
    path.write_text('{"model_name_or_path": "a/b", "dataset_name": "c/d", "packing": true}')
    assert import_config(path, "trl").recipe["data"] == {"name": "c/d"}


SETTINGS = st.dictionaries(
    st.sampled_from([*SFT, *FACTORY, *AXOLOTL, "rl", "adapter", "lora_r", "lora_rank", "trl", "seed", "loss_type"])
    | st.text(max_size=4),
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
        max_leaves=4,
    ),
    max_size=5,
)


@given(SETTINGS, st.sampled_from(["trl", "llamafactory", "axolotl"]))
def test_no_config_leads_to_anything_but_a_recipe_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, config: dict[str, Any], tool: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    base: dict[str, Any] = {"trl": SFT, "llamafactory": FACTORY, "axolotl": AXOLOTL}[tool]
    try:
        made = made_of({**base, **config}, tool, folder)
    except RlllmError:
        return
    read = yaml.safe_load(made.text())
    assert set(read) == set(made.recipe)


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({"warmup_steps": 20, "warmup_ratio": 0.1}, 20),
        ({"warmup_ratio": 0.1, "warmup_steps": 20}, 20),
        ({"warmup_ratio": 0.1, "warmup_steps": 0}, 0.1),
        ({"warmup_steps": 0, "warmup_ratio": 0.1}, 0.1),
        ({"warmup_steps": 20, "warmup_ratio": 0.0}, 20),
    ],
)
def test_steps_of_warmup_win_over_their_share_as_in_transformers(
    given: dict[str, Any], steps: float, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**SFT, **given}, sort_keys=False), encoding="utf-8")
    assert import_config(path, "trl").recipe["trainer"]["warmup_steps"] == steps


def test_quoted_numbers_are_numbers(tmp_path: Path) -> None:
    made = made_of({**FACTORY, "learning_rate": "2e-4", "lora_rank": "16"}, "llamafactory", tmp_path)
    assert made.recipe["trainer"]["learning_rate"] == 2e-4
    assert (made.recipe["lora"]["r"], made.recipe["lora"]["alpha"]) == (16, 32)


def test_a_date_that_is_none_is_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("packing: true\nrun_name: 2024-13-45\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        import_config(path, "trl")
