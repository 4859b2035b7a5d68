"""What a method costs beyond GRPO: seconds of an optimizer step of `rlllm reason --method NAME`, in alternating runs.

    python bench/method_overhead.py [--methods ict,dasd,starpo,e3rl] [--pairs 5] [--output docs/results/method-overhead.json]

The work is `w1` of grpo_vs_trl.py: nano, 64 completions in groups of 8, up to 96 tokens. All runs have the same settings of
TRL, no KL term, and one update on each rollout, so that every step pays for the method's extra passes; e3rl's step has what it
erases in it. A step is the time from the first step's log line to the last one's over the steps between.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grpo_vs_trl import Job, Run, execute
from grpo_workloads import WORKLOADS
from results_file import TRAINING, add_output, write_results

BASELINE = "grpo"
W1 = next(work for work in WORKLOADS if work.name == "w1")
SOLUTION = "First the sacks of both buyers are added. The third took none, so that this is the sum."
"""Text that a teacher of the policy's own weights is shown."""


def measure(methods: Sequence[str], pairs: int, steps: int, scratch: Path) -> dict[str, list[Run]]:
    """Method -> its runs; in each pair all methods run once, the order reversed every other time."""
    data = scratch / "data" / "train.jsonl"
    data.parent.mkdir()
    rows = [{**row, "solution": SOLUTION} for row in W1.rows(steps)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    runs: dict[str, list[Run]] = {method: [] for method in methods}
    for index in range(pairs):
        for method in methods if index % 2 == 0 else methods[::-1]:
            further = (f"method={method}", "num_iterations=1", "steps_per_generation=1")
            job = Job(W1, W1.model(None, scratch), data, scratch / method, steps, index, "native", further)
            runs[method].append(execute(job, "rlllm"))
            print(
                f"pair {index + 1}: {method} {runs[method][-1].step_seconds:.3f} s a step", file=sys.stderr, flush=True
            )
    return runs


def compared(runs: dict[str, list[Run]]) -> list[dict[str, Any]]:
    """One row for each method: seconds and kept tokens of a step, and the ratio to the baseline's run of the same pair."""
    rows = []
    for method, own in runs.items():
        ratios = [run.step_seconds / base.step_seconds for run, base in zip(own, runs[BASELINE], strict=True)]
        row: dict[str, Any] = {"method": method}
        row["step_seconds"] = statistics.median(run.step_seconds for run in own)
        row["tokens_per_step"] = statistics.median(run.tokens_per_step for run in own)
        row["ratio"] = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="ict,dasd,starpo,e3rl", help="names, with commas between")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each method")
    parser.add_argument("--steps", type=int, default=W1.steps, help="optimizer steps of a run, 2 or more")
    add_output(parser)
    options = parser.parse_args()
    methods = [BASELINE, *options.methods.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        rows = compared(measure(methods, options.pairs, options.steps, Path(scratch)))
    for row in rows:
        ratio = row["ratio"]
        spread = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
        print(f"{row['method']:10} {row['step_seconds']:.3f} s, x {spread}")
    results = {"methods": rows, "pairs": options.pairs}
    write_results(options.output, results, sources=[*TRAINING, "bench/grpo_workloads.py"], threads=None)


if __name__ == "__main__":
    main()
