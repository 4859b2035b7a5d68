"""DASD in the loop: GRPO at its neutral setting, constants for the update, and steps towards the teacher where it says so."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from fed_trainers import LENGTHS, TASKS, fed_loop, save_llama
from torch import Tensor

from rlllm.algorithms.advantages.self_distillation import DASD, OPSD, RLRT, RLSD
from rlllm.algorithms.masks.top_share import ICT
from rlllm.core.records import PromptTask

QUICK = {"max_steps": 2, "learning_rate": 1e-2, "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
TEXT: dict[str, Any] = {"column": "answer"}


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


def rolled_out(trainer: Any) -> dict[str, Any]:
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer._generate_and_score_completions([trainer.train_dataset[row // 4] for row in range(len(LENGTHS))])


SCHEDULES: list[dict[str, Any]] = [
    {},
    {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 8},
    {"num_iterations": 2, "beta": 0.1},
    {"steps_per_generation": 2, "per_device_train_batch_size": 8, "loss_type": "dapo"},
]


@pytest.mark.parametrize("settings", SCHEDULES, ids=str)
def test_the_neutral_setting_is_grpo_to_the_bit(llama: str, tmp_path: Path, settings: dict[str, Any]) -> None:
    plain = weights(llama, tmp_path, settings)
    assert differing(plain, weights(llama, tmp_path, settings, advantage=DASD(**TEXT, dasd_beta=0.0))) == []
    assert differing(plain, weights(llama, tmp_path, settings, advantage=DASD(**TEXT))) != []


def test_a_run_without_solutions_is_grpo_to_the_bit(llama: str, tmp_path: Path) -> None:
    """Such a run is refused when it is planned; a rollout whose rows happen to have none is learned from as GRPO does."""
    assert differing(weights(llama, tmp_path, {}), weights(llama, tmp_path, {}, advantage=DASD(column="missing"))) == []


@pytest.mark.parametrize(
    "advantage",
    [DASD(**TEXT), DASD(**TEXT, direction="repel", shuffle_gaps=True), OPSD(**TEXT), RLSD(**TEXT), RLRT(**TEXT)],
    ids=lambda part: type(part).__name__,
)
def test_adapters_learn_together_with_icts_mask_and_the_routing_is_logged(
    llama: str, tmp_path: Path, advantage: Any
) -> None:
    settings = {**QUICK, "logging_strategy": "steps", "logging_steps": 1, "num_iterations": 2}
    trainer = fed_loop(llama, tmp_path, settings, lora=True, advantage=advantage, mask=ICT(0.4, 0))
    before = {name: values.clone() for name, values in trainer.model.state_dict().items()}
    trainer.train()
    assert any("lora" in name for name in differing(trainer.model.state_dict(), before))
    (logged,) = [row for row in trainer.state.log_history if "teacher/gap_size" in row]
    assert logged["teacher/completions"] == 1
    assert logged["teacher/gap_size"] > 0
    assert "ict/divergence" in logged


def test_accumulated_micro_batches_learn_what_the_whole_batch_learns(llama: str, tmp_path: Path) -> None:
    settings = {"optim": "sgd", "learning_rate": 0.1}
    whole = weights(llama, tmp_path, settings, advantage=DASD(**TEXT))
    cut = {**settings, "gradient_accumulation_steps": 4, "per_device_train_batch_size": 4}
    for name, values in weights(llama, tmp_path, cut, advantage=DASD(**TEXT)).items():
        torch.testing.assert_close(values, whole[name], atol=1e-5, rtol=0)


def test_a_teacher_with_the_prompt_of_the_policy_changes_nothing(llama: str, tmp_path: Path) -> None:
    trainer = fed_loop(llama, tmp_path, QUICK, advantage=DASD(**TEXT, template="{prompt}{privileged_context}"))
    trainer.tasks = [PromptTask(task.prompt[:-1], task.prompt[-1]) for task in TASKS]
    output = rolled_out(trainer)
    group = fed_loop(llama, tmp_path, QUICK)
    group.tasks = trainer.tasks
    expected = rolled_out(group)["advantages"].unsqueeze(1).expand_as(output["advantages"])
    torch.testing.assert_close(output["advantages"], expected, atol=1e-3, rtol=0)
    assert trainer._metrics["train"]["teacher/gap_size"][-1] < 1e-5


def test_advantages_are_constants_and_completions_keep_their_own_whatever_stands_beside_them(
    llama: str, tmp_path: Path
) -> None:
    output = rolled_out(fed_loop(llama, tmp_path, QUICK, advantage=DASD(**TEXT)))
    assert not output["advantages"].requires_grad
    assert output["advantages"].shape == output["completion_ids"].shape
    padding = output["completion_mask"] == 0
    group = rolled_out(fed_loop(llama, tmp_path, QUICK))["advantages"].unsqueeze(1)
    assert torch.equal(output["advantages"][padding], group.expand_as(output["advantages"])[padding])
    assert not torch.equal(output["advantages"], group.expand_as(output["advantages"]))


def test_attraction_without_a_reward_moves_each_token_to_where_the_teacher_is(llama: str, tmp_path: Path) -> None:
    """One small step on one token at a time: its log-probability rises where the gap is positive, and falls where not."""
    attract = DASD(**TEXT, direction="attract", gate=False, dasd_beta=1.0)
    trainer = fed_loop(llama, tmp_path, {**QUICK, "scale_rewards": "none"}, advantage=attract)
    trainer.tasks = [PromptTask(task.prompt, "flat") for task in TASKS]
    output = rolled_out(trainer)
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], 1)
    mask = torch.cat([output["prompt_mask"], output["completion_mask"]], 1)

    @torch.no_grad()
    def logps() -> Tensor:
        return trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, output["completion_ids"].size(1))[0]

    start = {name: values.clone() for name, values in trainer.model.state_dict().items()}
    before, moved = logps(), []
    for row, token in ((0, 0), (0, 2), (2, 4), (3, 20), (8, 5), (9, 3)):
        trainer.model.load_state_dict(start)
        trainer.model.zero_grad()
        alone = torch.zeros_like(output["completion_mask"])
        alone[row, token] = 1
        trainer._compute_loss(trainer.model, {**output, "tool_mask": alone}).backward()
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter.sub_(1e-3 * parameter.grad)
        change, advantage = (logps() - before)[row, token], output["advantages"][row, token]
        assert float(change) * float(advantage) > 0
        moved.append(float(advantage) > 0)
    assert set(moved) == {True, False}


def train_one_of_two(rank: int, model: str, folder: str, port: int) -> None:
    """Train two steps as one of two processes; write down the weights and what was logged."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    own = Path(folder) / str(rank)
    own.mkdir()
    settings = {**QUICK, "per_device_train_batch_size": 8}
    trainer = fed_loop(model, own, settings, advantage=DASD(**TEXT), mask=ICT(0.4, 0))
    trainer.train()
    torch.save(
        {"weights": trainer.model.state_dict(), "logged": dict(trainer.slots.advantage.metrics)},
        Path(folder) / f"{rank}.pt",
    )
    torch.distributed.destroy_process_group()


def test_two_processes_stay_one_model(llama: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(train_one_of_two, (llama, str(tmp_path), port), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert differing(first["weights"], second["weights"]) == []
    assert first["logged"] == second["logged"]
