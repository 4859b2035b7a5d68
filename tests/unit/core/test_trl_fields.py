"""TRL's field table: names and kinds of value are checked before TRL is imported."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core import trl_fields
from rlllm.core.errors import ConfigError, UnknownNameError

CONFIGS = ["SFTConfig", "RewardConfig", "DPOConfig", "GRPOConfig"]

ACCEPTED: list[tuple[str, str, Any]] = [
    ("GRPOConfig", "learning_rate", 1e-4),
    ("GRPOConfig", "learning_rate", 1),
    ("GRPOConfig", "max_steps", 60),
    ("GRPOConfig", "bf16", True),
    ("GRPOConfig", "bf16", None),
    ("GRPOConfig", "loss_type", "dapo"),
    ("GRPOConfig", "generation_kwargs", {"min_p": 0.1}),
    ("GRPOConfig", "generation_batch_size", None),
    ("GRPOConfig", "save_steps", 0.5),
    ("DPOConfig", "loss_type", ["sigmoid", "ipo"]),
    ("SFTConfig", "loss_type", "nll"),
    ("SFTConfig", "packing", False),
    ("RewardConfig", "center_rewards_coefficient", 0.01),
    ("SFTConfig", "lr_scheduler_type", "cosine"),
]


@pytest.mark.parametrize(("config", "name", "value"), ACCEPTED)
def test_a_value_of_the_right_kind_passes(config: str, name: str, value: Any) -> None:
    trl_fields.check((config,), name, value)


def test_an_unquoted_no_means_the_word() -> None:
    assert trl_fields.check(("GRPOConfig",), "save_strategy", False) == "no"
    assert trl_fields.check(("GRPOConfig",), "bf16", False) is False


REFUSED: list[tuple[str, str, Any, str]] = [
    ("GRPOConfig", "learning_rate", "1e-4", "learning_rate takes float"),
    ("GRPOConfig", "learning_rate", None, "learning_rate takes float"),
    ("GRPOConfig", "learning_rate", True, "given: learning_rate=True (bool)"),
    ("GRPOConfig", "max_steps", 1.5, "max_steps takes int"),
    ("GRPOConfig", "max_steps", True, "max_steps takes int"),
    ("GRPOConfig", "bf16", 1, "bf16 takes"),
    ("GRPOConfig", "loss_type", ["dapo"], "loss_type takes str"),
    ("GRPOConfig", "generation_kwargs", [1], "generation_kwargs takes"),
    ("DPOConfig", "loss_type", 3, "hint: the default is ['sigmoid']"),
    ("GRPOConfig", "learning_rat", 1e-4, "did you mean learning_rate?"),
    ("DPOConfig", "num_generations", 8, "unknown DPOConfig field: num_generations"),
    ("GRPOConfig", "seed", 1, "set seed (or --seed)"),
    ("SFTConfig", "output_dir", "x", "set output_dir (or --output-dir)"),
    ("GRPOConfig", "reward_weights", [0.5], "give each reward its weight"),
]


@pytest.mark.parametrize(("config", "name", "value", "words"), REFUSED)
def test_anything_else_is_refused_with_what_would_do(config: str, name: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        trl_fields.check((config,), name, value)
    assert words in str(caught.value)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_default_is_of_a_kind_its_field_takes(config: str) -> None:
    fields = trl_fields.table(config)
    checked = [name for name in fields if name not in trl_fields.MANAGED and fields[name]["default"] is not None]
    assert len(checked) > 60
    for name in checked:
        trl_fields.check((config,), name, fields[name]["default"])


@given(st.text(max_size=20))
def test_an_unknown_name_is_never_taken_for_a_field(name: str) -> None:
    if name in trl_fields.table("GRPOConfig") or name in trl_fields.MANAGED:
        return
    with pytest.raises(UnknownNameError):
        trl_fields.check(("GRPOConfig",), name, 1)


@pytest.mark.parametrize("name", trl_fields.MANAGED)
def test_every_managed_field_is_one_of_trl(name: str) -> None:
    assert any(name in trl_fields.table(config) for config in CONFIGS)


def test_the_table_is_read_without_trl() -> None:
    code = (
        "import sys; from rlllm.core.trl_fields import check; check(('GRPOConfig',), 'max_steps', 1)\n"
        "print(sorted({'trl', 'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
