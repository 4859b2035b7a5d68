"""Every method of the loop on one task at equal sampled tokens: the table of docs/reason.md.

    python bench/reason_methods.py run [--methods grpo dapo ...] [--seeds 0 1 2 3 4] [--workers 1]
    python bench/reason_methods.py table [--timed 5]

Each run starts from `nano` and reinforces 96 two-digit sums (arithmetic, level 2) until it has seen TOKENS tokens, prompts and
rejected completions included. A rollout of 64 completions makes four optimizer steps, so that ratios leave 1 and prompts come
again. A seed draws prompts, batches and samples; the data is the same. pass@1 and pass@8 are of 8
samples for each of 256 held-out prompts, entropy is the mean of the last ten steps. Runs are kept in runs/reason-methods and
not repeated. One thread a run, so that several may share a machine; wall time is kept beside each run, and compares only where
nothing else ran: `--timed` names a further seed, run for that, whose seconds the table shows.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from math import comb
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t

ROOT = Path("runs/reason-methods")
TOKENS = 100_000
TASK: dict[str, Any] = {
    "model": "nano",
    "data": {"name": "arithmetic", "level": 2, "rows": 96, "holdout": 256},
    "rollout": {"max_new_tokens": 96},
    "eval": {"rows": 256, "samples": 8},
    "max_tokens": TOKENS,
    "max_steps": 1000,
    "learning_rate": 1e-4,
    "per_device_train_batch_size": 16,
    "steps_per_generation": 4,
    "lr_scheduler_type": "constant",
    "save_strategy": "no",
}
EXACT: list[Any] = ["exact", {"name": "format", "weight": 0.1}]
MONITORED: list[Any] = [{"name": "exact", "weight": 0.0}]
METHODS: dict[str, list[Any]] = {
    **dict.fromkeys(
        (
            *("grpo", "dr-grpo", "bnpo", "gspo", "gmpo", "luspo", "cispo", "sapo", "vespo"),
            *("rloo", "remax", "reinforce++", "reinforce++-baseline", "lite-ppo"),
            *("dapo", "clip-cov", "kl-cov", "entropy-80-20", "adaptive-entropy"),
            *("hints", "luffy", "replay", "pass-band"),
        ),
        EXACT,
    ),
    "ttrl": [*MONITORED, "majority"],
    "intuitor": MONITORED,
    "entropy-min": MONITORED,
}
"""Method -> rewards. Those without labels watch the exact match, which is what pass@1 is measured by."""
DYNAMIC = "grpo sampler=dynamic"
METHODS[DYNAMIC] = EXACT


def run(method: str, seed: int) -> str:
    """One run, unless it is there; its wall time beside it. Returns what to print."""
    import rlllm

    output = ROOT / method / f"seed-{seed}"
    if finished(method, seed):
        return f"{method} {seed}: is there"
    started = time.monotonic()
    name, *parts = method.split()
    settings = TASK | dict(part.split("=") for part in parts)
    done = rlllm.reason(method=name, rewards=METHODS[method], seed=seed, output_dir=output, overwrite=True, **settings)
    seconds = time.monotonic() - started
    if not done.ok:
        return f"{method} {seed}: {done.verdict['reasons']}"
    (output / "seconds.json").write_text(json.dumps(seconds))
    return f"{method} {seed}: {seconds:.0f} s"


def attempt(job: tuple[str, int]) -> str:
    """`run` of one job; a run that raises is told and does not end the others."""
    try:
        return run(*job)
    except Exception as error:
        return f"{job[0]} {job[1]}: {error!r}"


def pass_at(scores: list[list[float]], k: int) -> float:
    """Unbiased pass@k: of the ways to draw k of a problem's samples, the share with a right one."""
    values = []
    for row in scores:
        wrong = len(row) - sum(row)
        values.append(1 - comb(int(wrong), k) / comb(len(row), k))
    return mean(values)


def diagnostics(folder: Path) -> dict[str, float]:
    """The numbers of one run."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    measured = {when: json.loads((folder / f"measured_{when}.json").read_text())[0] for when in ("before", "after")}
    rollouts = [row for row in rows if "completions/mean_length" in row]
    last = rows[-10:]
    return {
        "before@1": pass_at(measured["before"]["scores"], 1),
        "before@8": pass_at(measured["before"]["scores"], 8),
        "pass@1": pass_at(measured["after"]["scores"], 1),
        "pass@8": pass_at(measured["after"]["scores"], 8),
        "entropy": mean(row["entropy"] for row in last),
        "length": mean(row["completions/mean_length"] for row in rollouts[-10:]),
        "flat": mean(row["frac_reward_zero_std"] for row in rollouts),
        "steps": len(rows),
        "kept": mean(row.get("sampling/kept_share", 1.0) for row in rollouts),
        "extra": sum(row.get("sampling/extra_tokens", 0.0) for row in rollouts) / rollouts[-1]["num_tokens"],
        "tokens": rollouts[-1]["num_tokens"],
    }


def interval(values: list[float]) -> str:
    """Mean and half width of the 95 % t interval over seeds."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    half = t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.3f} ± {half:.3f}"


def seconds(method: str, seed: int | None) -> str:
    """Wall seconds of one run, evaluation before and after included."""
    path = ROOT / method / f"seed-{seed}" / "seconds.json"
    return f"{json.loads(path.read_text()):.0f}" if path.exists() else ""


def table(methods: list[str], timed: int | None) -> None:
    columns = ("pass@1", "pass@8", "entropy", "length", "flat", "steps")
    print("| method | seeds | " + " | ".join(columns) + " | wall s | pass@1 over grpo |")
    print("|" + "---|" * (len(columns) + 4))
    counted = [seed for seed in range(10) if seed != timed]
    baseline = {seed: diagnostics(ROOT / "grpo" / f"seed-{seed}") for seed in counted if finished("grpo", seed)}
    for method in methods:
        seeds = [seed for seed in counted if finished(method, seed)]
        if not seeds:
            continue
        found = [diagnostics(ROOT / method / f"seed-{seed}") for seed in seeds]
        cells = [interval([one[column] for one in found]) for column in columns[:3]]
        cells += [
            f"{mean(one[column] for one in found):.{digits}f}"
            for column, digits in zip(columns[3:], (0, 2, 0), strict=True)
        ]
        paired = [
            one["pass@1"] - baseline[seed]["pass@1"] for seed, one in zip(seeds, found, strict=True) if seed in baseline
        ]
        over = interval(paired) if paired and method != "grpo" else ""
        print(f"| {method} | {len(seeds)} | " + " | ".join(cells) + f" | {seconds(method, timed)} | {over} |")
    for method in set(methods) & {"dapo", DYNAMIC}:
        found = [diagnostics(ROOT / method / f"seed-{seed}") for seed in counted if finished(method, seed)]
        if found:
            kept, extra = (mean(one[name] for one in found) for name in ("kept", "extra"))
            print(f"{method}: {kept:.0%} of the groups drawn were kept; {extra:.0%} of the tokens went into the others")
    start = list(baseline.values())
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--timed", type=int)
    given = parser.parse_args()
    if given.what == "table":
        table(given.methods, given.timed)
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # read when a worker imports torch
    jobs = [(method, seed) for seed in given.seeds for method in given.methods]
    with multiprocessing.get_context("spawn").Pool(given.workers, maxtasksperchild=8) as pool:
        for said in pool.imap_unordered(attempt, jobs):
            print(said, flush=True)


if __name__ == "__main__":
    main()
