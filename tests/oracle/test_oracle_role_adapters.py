"""Roles with adapters of their own: who speaks by which, and the gradients of each against TRL's loss over its rows alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from fed_trainers import fed_loop, save_llama
from torch import Tensor
from trl import GRPOTrainer

from rlllm.algorithms.dialogues.tracer import TRACER
from rlllm.algorithms.rl_trainer import RLTrainer
from rlllm.core.records import PromptTask, Sample, Score
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.dialogue.speaking import speaker
from rlllm.rollouts.engines.hf import HFEngine
from rlllm.rollouts.engines.native.engine import NativeEngine

ROLES = ("proposer", "reviewer")
NAMES = {"proposer": "default", "reviewer": "reviewer"}


@dataclass
class Paid(TRACER):
    """Pays whatever a role says by its bytes: random text has no verdicts, and groups would have no advantage."""

    def score(self, sample: Sample) -> Score:
        return Score(sum(sample.completion.encode()) % 7 / 7)


def weights_of(model: Any, role: str) -> dict[str, Tensor]:
    return {name: value for name, value in model.named_parameters() if f".{NAMES[role]}." in name}


@torch.no_grad()
def fill(model: Any, role: str, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for value in weights_of(model, role).values():
        value.copy_(torch.randn(value.shape, generator=draw) * 0.3)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def loop(llama: str, tmp_path: Path) -> Callable[..., RLTrainer]:
    """A trainer whose roles' adapters already compute different things."""

    def call(engine: Any = NativeEngine, part: TRACER | None = None, **settings: Any) -> RLTrainer:
        part = part or Paid(marked=False, history=0, floor=1.0, adapters="per-role")
        given = {"max_completion_length": 12, "max_steps": 1, "num_generations": 4, "learning_rate": 1e-2, **settings}
        trainer = fed_loop(llama, tmp_path, given, lora=True, engine=engine, dialogue=part)
        for seed, role in enumerate(ROLES):
            fill(trainer.model, role, seed)
        return trainer

    return call


def rollout(trainer: RLTrainer) -> dict[str, Any]:
    torch.manual_seed(0)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    rows = [trainer.train_dataset[row] for row in range(4) for _ in range(4)]
    return trainer._generate_and_score_completions(rows)


@pytest.mark.parametrize("engine", [NativeEngine, HFEngine])
def test_what_a_role_says_depends_on_its_own_adapter_alone(loop: Callable[..., RLTrainer], engine: Any) -> None:
    trainer = loop(engine)
    tasks = [PromptTask("2+2?", "4"), PromptTask("what is written?", "4")]
    greedy = SamplingConfig(max_new_tokens=8, temperature=0.0)

    def said() -> dict[str, list[str]]:
        def opened() -> Any:
            return engine(trainer.model, trainer.processing_class)

        speak = speaker(opened, trainer.processing_class, greedy, trainer.roles)
        return {role: [sample.completion for sample in speak(tasks, role)] for role in ("reviewer", "proposer")}

    before = said()
    fill(trainer.model, "reviewer", 7)
    after = said()
    assert after["proposer"] == before["proposer"]
    assert after["reviewer"] != before["reviewer"]
    assert before["reviewer"] != before["proposer"]


