"""The loop's loss and gradients are those of TRL's untouched trainer, whatever the loss, on the same completions.

The batches have a long tail of lengths and groups without advantage, which is where the loop saves work that TRL does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fed_trainers import Twins, learning, rollout, rows, save_llama, twins
from steered import token_logps
from torch import Tensor

from rlllm.algorithms import forward_pass
from rlllm.algorithms.cpu import forward, microbatches

LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")
TOLERANCE = 1e-5
ROOM = 70 * (8 * 261 + 120 * 2 * 32)
"""Bytes of some 70 completion tokens of the model of these tests."""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(autouse=True)
def every_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut into parts of few tokens, and share however short a prompt: these batches are too small to be worth it."""
    monkeypatch.setattr(microbatches, "OVERHEAD", 0)
    monkeypatch.setattr(forward_pass, "PART_BYTES", ROOM)
    monkeypatch.setattr(forward, "SHORTEST_PREFIX", 1)


def test_the_batches_of_these_tests_are_cut_and_rows_left_out(llama: str, tmp_path: Path) -> None:
    loop, inputs = twins(llama, tmp_path, {"loss_type": "dapo"}).loop, rollout()
    cut = loop._parts(inputs, inputs["completion_mask"])
    assert len(cut) > 2
    assert 0 < sum(len(rows) for rows in cut if rows is not None) < len(inputs["advantages"])
    assert forward.packs(loop.model, 1)


def gradients(model: Any) -> dict[str, Tensor]:
    """Of every parameter that learns; one that got none counts as zero."""
    named = learning(model)
    found = {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in named.items()}
    model.zero_grad()
    return found


def assert_equal_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE)
    assert max(float(gradient.abs().max()) for gradient in theirs.values()) > 100 * TOLERANCE


def loss_and_gradients(trainer: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer.compute_loss(trainer.model, dict(inputs))
    loss.backward()
    return loss.detach(), gradients(trainer.model)


def assert_same_update(pair: Twins, inputs: dict[str, Tensor]) -> None:
    theirs, stock_gradients = loss_and_gradients(pair.stock, inputs)
    ours, loop_gradients = loss_and_gradients(pair.loop, inputs)
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE)
    assert_equal_gradients(loop_gradients, stock_gradients)


def moved(pair: Twins, inputs: dict[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    """The batch with log-probabilities of other policies, so that ratios leave the clipping range on both sides."""
    ids, mask = (torch.cat([inputs[f"prompt_{kind}"], inputs[f"completion_{kind}"]], 1) for kind in ("ids", "mask"))
    with torch.no_grad():
        keep = inputs["completion_ids"].size(1)
        logps = pair.stock._get_per_token_logps_and_entropies(pair.stock.model, ids, mask, keep)[0]
    draw = torch.Generator().manual_seed(13)
    return {**inputs, **{name: logps + 0.3 * torch.randn(logps.shape, generator=draw) for name in names}}


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_fresh_batch_gives_the_loss_and_gradients_of_trl(llama: str, tmp_path: Path, loss: str, beta: float) -> None:
    pair = twins(llama, tmp_path, {"loss_type": loss, "beta": beta})
    inputs = moved(pair, rollout(), ("ref_per_token_logps",) if beta else ())
    assert_same_update(pair, inputs)


OFF_POLICY: list[dict[str, Any]] = [
    *({"loss_type": loss, "beta": 0.04} for loss in LOSSES),
    *({"loss_type": loss, "importance_sampling_level": "sequence"} for loss in ("grpo", "luspo")),
    {"loss_type": "grpo", "delta": 1.2},
    {"loss_type": "dapo", "delta": 1.2, "epsilon_high": 0.28},
    {"loss_type": "dapo", "beta": 0.04, "use_bias_correction_kl": True},
    {"loss_type": "grpo", "off_policy_mask_threshold": 0.01},
    {"loss_type": "grpo", "top_entropy_quantile": 0.2},
    {"loss_type": "dapo", "top_entropy_quantile": 0.2, "beta": 0.04},
    {"loss_type": "grpo", "entropy_coef": 0.01},
    {"loss_type": "dapo", "entropy_coef": 0.01, "top_entropy_quantile": 0.2},
]


@pytest.mark.parametrize("settings", OFF_POLICY, ids=str)
def test_a_batch_of_an_older_policy_gives_the_loss_and_gradients_of_trl(
    llama: str, tmp_path: Path, settings: dict[str, Any]
) -> None:
    pair = twins(llama, tmp_path, {"num_iterations": 2, **settings})
    names = ("old_per_token_logps", *(("ref_per_token_logps",) if settings.get("beta") else ()))
    assert_same_update(pair, moved(pair, rollout(), names))


@pytest.mark.parametrize("settings", [{"loss_type": "grpo"}, {"loss_type": "dapo", "beta": 0.04}], ids=str)
def test_adapters_get_the_gradients_of_trl(llama: str, tmp_path: Path, settings: dict[str, Any]) -> None:
    pair = twins(llama, tmp_path, settings, lora=True)
    inputs = moved(pair, rollout(), ("ref_per_token_logps",) if settings.get("beta") else ())
    assert all("lora" in name for name in learning(pair.loop.model))
    assert_same_update(pair, inputs)


@pytest.mark.parametrize("loss", LOSSES)
def test_tokens_that_shall_not_learn_are_left_out_as_in_trl(llama: str, tmp_path: Path, loss: str) -> None:
    inputs = rollout()
    keep = torch.rand(inputs["completion_mask"].shape, generator=torch.Generator().manual_seed(17)) < 0.5
    keep[3] = False
    assert_same_update(twins(llama, tmp_path, {"loss_type": loss}), {**inputs, "tool_mask": keep.long()})


@pytest.mark.parametrize("loss", LOSSES)
def test_advantages_of_single_tokens_give_the_gradients_of_trl(llama: str, tmp_path: Path, loss: str) -> None:
    inputs = rollout()
    draw = torch.randn(inputs["completion_mask"].shape, generator=torch.Generator().manual_seed(19))
    spread = draw * (inputs["advantages"] != 0).unsqueeze(1)
    assert_same_update(twins(llama, tmp_path, {"loss_type": loss}), {**inputs, "advantages": spread})


@pytest.mark.parametrize("settings", [{"loss_type": "grpo"}, {"loss_type": "dapo", "beta": 0.04}], ids=str)
def test_a_batch_without_any_advantage_has_the_gradients_of_trl(
    llama: str, tmp_path: Path, settings: dict[str, Any]
) -> None:
    pair = twins(llama, tmp_path, settings)
    inputs = moved(pair, rollout(), ("ref_per_token_logps",) if settings.get("beta") else ())
    inputs["advantages"] = torch.zeros(len(inputs["advantages"]))
    (theirs, expected), (ours, found) = (loss_and_gradients(trainer, inputs) for trainer in pair.both)
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE)
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=TOLERANCE)
    assert any(bool(gradient.any()) for gradient in expected.values()) == ("beta" in settings)


