"""Tokens a second of one process, without a launcher, and of two under torchrun, on the same rows a step.

    python bench/scaling.py [--steps 12 --rows 32 --new 48] [--output docs/results/scaling.json]

`sft` and `reason` on nano, one thread a process, nothing measured before or after. Tokens and time are those between the first
logged step, which pays for warming up, and the last. Needs two idle cores; less than six minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from results_file import TRAINING, add_output, write_results

from rlllm.core.runs import Run

COUNTS = (1, 2)
GROUP = 8
"""Completions of a prompt."""


def program(processes: int) -> list[str]:
    """What starts the command line in so many processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return [sys.executable, *(launcher if processes > 1 else []), "-m", "rlllm_cli"]


def settings(verb: str, given: argparse.Namespace, processes: int) -> list[str]:
    """The words of a verb; the rows of a step are shared by the processes."""
    words = ["--model", "nano", "--data", "arithmetic", "data.holdout=0", "eval.rows=0", "save_strategy=no"]
    words += [f"max_steps={given.steps}", "logging_steps=1", "gradient_accumulation_steps=1"]
    words += [f"per_device_train_batch_size={given.rows // processes}"]
    if verb == "reason":
        words += [f"num_generations={GROUP}", f"max_completion_length={given.new}", "stop_when_flat=0"]
    return words


def measured(verb: str, given: argparse.Namespace, processes: int, folder: Path) -> dict[str, Any]:
    """Tokens and seconds of one run, and how many a second."""
    output = folder / f"{verb}-{processes}"
    words = [verb, *settings(verb, given, processes), "--output-dir", str(output)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([*program(processes), *words], env=environment, capture_output=True, text=True)
    rows = [row for row in Run(output).metrics() if "num_tokens" in row]
    if len(rows) < given.steps:
        raise SystemExit(f"{verb} with {processes} processes ended after {len(rows)} steps:\n{ended.stderr}")
    tokens, seconds = (rows[-1][name] - rows[0][name] for name in ("num_tokens", "time"))
    return {"tokens": tokens, "seconds": round(seconds, 2), "tokens_per_second": round(tokens / seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rows", type=int, default=32, help="of an optimizer step, over all processes")
    parser.add_argument("--new", type=int, default=48, help="tokens of a completion at most")
    add_output(parser)
    given = parser.parse_args()
    if given.rows % (GROUP * max(COUNTS)):
        parser.error(f"--rows is a multiple of {GROUP * max(COUNTS)}: every process takes whole groups of {GROUP}")
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            verb: {str(count): measured(verb, given, count, Path(folder)) for count in COUNTS}
            for verb in ("sft", "reason")
        }
    for verb, counts in runs.items():
        one, two = (counts[str(count)]["tokens_per_second"] for count in COUNTS)
        counts["speedup"] = round(two / one, 3)
        print(f"{verb}: {one:,.0f} tokens/s in one process, {two:,.0f} in two: {two / one:.2f}")
    results = {"steps": given.steps, "rows": given.rows, "new": given.new, "cores": os.cpu_count(), **runs}
    write_results(given.output, results, sources=TRAINING, threads=1)


if __name__ == "__main__":
    main()
