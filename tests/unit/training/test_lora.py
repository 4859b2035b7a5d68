"""Adapters are trained in place of all weights, and what is saved is a whole model again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

import rlllm
from rlllm.core.errors import ConfigError

DATA = {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 4}


@pytest.mark.parametrize("verb", ["sft", "train_rm", "align"])
def test_a_run_with_adapters_saves_a_merged_model_of_its_own(verb: str, tiny_model: str, tmp_path: Path) -> None:
    run = getattr(rlllm, verb)(
        model=tiny_model,
        data=DATA,
        lora={"r": 2},
        max_steps=2,
        learning_rate=1e-2,
        eval={"rows": 0},
        output_dir=tmp_path / "run",
    )
    assert run.ok
    with (
        safe_open(run.model / "model.safetensors", "pt") as saved,
        safe_open(f"{tiny_model}/model.safetensors", "pt") as old,
    ):
        assert not [name for name in saved.keys() if "lora" in name]  # noqa: SIM118 - no mapping
        moved = [name for name in old.keys() if not saved.get_tensor(name).equal(old.get_tensor(name))]  # noqa: SIM118
    assert moved


@pytest.mark.parametrize("adapters", [{}, {"lora": {"r": 2}}])
def test_a_run_in_mixed_precision_saves_what_it_trained(adapters: dict[str, Any], tmp_path: Path) -> None:
    """Trained under autocast, the model is compared with the saved one without it: with it, bf16 alone would fail the run."""
    settings = {
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "eval": {"rows": 0},
        "output_dir": tmp_path / "run",
        **adapters,
    }
    run = rlllm.sft(model="nano", data=DATA, bf16=True, **settings)
    assert run.ok, run.verdict["reasons"]
    assert (run.model / "model.safetensors").exists()


MISFITS = [
    (["no_such_projection"], "the adapters do not fit the model"),
    (["lm_head"], "the output layer takes no adapter"),
]


@pytest.mark.parametrize(("modules", "words"), MISFITS)
def test_adapters_that_do_not_fit_the_model_are_the_users_error(
    modules: list[str], words: str, tiny_model: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        rlllm.reason(
            model=tiny_model,
            data=DATA,
            lora={"r": 2, "target_modules": modules},
            max_steps=1,
            eval={"rows": 0},
            output_dir=tmp_path / "run",
        )
