"""RPT, RLP, RLP with random thoughts, and plain training on equal tokens of a text, on the embedded model.

nano has read no text, so each seed begins with plain training on the text, and the four runs start from that model. They end at
the same number of tokens of prompts and completions (`max_tokens`), and are measured on the same held-out positions, those that
the model they start from is uncertain of.

    python bench/pretrain.py --output docs/results/pretrain.json
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results_file import TRAINING, add_output, write_results

import rlllm
from rlllm.core.runs import Run

ARMS: Mapping[str, Mapping[str, Any]] = {
    "plain": {"method": "plain", "learning_rate": 2e-4, "per_device_train_batch_size": 32},
    "rpt": {"method": "rpt", "rollout": {"max_new_tokens": 16}, "learning_rate": 2e-4},
    "rlp": {"method": "rlp", "rollout": {"max_new_tokens": 16}, "learning_rate": 2e-4},
    "rlp, random thoughts": {
        "method": "rlp",
        "rollout": {"max_new_tokens": 16},
        "learning_rate": 2e-4,
        "advantage": {"thoughts": "others"},
    },
}
_T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Quantile of Student's t for a 95 % interval of the mean over so many seeds."""


def main() -> None:
    """Make the runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="seeds, from 0 on")
    parser.add_argument("--warm-steps", type=int, default=600, help="steps of plain training before the comparison")
    parser.add_argument("--tokens", type=int, default=600_000, help="tokens of prompts and completions of each run")
    parser.add_argument("--rows", type=int, default=4000, help="training positions")
    parser.add_argument("--holdout", type=int, default=512, help="held-out positions")
    parser.add_argument("--runs", type=Path, help="where the run directories go; default: a folder that is removed")
    add_output(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = options.runs or Path(folder)
        seeds = [_of_seed(seed, base, options) for seed in range(options.seeds)]
        results = {"tokens": options.tokens, "warm_steps": options.warm_steps, "seeds": seeds, "arms": _joined(seeds)}
        for name, row in results["arms"].items():
            print(f"{name:22} {row}")
        write_results(options.output, results, sources=TRAINING, threads=1, runs=base)


def _of_seed(seed: int, base: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The runs of one seed: name of the arm -> its measures and seconds."""
    data = {"name": "text:rlllm", "rows": options.rows, "holdout": options.holdout, "seed": seed}
    shared: dict[str, Any] = {
        "data": data,
        "seed": seed,
        "eval": {"rows": options.holdout, "samples": 1},
        "allow": ["all"],
    }
    warm = rlllm.pretrain(
        model="nano",
        method="plain",
        output_dir=base / f"warm-{seed}",
        learning_rate=1e-3,
        max_steps=options.warm_steps,
        per_device_train_batch_size=32,
        **shared,
    )
    rows = {}
    for name, settings in ARMS.items():
        began = time.monotonic()
        run = rlllm.pretrain(
            model=str(warm.path),
            output_dir=base / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}",
            max_tokens=options.tokens,
            max_steps=100_000,
            **shared,
            **settings,
        )
        rows[name] = {"seconds": round(time.monotonic() - began), "measures": _measures(run)}
        print(f"seed {seed} {name}: {rows[name]['seconds']} s, {run.outcome}", flush=True)
    return rows


def _measures(run: Run) -> dict[str, Any]:
    return {
        row["name"]: {part: row[part] for part in ("before", "after", "difference")} for row in run.results["measures"]
    }


def _joined(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each arm and measure: the mean after training over seeds, and the mean difference from plain with its interval."""
    rows: dict[str, Any] = {}
    for arm in ARMS:
        rows[arm] = {}
        for measure in seeds[0][arm]["measures"]:
            after = [seed[arm]["measures"][measure]["after"]["estimate"] for seed in seeds]
            plain = [seed["plain"]["measures"][measure]["after"]["estimate"] for seed in seeds]
            rows[arm][measure] = {"after": statistics.mean(after), "over plain": _interval(after, plain)}
    return rows


def _interval(values: Sequence[float], others: Sequence[float]) -> dict[str, Any]:
    """The mean paired difference over seeds, with Student's 95 % interval where there are several."""
    gaps = [value - other for value, other in zip(values, others, strict=True)]
    mean = statistics.mean(gaps)
    if len(gaps) not in _T95:
        return {"estimate": mean, "low": None, "high": None, "n": len(gaps)}
    half = _T95[len(gaps)] * statistics.stdev(gaps) / math.sqrt(len(gaps))
    return {"estimate": mean, "low": mean - half, "high": mean + half, "n": len(gaps)}


if __name__ == "__main__":
    main()
