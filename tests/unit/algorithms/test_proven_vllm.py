"""TRL's own use of vLLM: its generation and its transfer of weights are TRL's code, and vLLM is a model of this process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from trl.generation import vllm_generation
from trl.trainer import grpo_trainer

import rlllm
from rlllm.core.errors import ConfigError, WeightSyncError
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rollouts.config import ServingConfig
from rlllm.rollouts.engines.served.by_trl import TRLSyncProof
from rlllm.stages.catalog import plan, resolve_settings


class LLM:
    """What TRL uses of vLLM's class of this name. It samples with a real model; what is written for the proof, greedily."""

    def __init__(self, folder: str, fault: str = "") -> None:
        self.fault, self.loads = fault, 0
        self.policy = load_policy(resolve_model(folder))
        if fault == "format":
            self.policy.to(torch.bfloat16)
        runner = SimpleNamespace(model=SimpleNamespace(load_weights=self.load))
        worker = SimpleNamespace(driver_worker=SimpleNamespace(model_runner=runner))
        described = SimpleNamespace(dtype=self.policy.dtype, max_model_len=512)
        self.llm_engine = SimpleNamespace(model_executor=worker, model_config=described)
        self.slept = 0

    def load(self, weights: Sequence[tuple[str, torch.Tensor]]) -> None:
        self.loads += 1
        for name, weight in weights:
            parts = len(self.policy.state_dict()) - 1  # the head is tied
            if self.fault == "stale" or (self.fault == "stale-later" and self.loads > 2 * parts):
                return
            if self.fault == "half" and ".layers.0." in name:
                return
            self.policy.load_state_dict({name: weight}, strict=False)

    def reset_prefix_cache(self) -> None:
        """It has none."""

    def wake_up(self, tags: Sequence[str]) -> None:
        """As vLLM, it has room again, and nothing in it."""

    def sleep(self, level: int) -> None:
        self.slept += 1
        for weight in self.policy.parameters():
            weight.data.zero_()

    @torch.no_grad()
    def generate(self, prompts: Sequence[Any], sampling_params: Any, use_tqdm: bool) -> list[Any]:
        greedy = getattr(sampling_params, "ignore_eos", False)
        return [self._completed(row["prompt_token_ids"], sampling_params.max_tokens, greedy) for row in prompts]

    def _completed(self, prompt: list[int], tokens: int, greedy: bool) -> Any:
        ids, logprobs, past = list(prompt), [], None
        for _ in range(tokens):
            new = ids if past is None else ids[-1:]
            output = self.policy(input_ids=torch.tensor([new]), past_key_values=past, use_cache=True)
            past, logps = output.past_key_values, output.logits[0, -1].float().log_softmax(-1)
            ids.append(int(logps.argmax() if greedy else logps.exp().multinomial(1)))
            logprobs.append({ids[-1]: SimpleNamespace(logprob=float(logps[ids[-1]]), rank=1)})
        written = SimpleNamespace(token_ids=ids[len(prompt) :], logprobs=logprobs)
        return SimpleNamespace(prompt_token_ids=prompt, outputs=[written])


class Generation(vllm_generation.VLLMGeneration):
    """TRL's, with that class in the place of vLLM's."""

    fault = ""

    def _init_vllm(self) -> None:
        self.llm = LLM(self.model.name_or_path, self.fault)
        self._llm_weights_sleeping = self.enable_sleep_mode


@pytest.fixture(autouse=True)
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_generation, "SamplingParams", SimpleNamespace, raising=False)


def generation(model: Any, fault: str = "", **settings: Any) -> Any:
    kind = type("Faulty", (Generation,), {"fault": fault})
    return kind(model, Accelerator(cpu=True), None, logprobs=0, **settings)


@pytest.fixture
def policy(nano: str) -> Any:
    torch.manual_seed(0)
    return load_policy(resolve_model(nano))


def proven(made: Any, nano: str, syncs: int = 1, **serving: Any) -> TRLSyncProof:
    """Syncs with a step of the policy before each but the first."""
    proof, stock = TRLSyncProof(load_tokenizer(resolve_model(nano)), ServingConfig(**serving)), made.sync_weights
    made.sync_weights = lambda: proof.bring(made, stock)
    for sync in range(syncs):
        if sync:
            with torch.no_grad():
                for weight in made.model.parameters():
                    weight.add_(0.1 * torch.randn_like(weight))
        made.sync_weights()
    return proof


