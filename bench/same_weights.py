"""Whether two checkouts train the same weights, to the bit: short runs of many methods, under each, and their hashes.

One thread and a fixed choice of oneDNN, since both change the last bits of every sum. A run that differs is listed with both
hashes; the exit code is 1 if any does.

    python bench/same_weights.py --old ../before --new . [--only grpo dpo] [--steps 12]

A checkout is a folder whose `.venv` has rlllm installed from it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ONLINE = "--data arithmetic --reward gold --learning_rate 1e-4"
RUNS = {
    "sft": "sft quickstart",
    "train-rm": "train-rm quickstart",
    **{name: f"align quickstart --method {name}" for name in ("dpo", "kto", "simpo", "orpo", "cpo", "tpo", "rrhf")},
    **{name: f"align --method {name} {ONLINE}" for name in ("ppo", "remax", "online-dpo")},
    **{
        name: f"reason quickstart --method {name}"
        for name in ("grpo", "gspo", "dapo", "gmpo", "kl-cov", "luffy", "rloo", "clip-cov", "cispo", "sapo", "vespo")
    },
    "grpo-kl": "reason quickstart --method grpo beta=0.04",
    "grpo-reused": "reason quickstart --method grpo num_iterations=2",
}
"""Name of a run -> its command line."""
WITH_ONEDNN = """
import sys
from importlib import import_module
words, chosen = sys.argv[1:], True
for name in ("rlllm.launch.local", "rlllm.launch.products", "rlllm.launch.onednn"):
    try:
        module = import_module(name)
    except ImportError:
        continue
    if hasattr(module, "onednn_pays"):
        module.onednn_pays, chosen = lambda: True, False
if chosen:  # checkouts since 2026-11-28 have a setting
    words.append("hardware.matmul=onednn")
from rlllm_cli.main import run
sys.exit(run(words))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, required=True)
    parser.add_argument("--new", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=RUNS, default=list(RUNS))
    parser.add_argument("--steps", type=int, default=12)
    chosen = parser.parse_args()
    differing = 0
    for name in chosen.only:
        words = [*RUNS[name].split(), "--max_steps", str(chosen.steps), "--seed", "0", "eval.rows=8"]
        old, new = (weights_of(checkout, words) for checkout in (chosen.old, chosen.new))
        differing += old != new
        print(json.dumps({"run": name, "equal": old == new, "old": old, "new": new}), flush=True)
    sys.exit(1 if differing else 0)


def weights_of(checkout: Path, words: list[str]) -> str:
    """Hash of the weights that a run saves; the last line it printed if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(checkout.resolve() / ".venv/bin/python"), "-c", WITH_ONEDNN, *words, "--output-dir", f"{folder}/run"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        files = sorted(Path(folder, "run", "model").glob("*.safetensors"))
        if done.returncode or not files:
            return (done.stdout + done.stderr).strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        digest = hashlib.sha256()
        for file in files:
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]


if __name__ == "__main__":
    main()
