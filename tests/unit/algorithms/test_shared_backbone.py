"""One backbone for policy, reference, critic and reward model: each sees its own adapter, and only what learns moves."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

import rlllm
from rlllm.algorithms.ppo.critic import Critic
from rlllm.algorithms.ppo.shared_backbone import AdapterScorer, Trunk, active, adapter_of, new_adapter, stored_adapter
from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.core.runs import Run
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.models.reward_model import RewardModel

DATA = {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 4}
SAMPLES = [Sample("1 + 2 = ?", "#### 3"), Sample("4 + 4 = ?", "4+4=8\n#### 8"), Sample("What is 1 + 1?", "2")]


class Schedule:
    """The part of TRL's settings a critic reads."""

    learning_rate = 1e-2
    adam_beta1, adam_beta2, adam_epsilon, weight_decay, max_grad_norm = 0.9, 0.999, 1e-8, 0.0, 1.0
    lr_scheduler_type = "constant"

    def get_warmup_steps(self, steps: int) -> int:
        return 0


@pytest.fixture
def policy(tiny_model: str) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    return get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))


@pytest.fixture(scope="module")
def scorer(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A reward model trained by adapters on the policy's own base."""
    output = tmp_path_factory.mktemp("scorer") / "run"
    settings = {"model": tiny_model, "data": DATA, "lora": {"r": 2}, "max_steps": 2, "learning_rate": 1e-1}
    return rlllm.train_rm(**settings, eval={"rows": 0}, output_dir=output)


def test_a_reward_model_on_the_shared_backbone_scores_as_by_itself(policy: Any, scorer: Run, tiny_model: str) -> None:
    folder = adapter_of(scorer.model, tiny_model)
    assert folder is not None
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    shared = RewardModel.of(AdapterScorer(*stored_adapter(policy.eval(), "judge", folder)), tokenizer)
    alone = RewardModel(str(scorer.model))
    expected = [score.value for score in alone.score_batch(SAMPLES)]
    assert [score.value for score in shared.score_batch(SAMPLES)] == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) == len(SAMPLES)


def test_a_reward_model_that_is_scored_elsewhere_frees_its_own_weights(scorer: Run) -> None:
    rewards = build([RewardSpec(name="model", params={"path": str(scorer.model)})])
    before = rewards.score(SAMPLES).totals
    weights = weakref.ref(rewards.rewards[0].target.__dict__["_members"][0][0]._loaded[1])
    assert rewards.scored_by({"model": lambda samples: [0.0] * len(samples)}).score(SAMPLES).totals == [0.0] * 3
    gc.collect()
    assert weights() is None
    assert rewards.score(SAMPLES).totals == before


def test_an_adapter_of_another_base_is_not_taken(scorer: Run, tmp_path: Path) -> None:
    assert adapter_of(scorer.model, str(tmp_path)) is None
    assert adapter_of(tmp_path / "model", str(tmp_path)) is None


def test_the_critic_learns_without_moving_the_policy_or_the_base(policy: Any) -> None:
    trunk, head = new_adapter(policy, "critic", LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    critic = Critic(trunk, head, Schedule(), warmup_steps=0)
    critic.start("cpu", 4)
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    ids, mask = torch.randint(5, 50, (2, 6)), torch.ones(2, 6, dtype=torch.long)
    assert not critic.values(ids, mask, 3).any()
    for _ in range(2):  # a zero head gives its adapter no gradient in the first step
        ((critic.values(ids, mask, 3) - 1.0) ** 2).mean().backward()
        critic.step()
    moved = {name for name, p in policy.named_parameters() if not p.equal(before[name])}
    assert moved
    assert all(".critic." in name for name in moved)
    with torch.no_grad():
        assert float(critic.values(ids, mask, 3).mean()) > 0


def test_a_gradient_survives_the_switch_back_to_the_policy(policy: Any) -> None:
    policy.add_adapter("other", LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    trainable = {name for name, p in policy.named_parameters() if p.requires_grad}
    with active(policy, "other"):
        pass
    assert {name for name, p in policy.named_parameters() if p.requires_grad} == trainable
    assert policy.active_adapter == "default"
    assert {name for name, _ in Trunk(policy, "other").named_parameters()}.isdisjoint(trainable)


@pytest.mark.parametrize("init", ["policy", "reward"])
def test_a_run_on_one_backbone_learns_and_saves_a_whole_model(
    scorer: Run, tiny_model: str, tmp_path: Path, init: str
) -> None:
    run = rlllm.align(
        method="ppo",
        model=tiny_model,
        data=DATA,
        rewards=[str(scorer.path)],
        lora={"r": 2},
        critic={"share_backbone": True, "init": init},
        rollout={"max_new_tokens": 6},
        trainer={"max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-2},
        eval={"rows": 0},
        output_dir=tmp_path / "run",
    )
    assert run.ok, run.verdict
    assert [row["critic_grad_norm"] > 0 for row in run.metrics()] == [True, True]
    assert AutoModelForCausalLM.from_pretrained(run.model)


def test_sharing_needs_adapters(tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"add lora\.r=16"):
        rlllm.align(method="ppo", rewards="gold", critic={"share_backbone": True}, output_dir=tmp_path / "run")


def critic_gradients(policy: Any, *, checkpointing: bool) -> list[torch.Tensor]:
    torch.manual_seed(1)
    trunk, head = new_adapter(policy, "critic", LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.nn.init.ones_(head.weight)
    critic = Critic(trunk, head, Schedule())
    policy.train()
    if checkpointing:
        policy.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    ids = torch.arange(5, 17).view(2, 6)
    critic.values(ids, torch.ones_like(ids), 3).sum().backward()
    flags = [module.gradient_checkpointing for module in policy.modules() if hasattr(module, "gradient_checkpointing")]
    assert set(flags) == {checkpointing}
    return [parameter.grad for parameter in critic.parameters()]


def test_the_critic_gets_its_own_gradient_under_gradient_checkpointing(policy: Any) -> None:
    plain = critic_gradients(policy, checkpointing=False)
    policy.delete_adapter("critic")
    kept = critic_gradients(policy, checkpointing=True)
    assert all(torch.equal(one, other) for one, other in zip(plain, kept, strict=True))
    assert any(gradient.any() for gradient in kept[:-1])


def test_critic_and_scorer_work_on_a_backbone_in_half_precision(scorer: Run, tiny_model: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    config = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    policy = get_peft_model(model, config)
    folder = adapter_of(scorer.model, tiny_model)
    assert folder is not None
    shared = RewardModel.of(
        AdapterScorer(*stored_adapter(policy, "judge", folder)), AutoTokenizer.from_pretrained(tiny_model)
    )
    policy.train()
    alone = [score.value for score in RewardModel(str(scorer.model)).score_batch(SAMPLES)]
    assert [score.value for score in shared.score_batch(SAMPLES)] == pytest.approx(alone, abs=0.1)
    assert policy.training
    ids = torch.randint(5, 50, (2, 6))
    values = Critic(*new_adapter(policy, "critic", config), Schedule()).values(ids, torch.ones_like(ids), 3)
    assert (values.dtype, values.shape) == (torch.float32, (2, 3))