def sums_by_role(trainer: RLTrainer, batch: dict[str, Any], beta: float) -> dict[str, Tensor]:
    """Gradients by TRL's own loss over whole batches, one for each adapter, in which rows of other roles weigh nothing."""
    gradients = {}
    assert trainer.roles is not None
    for number, role in enumerate(ROLES):
        trainer.model.zero_grad()
        trainer.model.set_adapter(NAMES[role])
        other = batch["role"][:, 0] != number
        inputs = {**batch, "advantages": batch["advantages"].masked_fill(other, 0.0)}
        if beta:  # the KL term has no advantage: rows of other roles have no tokens
            inputs["tool_mask"] = batch["completion_mask"] * (~other).unsqueeze(1)
        GRPOTrainer._compute_loss(trainer, trainer.model, inputs).backward()
        gradients |= {name: value.grad.clone() for name, value in weights_of(trainer.model, role).items()}
    trainer.model.zero_grad()
    return gradients


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_a_row_moves_the_adapter_of_its_role_and_no_other(loop: Callable[..., RLTrainer], beta: float) -> None:
    trainer = loop(beta=beta, loss_type="dapo")
    batch = rollout(trainer)
    assert set(batch["role"][:, 0].tolist()) == {0, 1}
    assert batch["advantages"].abs().max() > 0
    expected = sums_by_role(trainer, batch, beta)
    trainer._compute_loss(trainer.model, batch).backward()
    given = {name: value.grad for role in ROLES for name, value in weights_of(trainer.model, role).items()}
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(given[name], value, rtol=1e-4, atol=1e-7, msg=name)


def test_log_probabilities_are_the_role_s_and_those_of_the_reference_the_base_s(loop: Callable[..., RLTrainer]) -> None:
    trainer = loop(beta=0.1, num_iterations=2)
    batch = rollout(trainer)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    keep, real = batch["completion_ids"].size(1), batch["completion_mask"].bool()

    @torch.no_grad()
    def logps() -> Tensor:
        return GRPOTrainer._get_per_token_logps_and_entropies(trainer, trainer.model, ids, mask, keep)[0]

    with trainer.model.disable_adapter():
        torch.testing.assert_close(batch["ref_per_token_logps"][real], logps()[real], rtol=1e-4, atol=1e-4)
    for number, role in enumerate(ROLES):
        trainer.model.set_adapter(NAMES[role])
        own = real & (batch["role"] == number)
        assert own.any()
        torch.testing.assert_close(batch["old_per_token_logps"][own], logps()[own], rtol=1e-4, atol=1e-4)
        assert not torch.allclose(batch["old_per_token_logps"][real & ~own], logps()[real & ~own], atol=1e-2)


@pytest.mark.parametrize("learns", ROLES)
def test_an_adapter_whose_role_is_not_learned_from_stays_as_it_is(loop: Callable[..., RLTrainer], learns: Any) -> None:
    part = Paid(marked=False, history=0, floor=1.0, learn=learns, adapters="per-role")
    trainer = loop(part=part, max_steps=3, weight_decay=0.1)
    before = {role: {name: value.clone() for name, value in weights_of(trainer.model, role).items()} for role in ROLES}
    trainer.train()
    for role in ROLES:
        changed = [
            name
            for name, value in weights_of(trainer.model, role).items()
            if not torch.equal(value, before[role][name])
        ]
        assert bool(changed) == (role == learns)


@pytest.mark.parametrize("settings", [{"gradient_accumulation_steps": 4}, {"gradient_checkpointing": True}], ids=str)
def test_accumulated_and_checkpointed_steps_are_the_whole_step(
    loop: Callable[..., RLTrainer], settings: dict[str, Any]
) -> None:
    """With Adam's second moments as good as off, a step is in proportion to the gradient."""
    plain = {
        "per_device_train_batch_size": 16,
        "adam_epsilon": 1.0,
        "learning_rate": 1.0,
        "lr_scheduler_type": "constant",
    }
    ends = []
    for changed in (
        {},
        {**settings, "per_device_train_batch_size": 16 // settings.get("gradient_accumulation_steps", 1)},
    ):
        trainer = loop(**{**plain, **changed})
        torch.manual_seed(0)
        trainer.train()
        ends.append({name: value for role in ROLES for name, value in weights_of(trainer.model, role).items()})
    whole, parts = ends
    fresh = loop()
    start = {name: value for role in ROLES for name, value in weights_of(fresh.model, role).items()}
    for role in ROLES:
        assert any((whole[name] - start[name]).abs().max() > 1e-5 for name in weights_of(fresh.model, role))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-6, msg=name)
