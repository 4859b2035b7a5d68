"""Alignment methods on one preference world with one learned reward model: the table of docs/align.md.

    python bench/align_methods.py run [--methods dpo ppo ...] [--seeds 0 1 2 3 4] [--workers 1]
    python bench/align_methods.py table
    python bench/align_methods.py frontier

`frontier` compares online methods at equal distance: the gold utility of their rollouts, step by step, by the KL they had from
the start. Every run starts from `nano`; its seed draws data, batches and samples. Offline methods take 60 steps of 32 noisily
labelled pairs (KTO: 64 labels), online methods 60 steps of 64 sampled completions scored by the reward model. Runs are kept
in runs/align-methods and not repeated. One thread a run, so that several may share a machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import t

ROOT = Path("runs/align-methods")
REWARD_MODEL = ROOT / "reward-model"
RLLLM = str(Path(sys.executable).with_name("rlllm"))
OFFLINE = {"max_steps": 60, "per_device_train_batch_size": 32, "warmup_steps": 10, "lr_scheduler_type": "cosine"}
ONLINE = {"max_steps": 60, "per_device_train_batch_size": 64, "lr_scheduler_type": "linear"}
METHODS: dict[str, dict[str, object]] = {
    "dpo": {**OFFLINE, "learning_rate": 1e-4},
    "kto": {**OFFLINE, "learning_rate": 3e-5, "per_device_train_batch_size": 64},
    "simpo": {**OFFLINE, "learning_rate": 1e-4},
    "orpo": {**OFFLINE, "learning_rate": 3e-4},
    "online-dpo": {**ONLINE, "learning_rate": 7e-5},
    "rloo": {**ONLINE, "learning_rate": 7e-5},
    "grpo": {**ONLINE, "learning_rate": 7e-5, "beta": 0.05},
    "ppo": {**ONLINE, "learning_rate": 7e-5},
}
EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
MEASURES = ("gold utility", "model utility", "KL from the start")


def command(method: str, seed: int, output: Path, settings: dict[str, object]) -> list[str]:
    """The command of one run."""
    data = ["--data", "arithmetic", "data.level=2", "data.rows=1920", "data.holdout=256", f"data.seed={seed}"]
    measured = ["rollout.max_new_tokens=96", "eval.rows=256", "eval.samples=4", "save_strategy=no"]
    place = ["--seed", str(seed), "--output-dir", str(output), "--overwrite"]
    words = [f"{key}={value}" for key, value in settings.items()]
    return [RLLLM, "align", "--method", method, "--reward", str(REWARD_MODEL), *data, *measured, *words, *place]


def train_reward_model() -> None:
    if (REWARD_MODEL / "verdict.json").exists():
        return
    subprocess.run([RLLLM, "train-rm", "quickstart", "--output-dir", str(REWARD_MODEL)], check=True, env=environment())


def run(method: str, seed: int) -> None:
    """One run, unless it is there; its wall time beside it."""
    output = ROOT / method / f"seed-{seed}"
    if (output / "seconds.json").exists():
        return
    started = time.monotonic()
    done = subprocess.run(
        command(method, seed, output, METHODS[method]), capture_output=True, text=True, env=environment()
    )
    print(method, seed, f"exit {done.returncode}", f"{time.monotonic() - started:.0f} s", flush=True)
    if done.returncode:
        print(done.stderr[-2000:], flush=True)
        return
    (output / "seconds.json").write_text(json.dumps(time.monotonic() - started))


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def measured(method: str) -> list[dict[str, tuple[float | None, float]]]:
    """For each finished seed: measure -> (before, after), and the seconds."""
    found = []
    for path in sorted((ROOT / method).glob("seed-*/seconds.json")):
        rows = json.loads(path.with_name("results.json").read_text())["measures"]
        values = {row["name"]: (row["before"] and row["before"]["estimate"], row["after"]["estimate"]) for row in rows}
        found.append({**values, "seconds": (None, json.loads(path.read_text()))})
    return found


def over_seeds(values: list[float]) -> str:
    """Mean and 95 % interval (Student's t over seeds)."""
    if len(values) < 2:
        return f"{values[0]:.3f}" if values else ""
    half = t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.3f} ± {half:.3f}"


def table() -> None:
    print("| method | seeds | gold utility | training reward | KL (nats a completion) | s |")
    print("|---|---|---|---|---|---|")
    runs = {method: measured(method) for method in METHODS}
    starts = [one for method in runs.values() for one in method[:5]][:5]
    base = [over_seeds([start for one in starts if (start := one[name][0]) is not None]) for name in MEASURES[:2]]
    print(f"| base | {len(starts)} | {' | '.join(base)} | 0 | |")
    for method, found in runs.items():
        if found:
            cells = [over_seeds([one[name][1] for one in found]) for name in MEASURES]
            print(f"| {method} | {len(found)} | {' | '.join(cells)} | {mean(one['seconds'][1] for one in found):.0f} |")


def frontier() -> None:
    """Gold utility of rollouts by KL from the start: mean over the steps of each seed, then over seeds."""
    methods = ("online-dpo", "rloo", "grpo", "ppo")
    print(f"| KL (nats) | {' | '.join(methods)} |\n|---|{'---|' * len(methods)}")
    for low, high in pairwise(EDGES):
        cells = []
        for method in methods:
            seeds = [steps_between(path, low, high) for path in sorted((ROOT / method).glob("seed-*/metrics.jsonl"))]
            cells.append(over_seeds([mean(values) for values in seeds if values]))
        print(f"| {low} to {high} | {' | '.join(cells)} |")


def steps_between(path: Path, low: float, high: float) -> list[float]:
    """Gold utility of the steps of one run whose KL lies in [low, high)."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row["rewards/gold/mean"] for row in rows if low <= row["kl_per_completion"] < high]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table", "frontier"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if options.what == "run":
        train_reward_model()
        jobs = [(method, seed) for seed in options.seeds for method in options.methods]
        with ThreadPoolExecutor(options.workers) as pool:
            list(pool.map(lambda job: run(*job), jobs))
    frontier() if options.what == "frontier" else table()


if __name__ == "__main__":
    main()
