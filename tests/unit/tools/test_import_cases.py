"""Published configs of kinds that imports read wrongly before: the cases of tests/cases/config.jsonl, and others like them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlllm.core.errors import ConfigError
from rlllm.data.prepare.settings import Preparation
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.tools.data.build import prepare
from rlllm.tools.import_config.recipe import Imported, import_config

CASES = Path(__file__).parents[2] / "cases"
INDEX: dict[str, Any] = {
    "identity": {"file_name": "identity.json"},
    "alpaca_en_demo": {"file_name": "alpaca.json"},
    "kto_en_demo": {
        "file_name": "kto.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "kto_tag": "label"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    },
    "c4_demo": {"file_name": "texts.jsonl", "columns": {"prompt": "text"}},
    "pictures": {
        "file_name": "m.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "pictures"},
    },
    "films": {"file_name": "f.json", "formatting": "sharegpt", "columns": {"messages": "messages", "videos": "videos"}},
}
ALPACA = [{"instruction": f"Say {word}", "input": "", "output": word} for word in ("yes", "no", "well", "now")]


def chat(answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "Are you there?"}, {"role": "assistant", "content": answer}]


FILES: dict[str, list[dict[str, Any]]] = {
    "identity.json": ALPACA[:2],
    "alpaca.json": ALPACA,
    "kto.json": [{"messages": chat("Yes." if good else "Why?"), "label": good} for good in (True, False) * 2],
    "texts.jsonl": [{"text": f"Once upon a time there were {count} bears."} for count in range(4)],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `data/dataset_info.json` and the files that it names."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "dataset_info.json").write_text(json.dumps(INDEX), encoding="utf-8")
    for name, rows in FILES.items():
        text = json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in rows)
        (data / name).write_text(text, encoding="utf-8")
    return tmp_path


def imported(config: dict[str, Any], folder: Path, tool: str, stage: str | None = None) -> Imported:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return import_config(path, tool, stage)


def reasons(made: Imported) -> dict[str, str]:
    return {setting.key: setting.reason for setting in made.unmapped}


def weights_in_order(made: Imported) -> bool:
    return made.recipe["rewards"] == [
        {"name": "model", "path": "org/rm", "weight": 0.1},
        {"name": "math", "weight": 0.9},
    ]


CHECKS: dict[str, Callable[[Imported], bool]] = {
    "config-reward-weights-order-01": weights_in_order,
    "config-reward-weights-partial-01": lambda made: (
        [(reward["name"], reward["weight"]) for reward in made.recipe["rewards"]] == [("math", 1.0), ("regex", 0.2)]
    ),
    "config-max-seq-length-01": lambda made: (
        made.recipe["trainer"]["max_length"] == 4096 and made.recipe["model"] == "Qwen/Qwen3-0.6B@step-1000"
    ),
    "config-dataset-mixture-01": lambda made: (
        made.recipe["data"]
        == {
            "name": "org/pairs",
            "subset": "default",
            "split": "train_prefs",
            "columns": {"chosen": "chosen", "rejected": "rejected"},
            "holdout": 1000,
        }
    ),
    "config-dft-01": lambda made: (
        made.recipe["trainer"]["loss_type"] == "dft"
        and made.recipe["trainer"]["gradient_checkpointing"] is False
        and made.recipe["data"]["system_prompt"]
    ),
    "config-bco-weight-01": lambda made: (
        made.recipe["trainer"]["loss_type"] == ["sigmoid", "bco_pair"]
        and made.recipe["trainer"]["loss_weights"] == [1.0, 0.2]
        and made.recipe["trainer"]["ld_alpha"] == 0.5
    ),
    "config-system-silent-01": lambda made: "column system" in reasons(made)["datasets.type"],
    "config-lf-pretrain-01": lambda made: made.recipe["data"]["columns"] == {"text": "text"},
    "config-lf-kto-01": lambda made: made.recipe["data"]["columns"] == {"messages": "messages", "label": "label"},
    "config-several-data-sets-01": lambda made: len(made.recipe["data"]["mix"]) == 2,
    "config-dpo-loss-type-01": lambda made: (
        made.recipe["trainer"]["loss_type"] == ["sigmoid", "sft"]
        and made.recipe["trainer"]["loss_weights"] == [1.0, 1.0]
    ),
    "config-trl-rewards-02": lambda made: [reward["name"] for reward in made.recipe["rewards"]] == ["regex"],
}
REFUSED_CASES = {"config-other-training-01": "trains otherwise"}
OTHER_REFERENCE = ("config-bco-weight-01",)
"""Refused as they stand, since another reference is another training; without it they are carried over."""
STAGES = {"config-dataset-mixture-01": "dpo", "config-trl-rewards-02": "grpo"}
ROWS = [json.loads(line) for line in (CASES / "config.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case["id"])
def test_published_configs_keep_their_meaning(case: dict[str, Any], folder: Path) -> None:
    config = yaml.safe_load((CASES / case["file"]).read_text(encoding="utf-8"))
    tool = case["command"].split("--from ")[1].split()[0]
    if case["id"] in OTHER_REFERENCE:
        with pytest.raises(ConfigError, match="another reference than the model at the start"):
            imported(config, folder, tool)
        config["ref_model"] = config["model_name_or_path"]
    if case["id"] in REFUSED_CASES:
        with pytest.raises(ConfigError, match=REFUSED_CASES[case["id"]]):
            imported(config, folder, tool)
        return
    assert CHECKS[case["id"]](imported(config, folder, tool, STAGES.get(case["id"])))


@pytest.mark.parametrize("name", ["config-lf-pretrain-01", "config-lf-kto-01", "config-several-data-sets-01"])
def test_recipes_read_the_data_that_the_config_names(
    name: str, folder: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load((CASES / "config" / f"{name}.yaml").read_text(encoding="utf-8"))
    made = imported({**config, "model_name_or_path": tiny_model, "max_steps": 1}, folder, "llamafactory")
    monkeypatch.chdir(folder)
    assert plan(resolve_settings(made.verb, made.recipe)).lines()


GRPO: dict[str, Any] = {"model_name_or_path": "a/b", "dataset_name": "c/d", "num_generations": 4}
REWARDS: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({"reward_weights": [2.0], "reward_funcs": ["accuracy_reward"]}, [{"name": "math", "weight": 2.0}]),
    (
        {"reward_funcs": ["accuracy", "tag_count", "my.own"], "reward_weights": [1.0, 0.5, 0.25]},
        [{"name": "math", "weight": 1.0}, {"name": "my:own", "weight": 0.25}],
    ),
    (
        {"reward_funcs": ["repetition_penalty"], "repetition_n_grams": 4, "repetition_max_penalty": -0.5},
        [{"name": "repetition", "size": 4, "weight": 0.5}],
    ),
    (
        {"reward_funcs": ["soft_overlong_punishment"], "max_completion_len": 200, "soft_punish_cache": 50},
        [{"name": "overlong", "limit": 200, "cache": 50}],
    ),
    ({"reward_funcs": ["get_soft_overlong_punishment"]}, [{"name": "overlong", "limit": 1280, "cache": 256}]),
    (
        {"reward_funcs": ["cosine"], "cosine_max_len": 2000, "cosine_max_value_wrong": -1.0},
        [
            {
                "name": "cosine",
                "limit": 2000,
                "unit": "characters",
                "reward": "math",
                "correct": [1.0, 0.5],
                "wrong": [0.0, -1.0],
                "exceeded": None,
            }
        ],
    ),
    ({"reward_funcs": ["code"], "reward_weights": [3]}, [{"name": "code", "partial": True, "weight": 3}]),
]


@pytest.mark.parametrize(("settings", "rewards"), REWARDS)
def test_reward_names_of_trl_and_open_r1_have_counterparts(
    settings: dict[str, Any], rewards: list[dict[str, Any]], tmp_path: Path
) -> None:
    made = imported({**GRPO, **settings}, tmp_path, "trl")
    assert made.recipe["rewards"] == rewards


def test_format_rewards_match_what_theirs_matches(tmp_path: Path) -> None:
    import re

    made = imported({**GRPO, "reward_funcs": ["think_format_reward", "format", "code_format"]}, tmp_path, "trl")
    thinks, sections, fenced = (reward["pattern"] for reward in made.recipe["rewards"])
    assert re.search(thinks, "<think>\na\n</think>\nb")
    assert not re.search(thinks, "<think>a<think>b</think>c")
    assert not re.search(thinks, "so <think>a</think>")
    assert re.fullmatch(sections, "<think>\na\n</think>\n<answer>\nb\n</answer>")
    assert not re.fullmatch(sections, "<think>\na\n</think>\n<answer>\nb\n</answer> c")
    assert re.fullmatch(fenced, "<think>\na\n</think>\n<answer>\n```python\nb\n```\n</answer>")
    assert not re.fullmatch(fenced, "<think>\na\n</think>\n<answer>\n```cpp\nb\n```\n</answer>")


def test_weights_that_fit_no_rewards_are_listed(tmp_path: Path) -> None:
    made = imported({**GRPO, "reward_funcs": ["accuracy_reward"], "reward_weights": [1, 2]}, tmp_path, "trl")
    assert made.recipe["rewards"] == [{"name": "math"}]
    assert "reward_weights" in reasons(made)


MIXTURES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "trl",
        {"datasets": [{"path": "a/b", "name": "x", "split": "train"}, {"path": "c/d", "fraction": 0.5}]},
        {
            "sources": [{"name": "a/b", "subset": "x", "split": "train"}, {"name": "c/d"}],
            "mixture": {"fractions": [1.0, 0.5]},
        },
    ),
    (
        "trl",
        {"dataset_mixer": {"a/b": 1.0, "c/d": 0.1}, "dataset_splits": ["train_sft", "test_sft"]},
        {
            "sources": [{"name": "a/b", "split": "train_sft"}, {"name": "c/d", "split": "train_sft"}],
            "mixture": {"fractions": [1.0, 0.1]},
        },
    ),
    (
        "trl",
        {"dataset_mixture": {"datasets": [{"id": "a/b", "weight": 0.001}], "seed": 3, "test_split_size": 5}},
        {"sources": [{"name": "a/b"}], "mixture": {"fractions": [0.001], "seed": 3}, "holdout": 5},
    ),
]


@pytest.mark.parametrize(("tool", "settings", "preparation"), MIXTURES)
def test_shares_of_data_sets_become_settings_of_data_build(
    tool: str, settings: dict[str, Any], preparation: dict[str, Any], tmp_path: Path
) -> None:
    made = imported({"model_name_or_path": "m/m", **settings}, tmp_path, tool, "sft")
    assert made.preparation == {**preparation, "kind": "Conversation", "out": "config-data"}
    assert made.recipe["data"] == {"name": "config-data"}


def test_whole_data_sets_are_mixed_in_place(tmp_path: Path) -> None:
    listed = [{"path": "a/b"}, {"path": "c/d", "split": "validation"}]
    made = imported({"model_name_or_path": "m/m", "datasets": listed, "test_split_size": 0.1}, tmp_path, "trl", "sft")
    mix = [{"name": "a/b"}, {"name": "c/d", "split": "validation"}]
    assert made.preparation is None
    assert made.recipe["data"] == {"mix": mix, "holdout": 0.1}


def test_rows_that_repeat_are_dropped_where_the_config_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_set = {"path": "data/alpaca.json", "type": "alpaca"}
    config = {"base_model": "a/b", "datasets": [data_set, data_set], "dataset_exact_deduplication": True}
    made = imported(config, folder, "axolotl")
    monkeypatch.chdir(folder)
    assert made.preparation is not None
    assert prepare(Preparation.checked(made.preparation)).manifest.train == 4


def test_only_the_last_turn_is_learned_where_history_is_masked(folder: Path) -> None:
    assert imported({**FACTORY, "mask_history": True}, folder, "llamafactory").recipe["turns"] == "last"
    assert "turns" not in imported(FACTORY, folder, "llamafactory").recipe


def test_probabilities_of_interleaved_data_sets_are_weights(folder: Path) -> None:
    config = {"stage": "sft", "model_name_or_path": "m/m", "dataset": "identity,alpaca_en_demo", "max_samples": 3}
    mixed = {"mix_strategy": "interleave_under", "interleave_probs": "0.2,0.8"}
    made = imported({**config, **mixed}, folder, "llamafactory")
    assert [(part["weight"], part["rows"]) for part in made.recipe["data"]["mix"]] == [(0.2, 3), (0.8, 3)]
    assert "mix_strategy" in reasons(made)


@pytest.mark.parametrize("parent", ["sft", "dpo", "orpo", "cpt"])
def test_the_folder_of_a_published_recipe_says_its_command(parent: str, tmp_path: Path) -> None:
    (tmp_path / parent).mkdir()
    config = {"model_name_or_path": "a/b", "dataset_name": "c/d", "learning_rate": 1e-6}
    assert imported(config, tmp_path / parent, "trl").recipe["method"] == {"cpt": "sft"}.get(parent, parent)


FACTORY: dict[str, Any] = {"stage": "sft", "model_name_or_path": "a/b", "dataset": "identity"}
AXOLOTL: dict[str, Any] = {"base_model": "a/b", "datasets": [{"path": "c/d", "type": "alpaca"}]}
OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("llamafactory", {**FACTORY, "use_asft_loss": True}, "ASFT"),
    ("llamafactory", {**FACTORY, "use_eaft_loss": True}, "EAFT"),
    ("llamafactory", {**FACTORY, "use_badam": True}, "badam"),
    ("llamafactory", {**FACTORY, "use_muon": True}, "muon"),
    ("llamafactory", {**FACTORY, "pissa_init": True}, "PiSSA"),
    ("llamafactory", {**FACTORY, "loraplus_lr_ratio": 16.0}, "two learning rates"),
    ("llamafactory", {**FACTORY, "use_dora": True}, "DoRA"),
    ("llamafactory", {**FACTORY, "mixture_of_depths": "convert"}, "mixture of depths"),
    ("llamafactory", {**FACTORY, "fp8": True}, "8 bits"),
    ("llamafactory", {**FACTORY, "dataset": "films"}, "a data set with videos"),
    ("llamafactory", {"model": "a/b", "train_dataset": "data/x.yaml"}, "LLaMA-Factory v1"),
    ("llamafactory", {"model_name_or_path": "a/b", "export_dir": "out"}, "merges or exports"),
    ("llamafactory", {"model_name_or_path": "a/b", "infer_backend": "vllm"}, "talking to a model"),
    ("llamafactory", {"compute_environment": "LOCAL_MACHINE", "distributed_type": "FSDP"}, "a launcher's file"),
    ("axolotl", {**AXOLOTL, "relora": True}, "ReLoRA"),
    ("axolotl", {**AXOLOTL, "lisa_n_layers": 4}, "LISA"),
    ("axolotl", {**AXOLOTL, "qat": {"weight_dtype": "int4"}}, "QAT"),
    ("axolotl", {**AXOLOTL, "gptq": True}, "GPTQ"),
    ("axolotl", {**AXOLOTL, "use_eaft": True}, "EAFT"),
    ("axolotl", {**AXOLOTL, "unfrozen_parameters": ["lm_head"]}, "some weights only"),
    ("axolotl", {**AXOLOTL, "plugins": ["axolotl.integrations.kd.KDPlugin"]}, "trains otherwise"),
    ("axolotl", {**AXOLOTL, "adapter": "lora", "lora_r": 8, "lora_alpha": 16, "peft_use_rslora": True}, "whole number"),
    ("axolotl", {**AXOLOTL, "rl": "gdpo"}, "unknown method"),
    ("axolotl", {"provider": "modal", "gpu": "h100"}, "no training"),
    (
        "axolotl",
        {**AXOLOTL, "datasets": [{"path": "c/d", "type": "chat_template", "roles_to_train": ["user"]}]},
        "other roles",
    ),
    ("trl", {"compute_environment": "LOCAL_MACHINE", "distributed_type": "MULTI_GPU"}, "a launcher's file"),
    ("trl", {**GRPO, "reward_funcs": ["ioi_code", "format"]}, "a server of its own"),
    ("trl", {**GRPO, "num_generations": 14, "per_device_train_batch_size": 16}, "cannot be cut into groups"),
    ("trl", {**GRPO, "reward_funcs": ["accuracy"], "pass_rate_min": 0.2}, "filtering"),
]


@pytest.mark.parametrize(("tool", "config", "message"), OTHERS)
def test_ways_of_training_that_rlllm_lacks_are_refused(
    tool: str, config: dict[str, Any], message: str, folder: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        imported(config, folder, tool)


def test_switches_that_are_off_refuse_nothing(folder: Path) -> None:
    off = {"use_badam": False, "pissa_init": False, "fp8": False, "use_dora": False}
    assert imported({**FACTORY, **off}, folder, "llamafactory").recipe["method"] == "sft"
    off = {
        "gptq": False,
        "relora": False,
        "use_onebitllms": False,
        "plugins": ["axolotl.integrations.liger.LigerPlugin"],
    }
    assert imported({**AXOLOTL, **off}, folder, "axolotl").recipe["method"] == "sft"


def test_rank_stabilised_adapters_are_rescaled_where_that_is_exact(tmp_path: Path) -> None:
    settings = {"adapter": "lora", "lora_r": 64, "lora_alpha": 16, "peft_use_rslora": True}
    assert imported({**AXOLOTL, **settings}, tmp_path, "axolotl").recipe["lora"]["alpha"] == 128


def test_defaults_of_axolotl_are_written_out(tmp_path: Path) -> None:
    made = imported({**AXOLOTL, "bf16": "auto", "cosine_min_lr_ratio": 0.1}, tmp_path, "axolotl")
    assert made.recipe["trainer"]["warmup_steps"] == 0.03
    assert made.recipe["trainer"]["lr_scheduler_type"] == "cosine_with_min_lr"
    assert made.recipe["trainer"]["lr_scheduler_kwargs"] == {"min_lr_rate": 0.1}
    assert "bf16" in reasons(made)


TYPES: list[tuple[str | None, str, dict[str, str]]] = [
    ("dpo", "chatml.intel", {"prompt": "question", "chosen": "chosen", "rejected": "rejected"}),
    ("dpo", "llama3.icr", {"prompt": "input", "chosen": "chosen", "rejected": "rejected"}),
    ("dpo", "chatml.argilla", {"prompt": "instruction", "chosen": "chosen_response", "rejected": "rejected_response"}),
    ("kto", "llama3.ultra", {"prompt": "prompt", "completion": "completion", "label": "label"}),
    ("kto", "chatml.intel", {"prompt": "question", "completion": "completion", "label": "label"}),
    (None, "completion", {"text": "text"}),
    (None, "alpaca", {"prompt": "instruction+input", "completion": "output"}),
]


@pytest.mark.parametrize(("method", "kind", "columns"), TYPES)
def test_types_of_axolotl_say_the_columns(
    method: str | None, kind: str, columns: dict[str, str], tmp_path: Path
) -> None:
    config = {"base_model": "a/b", "rl": method, "micro_batch_size": 2, "datasets": [{"path": "c/d", "type": kind}]}
    mapped = imported(config, tmp_path, "axolotl").recipe["data"]["columns"]
    assert {field: column for field, column in mapped.items() if field != "system"} == columns


def test_texts_for_pretraining_are_packed(tmp_path: Path) -> None:
    texts = [{"path": "c/d", "name": "en", "type": "pretrain", "text_column": "body"}]
    made = imported({"base_model": "a/b", "pretraining_dataset": texts, "max_steps": 9}, tmp_path, "axolotl")
    assert made.recipe["data"] == {"name": "c/d", "subset": "en", "columns": {"text": "body"}}
    assert made.recipe["trainer"]["packing"] is True


def test_what_other_tools_say_about_turns_is_carried_over_or_refused(tmp_path: Path) -> None:
    factory = {"model_name_or_path": "a/b", "stage": "sft", "dataset": "c/d"}
    masked = imported({**factory, "mask_history": True, "default_system": "Be brief."}, tmp_path, "llamafactory")
    assert masked.recipe["turns"] == "last"
    assert masked.recipe["data"]["system_prompt"] == "Be brief."
    assert "turns" not in imported({**factory, "mask_history": False}, tmp_path, "llamafactory").recipe
    data = {"path": "c/d", "type": "chat_template", "roles_to_train": ["assistant"]}
    for mark in ("training", "train", "weight"):
        made = imported({**AXOLOTL, "datasets": [{**data, "message_field_training": mark}]}, tmp_path, "axolotl")
        assert not any("training" in key or "roles" in key for key in reasons(made))
    for strange in ({"message_field_training": "learn"}, {"message_field_training_detail": "spans"}):
        with pytest.raises(ConfigError):
            imported({**AXOLOTL, "datasets": [{**data, **strange}]}, tmp_path, "axolotl")


def test_kto_has_two_rows_a_batch_at_equal_steps(folder: Path) -> None:
    config = {"stage": "kto", "model_name_or_path": "a/b", "dataset": "kto_en_demo", "per_device_train_batch_size": 1}
    made = imported({**config, "gradient_accumulation_steps": 8}, folder, "llamafactory")
    assert made.recipe["trainer"]["per_device_train_batch_size"] == 2
    assert made.recipe["trainer"]["gradient_accumulation_steps"] == 4
    with pytest.raises(ConfigError, match="no neighbour"):
        imported({**config, "gradient_accumulation_steps": 1}, folder, "llamafactory")


def test_data_with_images_is_carried_over_with_its_column_and_folder(folder: Path) -> None:
    made = imported(
        {**FACTORY, "dataset": "pictures", "media_dir": "photos", "image_max_pixels": 262144}, folder, "llamafactory"
    )
    data = made.recipe["data"]
    assert (data["columns"], data["image_folder"]) == ({"messages": "messages", "images": "pictures"}, "photos")
    assert "the model's own processor" in reasons(made)["image_max_pixels"]
    plain = imported({**AXOLOTL, "processor_type": "AutoProcessor"}, folder, "axolotl")
    assert reasons(plain)["processor_type"] == "the model's own processor is used"
