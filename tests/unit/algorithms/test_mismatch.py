"""The mismatch in runs: none for the native engine; measured, corrected and reported for a sampler that is not the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.algorithms.mismatch.correction import RolloutCorrection
from rlllm.core.errors import ConfigError, RlllmError

SKEWED = """
import copy

import torch

from rlllm.rollouts.engines.native.engine import NativeEngine


class Skewed(NativeEngine):
    '''Samples from the model in bfloat16 with noise on its weights: another policy than the one that trains.'''

    def generate(self, prompts, sampling):
        weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        draw = torch.Generator().manual_seed(0)
        noisy = {
            name: (value + 0.6 * value.std() * torch.randn(value.shape, generator=draw)).bfloat16().float()
            if value.dim() == 2 else value
            for name, value in weights.items()
        }
        self.model.load_state_dict(noisy)
        try:
            return super().generate(prompts, sampling)
        finally:
            self.model.load_state_dict(weights)


class Forgetful(NativeEngine):
    def generate(self, prompts, sampling):
        completions = super().generate(prompts, sampling)
        self.logps = None
        return completions
"""


def trained(nano: str, folder: Path, **settings: Any) -> rlllm.Run:
    (folder / "skewed.py").write_text(SKEWED)
    return rlllm.reason(
        model=nano,
        data={"name": "arithmetic", "level": 1, "rows": 16, "holdout": 0},
        eval={"rows": 0},
        output_dir=folder / "run",
        defaults="trl",
        **{
            "max_steps": 2,
            "num_generations": 4,
            "per_device_train_batch_size": 8,
            "max_completion_length": 12,
            "learning_rate": 1e-5,
            **settings,
        },
    )


def corr(run: rlllm.Run, name: str) -> list[float]:
    return [row[f"rollout_corr/{name}"] for row in run.metrics() if f"rollout_corr/{name}" in row]


@pytest.mark.parametrize(
    "settings", [{}, {"num_iterations": 2, "save_strategy": "no", "max_steps": 4}, {"beta": 0.01}], ids=str
)
def test_the_native_engine_samples_from_the_policy_that_trains(
    nano: str, tmp_path: Path, settings: dict[str, Any]
) -> None:
    run = trained(nano, tmp_path, **settings)
    assert corr(run, "ratio_mean") == pytest.approx([1.0, 1.0], abs=1e-4)
    assert max(corr(run, "ratio_max")) < 1.001
    assert min(corr(run, "seq_ratio_min")) > 0.999
    assert corr(run, "ratio_fraction_outside") == [0.0, 0.0]
    assert max(map(abs, corr(run, "k3_kl"))) < 1e-6
    assert not [reason for reason in run.verdict["reasons"] if reason["code"] == "sampler_mismatch"]


def test_another_sampler_is_measured_before_anything_is_done_and_the_verdict_warns(nano: str, tmp_path: Path) -> None:
    engine = f"{tmp_path / 'skewed.py'}:Skewed"
    run = trained(nano, tmp_path, **{"rollout.engine": engine})
    assert min(corr(run, "k3_kl")) > 0.01
    assert min(corr(run, "ratio_fraction_outside")) > 0.02
    reasons = {reason["code"]: reason for reason in run.verdict["reasons"]}
    assert "not corrected" in reasons["sampler_mismatch"]["text"]
    assert not reasons["sampler_mismatch"]["fatal"]
    assert "rollout_correction.rollout_is=token" in reasons["sampler_mismatch"]["hint"]


@pytest.mark.parametrize("method", ["grpo", "rloo"])  # a loss of TRL's, and one of rlllm's own
def test_the_correction_weights_the_loss_and_leaves_out_what_is_too_far(nano: str, tmp_path: Path, method: str) -> None:
    engine = f"{tmp_path / 'skewed.py'}:Skewed"
    correction = {"rollout_is": "token", "rollout_rs": "token_k1", "rollout_rs_threshold": "0.5_2"}
    run = trained(nano, tmp_path, method=method, rollout_correction=correction, **{"rollout.engine": engine})
    assert all(0.5 < mean < 1.5 for mean in corr(run, "rollout_is_mean"))
    assert all(0 < share < 0.5 for share in corr(run, "rollout_rs_masked_fraction"))
    assert corr(run, "rollout_rs_masked_fraction") == pytest.approx(corr(run, "ratio_fraction_outside"), abs=1e-6)
    (text,) = [reason["text"] for reason in run.verdict["reasons"] if reason["code"] == "sampler_mismatch"]
    assert "not corrected" not in text


def test_an_engine_that_keeps_silent_where_it_promised_to_report_ends_the_run_by_name(
    nano: str, tmp_path: Path
) -> None:
    engine = f"{tmp_path / 'skewed.py'}:Forgetful"
    run = trained(nano, tmp_path, rollout_correction={"rollout_is": "token"}, **{"rollout.engine": engine})
    assert "reported no log-probabilities" in run.verdict["diagnostics"]["failure"]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"rollout.engine": "hf", "rollout_correction.rollout_is": "token"}, "reports none", "rollout.engine=native"),
    ({"rollout_correction.rollout_is_threshold": 3.0}, "read by nothing", "rollout_correction.rollout_is=token"),
    ({"rollout_correction.rollout_rs": "geometric"}, "knows no geometric", "did you mean seq_mean_k1?"),
    ({"rollout_correction.rollout_rs": "seq_mean_k1"}, "needs a threshold", "rollout_rs_threshold="),
    ({"rollout_correction.rollout_is": "sequence", "loss": "vespo"}, "vespo", "rollout_is=token"),
    (
        {"rollout_correction.rollout_is": "token", "vllm_importance_sampling_clip_max": 2.0},
        "given twice",
        "leave out TRL's",
    ),
    ({"rollout_correction.rollout_is": "token", "method": "e3rl"}, "in segments", "leave out one"),
]


@pytest.mark.parametrize(("settings", "message", "hint"), REFUSED)
def test_what_cannot_be_corrected_is_refused_when_the_run_is_planned(
    nano: str, tmp_path: Path, settings: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(RlllmError, match=message) as caught:
        trained(nano, tmp_path, **settings)
    assert hint in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rollout_is": "token", "rollout_is_threshold": "2_0.5"}, "a lower and an upper one"),
        ({"rollout_is": "token", "rollout_is_threshold": 0}, "a number above 0"),
        ({"rollout_is": "word"}, "rollout_is"),
        ({"rollout_rs": "seq_mean_k3", "rollout_rs_threshold": "0.1_0.2"}, "is one number"),
        ({"rollout_rs": "token_k1,seq_mean_k3", "rollout_rs_threshold": "2,0.1,3"}, "2 criteria have 2 thresholds"),
        ({"rollout_rs_threshold": 2}, "none is named"),
    ],
)
def test_thresholds_that_are_none_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RolloutCorrection(**settings)


def test_a_correction_says_what_it_does() -> None:
    correction = RolloutCorrection("token", "0.5_5", rollout_rs="seq_mean_k1,seq_max_k2", rollout_rs_threshold="2,0.3")
    assert (
        correction.describe() == "weights by token, 0 outside of 0.5 to 5; seq_mean_k1 0.5 to 2; seq_max_k2 at most 0.3"
    )
