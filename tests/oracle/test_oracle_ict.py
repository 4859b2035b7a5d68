"""ICT in the loop: GRPO at its neutral settings, the paper's loss at the others, however a rollout is cut into updates."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from fed_trainers import LENGTHS, fed_loop, save_llama
from torch import Tensor

from rlllm.algorithms.masks.top_share import ICT, EntropyPerCompletion, RandomPerCompletion
from rlllm.algorithms.signals.sibling_distributions import SiblingDivergence

QUICK = {"max_steps": 2, "learning_rate": 1e-2, "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"))


def weights(
    model: str, folder: Path, settings: dict[str, Any], *, lora: bool = False, **slots: Any
) -> dict[str, Tensor]:
    trainer = fed_loop(model, folder, {**QUICK, **settings}, lora=lora, **slots)
    trainer.train()
    return trainer.model.state_dict()


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


SCHEDULES: list[dict[str, Any]] = [
    {},
    {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 8},
    {"num_iterations": 2, "beta": 0.1},
    {"steps_per_generation": 2, "per_device_train_batch_size": 8, "loss_type": "dapo"},
]


@pytest.mark.parametrize("settings", SCHEDULES, ids=str)
def test_the_neutral_setting_is_grpo_to_the_bit(llama: str, tmp_path: Path, settings: dict[str, Any]) -> None:
    plain = weights(llama, tmp_path, settings)
    assert differing(plain, weights(llama, tmp_path, settings, mask=ICT(1.0))) == []
    assert differing(plain, weights(llama, tmp_path, settings, mask=ICT(0.1, warmup_steps=99))) == []
    assert differing(plain, weights(llama, tmp_path, settings, mask=ICT(0.1, warmup_steps=0))) != []


def test_the_warm_up_ends_with_the_step_it_names(llama: str, tmp_path: Path) -> None:
    steps = {count: weights(llama, tmp_path, {"max_steps": count}) for count in (1, 2)}
    held = {count: weights(llama, tmp_path, {"max_steps": count}, mask=ICT(0.1, warmup_steps=1)) for count in (1, 2)}
    assert differing(steps[1], held[1]) == []
    assert differing(steps[2], held[2]) != []


def test_accumulated_micro_batches_learn_what_the_whole_batch_learns(llama: str, tmp_path: Path) -> None:
    settings = {"optim": "sgd", "learning_rate": 0.1}
    whole = weights(llama, tmp_path, settings, mask=ICT(0.3, 0))
    cut = {**settings, "gradient_accumulation_steps": 4, "per_device_train_batch_size": 4}
    for name, values in weights(llama, tmp_path, cut, mask=ICT(0.3, 0)).items():
        torch.testing.assert_close(values, whole[name], atol=1e-5, rtol=0)


@dataclass(frozen=True)
class Counted(ICT):
    """ICT that counts its choices."""

    choices: ClassVar[list[int]] = []

    def __call__(self, batch: Any) -> Tensor:
        self.choices.append(batch.step)
        return super().__call__(batch)


def test_the_choice_is_made_once_for_all_updates_on_a_rollout(llama: str, tmp_path: Path) -> None:
    Counted.choices.clear()
    weights(llama, tmp_path, {"num_iterations": 2, "max_steps": 4}, mask=Counted(0.2, 0))
    assert Counted.choices == [0, 2]


@pytest.mark.parametrize("mask", [ICT(0.2, 0), EntropyPerCompletion(0.2, 0), RandomPerCompletion(0.2, 0)], ids=repr)
def test_adapters_learn_and_the_choice_is_logged(llama: str, tmp_path: Path, mask: Any) -> None:
    trainer = fed_loop(
        llama, tmp_path, {**QUICK, "logging_strategy": "steps", "logging_steps": 1}, lora=True, mask=mask
    )
    before = {name: values.clone() for name, values in trainer.model.state_dict().items()}
    trainer.train()
    assert any("lora" in name for name in differing(trainer.model.state_dict(), before))
    expected = np.ceil(np.array(LENGTHS) * 0.2).sum() / sum(LENGTHS)
    shares = [row["mask/selected_share"] for row in trainer.state.log_history if "mask/selected_share" in row]
    assert shares == pytest.approx([expected] * 2, abs=1e-6)


def test_one_shared_pass_gives_the_divergence_of_a_pass_of_its_own(llama: str, tmp_path: Path) -> None:
    trainer = fed_loop(llama, tmp_path, QUICK, mask=ICT(0.2, 0))
    rollout = trainer._sampled([trainer.train_dataset[row // 4] for row in range(len(LENGTHS))])
    context = trainer._signal_context(rollout)
    shared = trainer._signals(rollout)["sibling_divergence"]
    own = SiblingDivergence(positions=7).compute(context)
    torch.testing.assert_close(shared, own, atol=2e-6, rtol=0)
    assert shared[:, 0].abs().max() < 1e-6
    assert float(shared.max()) > 0.05
    longest = [max(LENGTHS[start : start + 4]) for start in range(0, len(LENGTHS), 4)]
    alone = sorted(LENGTHS[0:4])[-2]
    assert not shared[3, alone:].any()
    assert longest[0] == LENGTHS[3]


def test_the_loss_is_the_mean_over_the_chosen_tokens_and_no_other_token_has_a_gradient(
    llama: str, tmp_path: Path
) -> None:
    beta, low, high = 0.2, 0.2, 0.3
    settings = {**QUICK, "beta": beta, "epsilon": low, "epsilon_high": high, "loss_type": "grpo"}
    trainer = fed_loop(llama, tmp_path, {**settings, "use_bias_correction_kl": False}, mask=ICT(0.25, 0))
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    output = trainer._generate_and_score_completions([trainer.train_dataset[row // 4] for row in range(len(LENGTHS))])
    chosen, draw = output["tool_mask"], torch.Generator().manual_seed(0)
    assert chosen.sum(1).tolist() == np.ceil(np.array(LENGTHS) * 0.25).tolist()
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], 1)
    mask = torch.cat([output["prompt_mask"], output["completion_mask"]], 1)
    keep = output["completion_ids"].size(1)
    with torch.no_grad():
        new, entropies, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, mask, keep, compute_entropy=True
        )
    output["old_per_token_logps"] = new + 0.4 * torch.randn(new.shape, generator=draw)
    output["ref_per_token_logps"] = new + 0.4 * torch.randn(new.shape, generator=draw)
    new_, old, ref = (v.double().numpy() for v in (new, output["old_per_token_logps"], output["ref_per_token_logps"]))
    ratio, advantages = np.exp(new_ - old), output["advantages"].double().numpy()[:, None]
    token = -np.minimum(ratio * advantages, np.clip(ratio, 1 - low, 1 + high) * advantages)
    token += beta * (np.exp(ref - new_) - (ref - new_) - 1)
    inside = chosen.numpy()
    expected = ((token * inside).sum(1) / inside.sum(1)).mean()
    learned: list[Tensor] = []

    def watch(module: Any, args: Any, scores: Tensor) -> None:
        if scores.requires_grad:
            scores.register_hook(lambda gradient: learned.append(gradient.abs().sum(-1) > 0))

    trainer.model.lm_head.register_forward_hook(watch)
    logged = trainer._metrics["train"] = defaultdict(list)
    loss = trainer._compute_loss(trainer.model, output)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-5)
    assert sum(int(part.sum()) for part in learned) == int(chosen.sum())
    whole = float((entropies * output["completion_mask"]).sum() / output["completion_mask"].sum())
    assert logged["entropy"] == [pytest.approx(whole, abs=1e-5)], "the entropy of all tokens, not of the chosen ones"


def train_one_of_two(rank: int, model: str, folder: str, port: int) -> None:
    """Train two steps as one of two processes; write down the weights, and what was logged and chosen."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    own = Path(folder) / str(rank)
    own.mkdir()
    settings = {**QUICK, "per_device_train_batch_size": 8, "loss_type": "dapo", "beta": 0.1}
    trainer = fed_loop(model, own, settings, mask=ICT(0.2, 0))
    trainer.train()
    chosen = trainer._buffered_inputs[0]
    made = {
        "weights": trainer.model.state_dict(),
        "logged": dict(trainer.slots.mask.metrics),
        "chosen": int(chosen["tool_mask"].sum()),
        "counted": float(chosen["num_items_in_batch"]),
    }
    torch.save(made, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_choose_in_their_own_groups_and_stay_one_model(llama: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(train_one_of_two, (llama, str(tmp_path), port), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert differing(first["weights"], second["weights"]) == []
    assert first["logged"] == second["logged"]
    assert first["counted"] == second["counted"] == first["chosen"] + second["chosen"]
