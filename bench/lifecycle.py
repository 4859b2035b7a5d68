"""The demo over several seeds: what each stage gains, with 95 % intervals: docs/lifecycle.md and the pages of methods.

python bench/lifecycle.py [SEED ...] [--output FILE]        (default 0 1 2; the runs stay in runs/lifecycle)
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from results_file import TRAINING, add_output, write_results

ROOT = Path("runs/lifecycle")


def run_demo(seed: int) -> tuple[list[dict[str, Any]], float]:
    """Summary rows of one demo and its wall time in seconds."""
    out = ROOT / f"seed-{seed}"
    command = [str(Path(sys.executable).with_name("rlllm")), "demo", "--seed", str(seed), "--output-dir", str(out)]
    with tempfile.TemporaryDirectory() as cache:  # completions kept from an earlier run would cost no time
        started = time.monotonic()
        environment = {**os.environ, "RLLLM_CACHE": cache}
        subprocess.run([*command, "--overwrite"], check=True, stdout=subprocess.DEVNULL, env=environment)
        seconds = time.monotonic() - started
    return json.loads((out / "pipeline.json").read_text())["summary"], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", metavar="SEED", nargs="*", type=int, default=[0, 1, 2])
    add_output(parser)
    given = parser.parse_args()
    measures, totals = [], {}
    for seed in given.seeds:
        rows, totals[str(seed)] = run_demo(seed)
        measures += [{"seed": seed, **row} for row in rows]
        print(json.dumps({"seed": seed, "seconds": totals[str(seed)], "summary": rows}), flush=True)
    results = {"measures": measures, "seconds": totals}
    write_results(given.output, results, sources=[*TRAINING, "recipes"], runs=ROOT)


if __name__ == "__main__":
    main()
