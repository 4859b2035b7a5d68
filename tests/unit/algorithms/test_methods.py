"""Methods: each one names settings TRL has, slots that exist, and a paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rlllm.algorithms.methods.base import Method
from rlllm.algorithms.preference.settings import LOSS_SETTINGS, loss_settings
from rlllm.algorithms.prompt_order import EpochPromptSampler
from rlllm.algorithms.registry import METHODS, SLOTS
from rlllm.algorithms.samplers.order import InOrder, Shuffle
from rlllm.algorithms.trl_args import trl_arguments
from rlllm.core import trl_fields
from rlllm.core.errors import ConfigError
from rlllm.core.hardware import Hardware
from rlllm.stages.catalog import STAGES, config_class
from rlllm.training.registry import trainer_of

CPU = Hardware("cpu", bf16=False, threads=1)
NAMES = sorted(METHODS.builtins)


def method(name: str) -> Method:
    loaded = METHODS.load(name)
    assert isinstance(loaded, Method)
    return loaded


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_known_by_its_own_name_to_a_stage_that_exists(name: str) -> None:
    assert method(name).name == name
    assert set(method(name).stages) <= STAGES.keys()
    assert method(name).summary


@pytest.mark.parametrize("name", NAMES)
def test_a_method_cites_its_paper(name: str) -> None:
    assert re.search(r"(19|20)\d\d, arXiv \d{4}\.\d{5}", method(name).paper)


@pytest.mark.parametrize("name", NAMES)
def test_a_methods_settings_are_trls_and_are_accepted_by_it(name: str, tmp_path: Path) -> None:
    config = trainer_of(method(name)).trl_config
    assert config_class(method(name).stages[0], name).trl_configs == (config,)
    for key, value in method(name).settings.items():
        trl_fields.check((config,), key, value)
    args = trl_arguments(config, method(name).settings, checkpoints=tmp_path, seed=0, hardware=CPU)
    loss = LOSS_SETTINGS.get(config)
    read = {**vars(args), **(vars(loss_settings(loss, method(name).settings)) if loss else {})}
    assert {key: read[key] for key in method(name).settings} == dict(method(name).settings)


@pytest.mark.parametrize("name", NAMES)
def test_a_methods_slots_exist(name: str) -> None:
    assert [slot for slot, part in method(name).components.items() if f"{slot}.{part}" not in SLOTS] == []


def test_defaults_of_ours_lie_under_the_users_settings_and_managed_ones_over(tmp_path: Path) -> None:
    settings = {"logging_steps": 7, "report_to": "none"}
    args = trl_arguments("SFTConfig", settings, checkpoints=tmp_path, seed=5, hardware=CPU)
    assert (args.logging_steps, args.seed, args.output_dir) == (7, 5, str(tmp_path))
    assert (args.bf16, args.use_cpu, args.gradient_checkpointing) == (False, True, False)


def test_a_combination_trl_refuses_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TRL refuses these settings"):
        trl_arguments("SFTConfig", {"eval_strategy": "sometimes"}, checkpoints=tmp_path, seed=0, hardware=CPU)


LAYOUT = {"mini_repeat_count": 2, "batch_size": 2, "repeat_count": 2}


def test_the_sampler_repeats_each_prompt_in_group_blocks_and_drops_the_last_half_batch() -> None:
    sampler = EpochPromptSampler(InOrder(), 5, 0, LAYOUT)
    assert list(sampler) == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]
    assert len(sampler) == len(list(sampler))


def test_the_order_of_an_epoch_depends_on_the_epoch_alone() -> None:
    straight, resumed = EpochPromptSampler(Shuffle(), 20, 3, LAYOUT), EpochPromptSampler(Shuffle(), 20, 3, LAYOUT)
    orders = []
    for epoch in range(3):
        straight.set_epoch(epoch)
        orders.append(list(straight))
    resumed.set_epoch(2)
    assert list(resumed) == orders[2]
    assert len({tuple(order) for order in orders}) == 3
