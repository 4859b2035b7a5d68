"""The demo over several seeds: what each stage gains, with 95 % intervals, as a Markdown table on stdout.

python bench/lifecycle.py [SEED ...]        (default 0 1 2; the runs stay in runs/lifecycle)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path("runs/lifecycle")


def run_demo(seed: int) -> tuple[list[dict], float]:
    """Summary rows of one demo and its wall time in seconds."""
    out = ROOT / f"seed-{seed}"
    command = [str(Path(sys.executable).with_name("rlllm")), "demo", "--seed", str(seed), "--output-dir", str(out)]
    with tempfile.TemporaryDirectory() as cache:  # completions kept from an earlier run would cost no time
        started = time.monotonic()
        environment = {**os.environ, "RLLLM_CACHE": cache}
        subprocess.run([*command, "--overwrite"], check=True, stdout=subprocess.DEVNULL, env=environment)
        seconds = time.monotonic() - started
    return json.loads((out / "pipeline.json").read_text())["summary"], seconds


def interval(value: dict | None) -> str:
    if value is None:
        return ""
    ends = [value["low"], value["high"]]
    return f"{value['estimate']:.3f}" + ("" if None in ends else " [{:.3f}, {:.3f}]".format(*ends))


def main() -> None:
    print("| seed | step | measure | before | after | change | s |")
    print("|---|---|---|---|---|---|---|")
    for seed in [int(word) for word in sys.argv[1:]] or [0, 1, 2]:
        rows, seconds = run_demo(seed)
        for row in rows:
            cells = [interval(row[key]) for key in ("before", "after", "difference")]
            print(f"| {seed} | {row['stage']} | {row['measure']} | {' | '.join(cells)} | {row['seconds']:.0f} |")
        print(f"| {seed} | all | | | | | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
