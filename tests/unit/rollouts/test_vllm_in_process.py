"""The engine `vllm` with a real vLLM in this environment, on a GPU or by its build for processors."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import rlllm
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed in this environment"),
]


@pytest.fixture
def untied(nano: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """nano with a head of its own, which vLLM 0.32's build for processors needs."""
    for name, value in (("VLLM_CPU_KVCACHE_SPACE", "1"), ("VLLM_CPU_OMP_THREADS_BIND", "nobind")):
        monkeypatch.setenv(name, os.environ.get(name, value))
    source = resolve_model(nano)
    model, folder = load_policy(source), tmp_path / "model"
    model.config.tie_word_embeddings = False
    model.save_pretrained(folder, state_dict={name: weight.clone() for name, weight in model.state_dict().items()})
    load_tokenizer(source).save_pretrained(folder)
    return str(folder)


def reasoned(model: str, folder: Path, **settings: Any) -> rlllm.Run:
    (folder / "rewards.py").write_text("def letters(sample): return float(sum(map(str.isalpha, sample.completion)))\n")
    torch.manual_seed(0)
    return rlllm.reason(
        model=model,
        rewards=f"{folder / 'rewards.py'}:letters",
        data={"name": "arithmetic", "rows": 16, "holdout": 0},
        output_dir=folder / "run",
        learning_rate=1e-4,
        num_generations=4,
        defaults="trl",
        max_steps=4,
        logging_steps=1,
        **{"rollout.max_new_tokens": 16, **settings},
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"rollout.engine": "vllm", "rollout.serving": {"max_length": 256, "eager": True}},
        {"rollout.engine": "hf", "use_vllm": True, "vllm_max_model_length": 256, "rollout.serving": {"tolerance": 0.1}},
    ],
    ids=["vllm", "trl"],
)
def test_grpo_samples_with_vllm_in_the_process_that_trains(
    untied: str, tmp_path: Path, settings: dict[str, Any]
) -> None:
    done = reasoned(untied, tmp_path, **settings)
    assert done.ok, done.verdict
    logged = [row for row in done.metrics() if "sync/seconds" in row]
    assert len(logged) == 4
    largest = 0.1 if "use_vllm" in settings else 1e-4
    assert all(row["sync/mean_abs_dlogp"] < largest for row in logged)
