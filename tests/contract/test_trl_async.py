"""What docs/guides/mismatch.md says of TRL's asynchronous trainer, and why rlllm does not wrap it; a change reopens that."""

from __future__ import annotations

import inspect

from trl import GRPOTrainer
from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer
from trl.experimental.async_grpo import async_grpo_trainer as source


def test_it_has_none_of_the_hooks_that_the_slots_stand_on() -> None:
    assert not issubclass(AsyncGRPOTrainer, GRPOTrainer)
    hooks = ("_generate_and_score_completions", "_calculate_rewards", "_compute_loss", "_generate_single_turn")
    assert [name for name in hooks if hasattr(AsyncGRPOTrainer, name)] == []


def test_it_packs_rows_for_an_attention_kernel_that_a_cpu_has_not() -> None:
    assert "attn_implementation=TREE_ATTENTION" in inspect.getsource(AsyncGRPOTrainer.__init__)
    assert "FA3" in inspect.getsource(AsyncGRPOTrainer.__init__)


def test_it_sends_weights_over_nccl_to_a_vllm_server() -> None:
    assert "nccl" in inspect.getsource(source.WeightTransferClient).lower()


def test_its_bound_is_a_number_of_weight_updates() -> None:
    fields = AsyncGRPOConfig.__dataclass_fields__
    assert fields["max_staleness"].default == 4
    assert fields["weight_sync_steps"].default == 1
