"""Every method of the loop on one task at equal sampled tokens: the table of docs/reason.md.

    python bench/reason_methods.py run [--methods grpo dapo ...] [--seeds 0 1 2 3 4] [--workers 1]
    python bench/reason_methods.py table

Each run starts from `nano` and reinforces two-digit sums (arithmetic, level 2) until it has seen TOKENS tokens, prompts and
rejected completions included. Its seed draws prompts, batches and samples; the data is the same. pass@1 and pass@8 are of 8
samples for each of 256 held-out prompts, entropy is the mean of the last ten steps. Runs are kept in runs/reason-methods and
not repeated. One thread a run, so that several may share a machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import t

ROOT = Path("runs/reason-methods")
RLLLM = str(Path(sys.executable).with_name("rlllm"))
TOKENS = 200_000
DATA = ["--data", "arithmetic", "data.level=2", "data.rows=2000", "data.holdout=256"]
TRAINER = {
    "learning_rate": 2e-4,
    "max_steps": 400,
    "per_device_train_batch_size": 64,
    "lr_scheduler_type": "constant",
    "save_strategy": "no",
}
EXACT = ["--reward", "exact", "--reward", "{name: format, weight: 0.1}"]
WATCHED = ["--reward", "{name: exact, weight: 0}"]
METHODS: dict[str, list[str]] = {
    "grpo": [],
    "dr-grpo": [],
    "bnpo": [],
    "gspo": [],
    "cispo": [],
    "sapo": [],
    "luspo": [],
    "vespo": [],
    "gmpo": [],
    "rloo": [],
    "remax": [],
    "reinforce++": [],
    "reinforce++-baseline": [],
    "lite-ppo": [],
    "dapo": [],
    "clip-cov": [],
    "kl-cov": [],
    "entropy-80-20": [],
    "adaptive-entropy": [],
    "hints": [],
    "luffy": [],
    "replay": [],
    "pass-band": [],
}
LABEL_FREE: dict[str, list[str]] = {"ttrl": ["--reward", "majority"], "intuitor": [], "entropy-min": []}


def words(method: str) -> list[str]:
    """What a method's command says besides data, trainer and measuring."""
    if method in LABEL_FREE:
        return [*WATCHED, *LABEL_FREE[method]]
    return [*EXACT, *METHODS[method]]


def command(method: str, seed: int, output: Path) -> list[str]:
    """The command of one run."""
    settings = [f"{key}={value}" for key, value in TRAINER.items()]
    measured = ["rollout.max_new_tokens=96", "eval.rows=256", "eval.samples=8", f"max_tokens={TOKENS}"]
    place = ["--seed", str(seed), "--output-dir", str(output), "--overwrite"]
    return [RLLLM, "reason", "--model", "nano", "--method", method, *words(method), *DATA, *settings, *measured, *place]


def run(method: str, seed: int) -> None:
    """One run, unless it is there; its wall time beside it."""
    output = ROOT / method / f"seed-{seed}"
    if (output / "seconds.json").exists():
        return
    started = time.monotonic()
    done = subprocess.run(command(method, seed, output), capture_output=True, text=True, env=environment())
    print(method, seed, f"exit {done.returncode}", f"{time.monotonic() - started:.0f} s", flush=True)
    if done.returncode:
        print(done.stderr[-2000:], flush=True)
        return
    (output / "seconds.json").write_text(json.dumps(time.monotonic() - started))


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def pass_at(scores: list[list[float]], k: int) -> float:
    """Unbiased pass@k: of the ways to draw k of a problem's samples, the share with a right one."""
    from math import comb

    values = []
    for row in scores:
        wrong = len(row) - sum(row)
        values.append(1 - comb(int(wrong), k) / comb(len(row), k))
    return mean(values)


def facts(folder: Path) -> dict[str, float]:
    """The numbers of one run."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    measured = {when: json.loads((folder / f"measured_{when}.json").read_text())[0] for when in ("before", "after")}
    last = rows[-10:]
    return {
        "before@1": pass_at(measured["before"]["scores"], 1),
        "before@8": pass_at(measured["before"]["scores"], 8),
        "pass@1": pass_at(measured["after"]["scores"], 1),
        "pass@8": pass_at(measured["after"]["scores"], 8),
        "entropy": mean(row["entropy"] for row in last),
        "length": mean(row["completions/mean_length"] for row in last),
        "flat": mean(row["frac_reward_zero_std"] for row in rows),
        "steps": len(rows),
        "tokens": rows[-1]["num_tokens"],
        "training seconds": rows[-1]["time"],
        "seconds": json.loads((folder / "seconds.json").read_text()),
    }


def interval(values: list[float]) -> str:
    """Mean and half width of the 95 % t interval over seeds."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    half = t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.3f} ± {half:.3f}"


def table(methods: list[str]) -> None:
    columns = ("pass@1", "pass@8", "entropy", "length", "flat", "steps", "training seconds")
    print("| method | seeds | " + " | ".join(columns) + " | pass@1 over grpo |")
    print("|" + "---|" * (len(columns) + 3))
    baseline = {seed: facts(ROOT / "grpo" / f"seed-{seed}") for seed in range(10) if finished("grpo", seed)}
    for method in methods:
        seeds = [seed for seed in range(10) if finished(method, seed)]
        if not seeds:
            continue
        found = [facts(ROOT / method / f"seed-{seed}") for seed in seeds]
        cells = [interval([one[column] for one in found]) for column in columns[:3]]
        cells += [
            f"{mean(one[column] for one in found):.{digits}f}"
            for column, digits in zip(columns[3:], (0, 2, 0, 0), strict=True)
        ]
        paired = [
            one["pass@1"] - baseline[seed]["pass@1"] for seed, one in zip(seeds, found, strict=True) if seed in baseline
        ]
        over = interval(paired) if paired and method != "grpo" else ""
        print(f"| {method} | {len(seeds)} | " + " | ".join(cells) + f" | {over} |")
    start = [facts(ROOT / "grpo" / f"seed-{seed}") for seed in baseline]
    if start:
        print(
            "start: pass@1",
            interval([one["before@1"] for one in start]),
            "pass@8",
            interval([one["before@8"] for one in start]),
        )


def finished(method: str, seed: int) -> bool:
    return (ROOT / method / f"seed-{seed}" / "seconds.json").exists()


def main() -> None:
    everything = [*METHODS, *LABEL_FREE]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--methods", nargs="+", default=everything, choices=everything)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    if given.what == "table":
        table(given.methods)
        return
    with ThreadPoolExecutor(given.workers) as pool:
        list(pool.map(lambda job: run(*job), [(method, seed) for seed in given.seeds for method in given.methods]))


if __name__ == "__main__":
    main()
