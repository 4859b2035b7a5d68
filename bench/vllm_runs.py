"""GRPO with a real vLLM server: how long a sync with its proof takes, and how far sampler and trainer are apart.

    SMOLLM2=FOLDER RLLLM_TEST_VLLM=VENV python bench/vllm_runs.py --smollm2 $SMOLLM2 --output docs/results/vllm-runs.json

The trainer computes in float32, the server in float32 or bfloat16. The mismatch is what the runs log: of every
token of a completion with a gradient, mean over the steps; `ratio_min` and `ratio_max` are the smallest and the largest of
all. Tokens a second are those of the server, asked for 32 completions of 64 tokens at once after the run. Reward is the
number of letters, so that completions of one prompt differ.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from results_file import add_output, write_results
from vllm_server import untied, vllm_serve, vllm_venv

import rlllm
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.loading import open_engine

SOURCES = ["src/rlllm/rollouts/engines/served", "src/rlllm/algorithms/mismatch"]
REWARD = "def letters(sample): return float(sum(map(str.isalpha, sample.completion)))\n"
SHAPES: dict[str, dict[str, Any]] = {
    "nano": {"max_steps": 12, "per_device_train_batch_size": 16, "rollout.max_new_tokens": 32, "learning_rate": 1e-4},
    "SmolLM2-135M": {
        "max_steps": 3,
        "per_device_train_batch_size": 8,
        "rollout.max_new_tokens": 24,
        "learning_rate": 1e-5,
    },
}
TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-1}
"""Of the proof: what rounding in the server's format may make."""
MEANS = ("kl", "k3_kl", "ratio_mean", "ratio_fraction_outside", "chi2_token", "seq_ratio_fraction_outside")


def trained(url: str, model: Path, name: str, dtype: str, place: Path) -> rlllm.Run:
    """A run of GRPO that samples with the server."""
    (place / "rewards.py").write_text(REWARD)
    done = rlllm.reason(
        model=str(model),
        rewards=f"{place / 'rewards.py'}:letters",
        data={"name": "arithmetic", "rows": 64, "holdout": 0},
        output_dir=place / "run",
        num_generations=4,
        defaults="trl",
        logging_steps=1,
        save_strategy="no",
        **{
            "rollout.engine": "vllm-server",
            "rollout.servers": [url],
            "rollout.serving": {"folder": str(place / "weights"), "tolerance": TOLERANCE[dtype]},
            **SHAPES[name],
        },
    )
    if not done.carried_out:
        sys.exit(f"{name} with a server in {dtype} failed: {done.verdict}")
    return done


def speed(url: str, model: Path, place: Path, dtype: str) -> float:
    """Tokens a second of a server that has the weights."""
    source = resolve_model(str(model))
    sampling = SamplingConfig.checked(
        {
            "engine": "vllm-server",
            "servers": [url],
            "serving": {"folder": str(place / "speed"), "tolerance": TOLERANCE[dtype]},
            "max_new_tokens": 64,
        }
    )
    engine = open_engine("vllm-server", load_policy(source), load_tokenizer(source), sampling)
    engine.sync()
    prompts = [[60 + number, 61, 62, 63] for number in range(8) for _ in range(4)]
    started = time.monotonic()
    written = engine.generate(prompts, sampling)
    return sum(map(len, written)) / (time.monotonic() - started)


def numbers(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a run logged, in one row."""
    return {
        "steps": len(rows),
        "sync_seconds": median(row["sync/seconds"] for row in rows[1:]),
        "first_sync_seconds": rows[0]["sync/seconds"],
        "sync_mean_abs_dlogp": max(row["sync/mean_abs_dlogp"] for row in rows),
        "sync_max_abs_dlogp": max(row["sync/max_abs_dlogp"] for row in rows),
        "ratio_min": min(row["rollout_corr/ratio_min"] for row in rows),
        "ratio_max": max(row["rollout_corr/ratio_max"] for row in rows),
        "seq_ratio_min": min(row["rollout_corr/seq_ratio_min"] for row in rows),
        "seq_ratio_max": max(row["rollout_corr/seq_ratio_max"] for row in rows),
        **{name: fmean(row[f"rollout_corr/{name}"] for row in rows) for name in MEANS},
    }


def measured(venv: Path, reference: str, name: str, dtype: str, port: int) -> dict[str, Any]:
    """One model with one server."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = untied(place / "model", reference)
        with vllm_serve(venv, model, port, "--dtype", dtype) as url:
            rows = [row for row in trained(url, model, name, dtype, place).metrics() if "sync/seconds" in row]
            row = {
                "model": name,
                "server": dtype,
                **numbers(rows),
                "tokens_per_second": speed(url, model, place, dtype),
            }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2", metavar="FOLDER", help="the folder of SmolLM2-135M; without it nano alone is run")
    parser.add_argument("--port", type=int, default=8141)
    add_output(parser)
    arguments = parser.parse_args()
    venv = vllm_venv()
    torch.set_num_threads(1)
    models = {"nano": "nano", **({"SmolLM2-135M": arguments.smollm2} if arguments.smollm2 else {})}
    arms = [(name, dtype) for dtype in TOLERANCE for name in models]
    rows = [
        measured(venv, models[name], name, dtype, arguments.port + number) for number, (name, dtype) in enumerate(arms)
    ]
    write_results(arguments.output, {"arms": rows}, sources=SOURCES, threads=1)


if __name__ == "__main__":
    main()