SCHEDULES: dict[str, dict[str, Any]] = {
    "one batch": {},
    "two accumulated": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2},
    "two steps a rollout": {"per_device_train_batch_size": 8, "steps_per_generation": 2},
    "two passes over a rollout": {"num_iterations": 2},
}
EXTRAS: list[dict[str, Any]] = [
    *({"loss_type": loss} for loss in LOSSES),
    {"loss_type": "dapo", "beta": 0.04},
    {"loss_type": "grpo", "entropy_coef": 0.01, "top_entropy_quantile": 0.2},
]


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("settings", EXTRAS, ids=str)
def test_two_optimizer_steps_from_rollout_to_gradient_are_those_of_trl(
    llama: str, tmp_path: Path, settings: dict[str, Any], schedule: str
) -> None:
    pair = twins(llama, tmp_path, {**SCHEDULES[schedule], **settings})
    theirs, ours = (two_steps(trainer) for trainer in pair.both)
    for expected, found in zip(theirs, ours, strict=True):
        assert_equal_gradients(found, expected)


def two_steps(trainer: Any) -> list[dict[str, Tensor]]:
    """Gradients of two optimizer steps with a short plain descent between them, through TRL's own `training_step`."""
    batch = [row for row in rows() for _ in range(trainer.num_generations)]
    accumulated = trainer.args.gradient_accumulation_steps
    trainer.current_gradient_accumulation_steps = accumulated
    steps = []
    for _ in range(2):
        for _ in range(accumulated):
            torch.manual_seed(23)  # TRL shuffles the rows of a rollout
            trainer.training_step(trainer.model, batch, None)
        steps.append(gradients(trainer.model))
        descend(trainer.model, steps[-1])
        trainer.state.global_step += 1
    return steps


@torch.no_grad()
def descend(model: Any, along: dict[str, Tensor]) -> None:
    norm = torch.stack([gradient.norm() for gradient in along.values()]).norm()
    for name, parameter in learning(model).items():
        parameter -= 0.1 * along[name] / norm


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_products_through_onednn_give_the_loss_and_gradients_of_trl(
    llama: str, tmp_path: Path, lora: bool, checkpointed: bool
) -> None:
    pair = twins(llama, tmp_path, {"gradient_checkpointing": checkpointed}, lora=lora)
    pair.loop.onednn = True
    for trainer in pair.both if checkpointed else ():
        trainer.model.activation_checkpointing_enable()  # as `train` does when it begins
    assert_same_update(pair, rollout())


def test_with_several_processes_every_row_is_passed_since_trl_gathers_by_row(
    llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, inputs = twins(llama, tmp_path, {"loss_type": "dapo"}).loop, rollout()
    monkeypatch.setattr(type(loop.accelerator), "distributed_type", "MULTI_CPU")
    assert loop._parts(inputs, inputs["completion_mask"]) == [None]


def test_passes_without_a_gradient_take_no_more_rows_than_have_room_for_their_logits(
    llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, inputs, rows = twins(llama, tmp_path, {}).loop, rollout(), []
    whole = token_logps(loop, inputs)
    loop.model.register_forward_hook(lambda model, args, kwargs, out: rows.append(len(out.logits)), with_kwargs=True)
    monkeypatch.setattr(
        forward_pass, "PART_BYTES", 3 * 8 * loop.model.config.vocab_size * inputs["completion_ids"].size(1)
    )
    again, learn = token_logps(loop, inputs), inputs["completion_mask"].bool()
    torch.testing.assert_close(again[learn], whole[learn], atol=TOLERANCE, rtol=TOLERANCE)
    assert max(rows) == 3
