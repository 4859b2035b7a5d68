"""The engine `vllm` with a real vLLM in this environment, on a GPU or by its build for processors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from rlllm.core.runs import Run
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


VLLM = ["rollout.engine=vllm", "rollout.serving.max_length=256", "rollout.serving.eager=true"]
BY_TRL = ["rollout.engine=hf", "use_vllm=true", "vllm_max_model_length=256", "rollout.serving.tolerance=0.1"]


NO_GPU = pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="TRL's own use of vLLM needs a GPU")


@pytest.mark.parametrize(
    ("settings", "largest"), [(VLLM, 1e-4), pytest.param(BY_TRL, 0.1, marks=NO_GPU)], ids=["vllm", "trl"]
)
def test_grpo_samples_with_vllm_in_the_process_that_trains_and_ends(
    untied: str, tmp_path: Path, settings: list[str], largest: float
) -> None:
    (tmp_path / "rewards.py").write_text(
        "def letters(sample): return float(sum(map(str.isalpha, sample.completion)))\n"
    )
    words = [
        *("reason", "--model", untied, "--data", "arithmetic", "data.rows=16", "data.holdout=0", "eval.rows=0"),
        *(
            "defaults=trl",
            "max_steps=4",
            "logging_steps=1",
            "save_strategy=no",
            "num_generations=4",
            "stop_when_flat=0",
        ),
        *("rollout.max_new_tokens=16", "learning_rate=0.0001", f"rewards={tmp_path / 'rewards.py'}:letters"),
    ]
    command = [sys.executable, "-m", "rlllm_cli", *words, *settings, "--output-dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    logged = [row for row in Run(tmp_path / "run").metrics() if "sync/seconds" in row]
    assert len(logged) == 4
    assert all(row["sync/mean_abs_dlogp"] < largest for row in logged)