def test_weights_arrive_and_the_policy_is_as_it_was(policy: Any, nano: str) -> None:
    before = {name: weight.clone() for name, weight in policy.state_dict().items()}
    made = generation(policy, temperature=0.7, max_completion_length=3)
    proof = proven(made, nano)
    assert proof.metrics["sync/mean_abs_dlogp"] < 1e-5
    assert all(torch.equal(before[name], weight) for name, weight in policy.state_dict().items())
    assert (made.temperature, made.max_completion_length, made.generation_kwargs) == (0.7, 3, {})
    assert torch.equal(made.llm.policy.lm_head.weight, policy.lm_head.weight)


FAULTS = {
    "stale": "did not arrive",
    "half": "did not arrive",
    "format": "it computes in bfloat16, and the policy in float32",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_sync_stops_before_the_first_sample(policy: Any, nano: str, fault: str) -> None:
    with pytest.raises(WeightSyncError, match="in the trial before the first step") as error:
        proven(generation(policy, fault), nano)
    assert FAULTS[fault] in str(error.value)


def test_a_sync_that_breaks_later_is_found(tiny_model: str) -> None:
    made = generation(load_policy(resolve_model(tiny_model)), "stale-later")
    with pytest.raises(WeightSyncError, match="in sync 1"):
        proven(made, tiny_model, syncs=2)


def test_an_adapter_arrives(tiny_model: str) -> None:
    adapted = get_peft_model(load_policy(resolve_model(tiny_model)), LoraConfig(r=4, target_modules="all-linear"))
    assert proven(generation(adapted), tiny_model, syncs=2).metrics["sync/mean_abs_dlogp"] < 1e-4


def test_an_adapter_that_is_ignored_is_named(policy: Any, nano: str) -> None:
    adapted = get_peft_model(policy, LoraConfig(r=4, target_modules="all-linear"))
    with pytest.raises(WeightSyncError, match="ignores the adapter"):
        proven(generation(adapted, "stale"), nano)


def test_a_copy_that_sleeps_has_the_weights_when_it_is_asked(policy: Any, nano: str) -> None:
    """Between rollouts it throws them away, and what is written for the proof is a rollout."""
    settings = {"max_completion_length": 4, "generation_kwargs": {"ignore_eos": True}}
    made = generation(policy, enable_sleep_mode=True, **settings)
    proven(made, nano)
    awake = generation(policy, **settings)
    for _ in range(2):  # the second time it brings its weights itself
        assert made.generate([[72, 101, 108]], None, 1) == awake.generate([[72, 101, 108]], None, 1)
    assert made.llm.slept == 5  # after the trial, the sync, two rollouts, and the proof of the sync before the second


def reasoned(model: str, folder: Path, **settings: Any) -> rlllm.Run:
    return rlllm.reason(
        model=model,
        data={"name": "arithmetic", "rows": 16, "holdout": 0},
        output_dir=folder / "run",
        defaults="trl",
        num_generations=4,
        max_steps=2,
        logging_steps=1,
        use_vllm=True,
        **{"rollout.engine": "hf", "rollout.max_new_tokens": 8, **settings},
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package and a driver that a plan finds."""
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").touch()
    (tmp_path / "nvidia-smi").touch(0o755)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(grpo_trainer, "VLLMGeneration", Generation)


@pytest.mark.usefixtures("installed")
def test_a_run_logs_the_proof_of_each_sync(tiny_model: str, tmp_path: Path) -> None:
    done = reasoned(tiny_model, tmp_path)
    logged = [row for row in done.metrics() if "sync/seconds" in row]
    assert len(logged) == 2
    assert all(row["sync/mean_abs_dlogp"] < 1e-5 for row in logged)


@pytest.mark.usefixtures("installed")
def test_a_run_with_a_stale_copy_ends_by_name(tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Generation, "fault", "stale")
    done = reasoned(tiny_model, tmp_path)
    assert not done.ok
    assert "does not sample with the policy's weights" in done.verdict["reasons"][0]["text"]
    assert list(done.samples()) == []


def test_a_plan_says_what_is_missing_and_which_settings_of_the_proof_are_read(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"model": tiny_model, "use_vllm": True, "rollout.engine": "hf", "data": {"name": "arithmetic", "rows": 16}}
    with pytest.raises(ConfigError, match="needs vLLM in the environment that trains"):
        plan(resolve_settings("reason", {}, [*given.items()]))
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="needs a GPU"):
        plan(resolve_settings("reason", {}, [*given.items()]))
    given |= {"rollout.serving.tolerance": 0.1, "rollout.serving.retries": 1}
    with pytest.raises(ConfigError, match=r"but tolerance and trial\ngiven: rollout\.serving\.retries=1"):
        plan(resolve_settings("reason", {}, [*given.items()]))
