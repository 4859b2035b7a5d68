"""What a run writes down of its settings: the recipe as given, TRL's settings and the hardware as used; and its repetition."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import rlllm
from rlllm.core.errors import ConfigError
from rlllm.core.recipes import find_recipe, read_recipe
from rlllm.core.runs import Run
from rlllm.report.used_settings import differing, not_recorded, used_settings

RECIPE = """# A recipe with a comment.
model: MODEL
data: {name: arithmetic, rows: 8, holdout: 4}  # few rows
eval: {rows: 0}
trainer: {max_steps: 2, learning_rate: 1.0e-3, per_device_train_batch_size: 4, hub_token: hf_secret}
"""


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(tiny_model: str, tmp_path: Path) -> Run:
    recipe = tmp_path / "few.yaml"
    recipe.write_text(RECIPE.replace("MODEL", tiny_model))
    return rlllm.sft(str(recipe), output_dir=tmp_path / "run", seed=3, hardware={"threads": 2, "matmul": "torch"})


def test_the_settings_that_trained_are_written(run: Run) -> None:
    used = run.config["trl"]
    expected = {
        "max_steps": 2,
        "learning_rate": 1e-3,
        "seed": 3,
        "weight_decay": 0.0,
        "adam_beta2": 0.999,
        "bf16": False,
    }
    assert {name: used[name] for name in expected} == expected
    assert used["output_dir"] == str(run.checkpoints)
    hardware = run.config["hardware"]
    assert (hardware["threads"], hardware["threads_from"], hardware["matmul"]) == (2, "setting", "torch")


def test_the_recipe_is_kept_with_its_comments_and_without_its_secret(run: Run, tiny_model: str) -> None:
    kept = (run.path / "recipe.yaml").read_text()
    assert kept == RECIPE.replace("MODEL", tiny_model).replace("hf_secret", "<redacted>")
    assert files_with(run.path, "hf_secret") == []


def files_with(folder: Path, secret: str) -> list[str]:
    """Files of a folder, checkpoints included, in which the secret stands."""
    written = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in written if secret.encode() in path.read_bytes()]


SPELLED = [
    "hub_token: hf_s3cret",
    "hub_token: >-\n    hf_s3cret",
    "hub_token: &token hf_s3cret",
    "hub_token: !!str hf_s3cret",
]


@pytest.mark.parametrize("spelled", SPELLED)
def test_a_token_is_in_no_file_of_a_run_however_it_is_spelled(tiny_model: str, tmp_path: Path, spelled: str) -> None:
    recipe = tmp_path / "few.yaml"
    recipe.write_text(f"model: {tiny_model}\ndata: {{name: arithmetic, rows: 16, holdout: 0}}\ntrainer:\n  {spelled}\n")
    run = rlllm.sft(str(recipe), output_dir=tmp_path / "run", max_steps=1, save_steps=1, defaults="trl")
    assert list(run.path.rglob("training_args.bin"))
    assert files_with(run.path, "hf_s3cret") == []


KINDS = {
    "align": ("dpo", "orpo", "kto", "spin"),
    "train_rm": ("bt", "process", "ensemble"),
    "reason": ("grpo",),
}


@pytest.mark.parametrize(("verb", "method"), [(verb, method) for verb, methods in KINDS.items() for method in methods])
def test_a_token_is_in_no_file_of_any_kind_of_run(tiny_model: str, tmp_path: Path, verb: str, method: str) -> None:
    sampled: dict[str, Any] = {"rollout": {"max_new_tokens": 4}} if method in ("grpo", "spin") else {}
    sampled |= {"rewards": [{"name": "length", "budget": 4}]} if method == "grpo" else {}
    run = getattr(rlllm, verb)(
        model=tiny_model,
        data={"name": "arithmetic", "rows": 16, "holdout": 0},
        method=method,
        max_steps=3,
        save_steps=1,
        defaults="trl",
        hub_token="hf_s3cret",
        output_dir=tmp_path / "run",
        **sampled,
    )
    assert list(run.path.rglob("training_args.bin"))
    assert files_with(run.path, "hf_s3cret") == []


def test_a_token_is_not_in_the_status_of_a_run_that_could_not_be_built(tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        rlllm.sft(
            model=tiny_model,
            data={"name": "arithmetic", "rows": 16, "holdout": 0},
            hub_token="hf_s3cret",
            eos_token="<none>",
            output_dir=tmp_path / "run",
        )
    assert "hf_s3cret" not in str(error.value)
    assert files_with(tmp_path / "run", "hf_s3cret") == []


def test_a_run_from_a_runs_config_takes_over_settings_and_hardware(run: Run, tmp_path: Path) -> None:
    again = rlllm.sft(str(run.path / "config.json"), output_dir=tmp_path / "again")
    first, second = used_settings(run), used_settings(again)
    assert differing([first, second]) == {}
    assert not_recorded([first, second]) == []
    assert (again.model / "model.safetensors").read_bytes() == (run.model / "model.safetensors").read_bytes()


def test_what_differs_is_grouped(run: Run, tmp_path: Path) -> None:
    other = rlllm.sft(
        str(run.path / "config.json"), output_dir=tmp_path / "other", learning_rate=2e-3, hardware={"threads": 1}
    )
    found = differing([used_settings(run), used_settings(other)])
    assert found["TRL"] == {"learning_rate": ["0.001", "0.002"]}
    assert found["hardware"] == {"threads": ["2", "1"]}
    assert set(found) == {"settings", "TRL", "hardware"}


def test_a_group_that_one_run_has_not_recorded_is_named(run: Run, tmp_path: Path) -> None:
    old = Run(tmp_path / "old")
    old.path.mkdir()
    config: dict[str, Any] = {key: value for key, value in run.config.items() if key != "trl"}
    (old.path / "config.json").write_text(json.dumps(config))
    (old.path / "env.json").write_bytes((run.path / "env.json").read_bytes())
    both = [used_settings(run), used_settings(old)]
    assert differing(both) == {}
    assert not_recorded(both) == ["TRL", "data and model"]


def test_a_config_of_another_verb_or_of_no_run_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the settings of a run of sft, not of reason"):
        find_recipe(str(run.path / "config.json"), "reason")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ConfigError, match=r"not the config\.json of a run"):
        read_recipe(tmp_path / "config.json")
