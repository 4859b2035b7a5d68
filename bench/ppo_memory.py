"""Peak memory of PPO with four models, with adapters, and with all four on one frozen backbone, in one run.

    python bench/ppo_memory.py MODEL        (a folder with a causal language model)

Policy, reference, critic and reward model all have MODEL's size. The reward model is trained for two steps with adapters, so
that each mode can use it. Two steps of eight completions of up to 48 tokens; the peak is the process's resident memory, and
`import` is that of a process that only plans the same run and loads the libraries. Needs a CPU; on a GPU the peak is elsewhere.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from results_file import TRAINING, add_output, write_results

RLLLM = str(Path(sys.executable).with_name("rlllm"))
DATA = ["--data", "arithmetic", "data.rows=64", "data.holdout=0"]
STEPS = ["max_steps=2", "save_strategy=no"]
LORA = ["lora.r=16"]
MODES = {
    "four models, all weights": [],
    "policy by adapters; reference is its base; critic and reward model apart": LORA,
    "one backbone, four adapters": [*LORA, "critic.share_backbone=true"],
}
IMPORT = "import rlllm.algorithms.rl_trainer, rlllm.algorithms.ppo.critic, peft"


def peak(command: list[str]) -> float:
    """Peak resident memory (GB) of a command, which has to succeed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}\n{said[-2000:]}")
    return usage.ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    add_output(parser)
    given = parser.parse_args()
    used = {"libraries alone": peak([sys.executable, "-c", IMPORT])}
    with tempfile.TemporaryDirectory() as folder:
        reward = f"{folder}/reward"
        words = ["--model", given.model, *DATA, *STEPS, *LORA, "per_device_train_batch_size=4", "--output-dir", reward]
        peak([RLLLM, "train-rm", *words])
        shared = ["--model", given.model, "--reward", reward, *DATA, *STEPS, "rollout.max_new_tokens=48"]
        for index, (name, settings) in enumerate(MODES.items()):
            output = ["--output-dir", f"{folder}/{index}", "per_device_train_batch_size=8"]
            used[name] = peak([RLLLM, "align", "--method", "ppo", *shared, *output, *settings])
    print("| mode | peak GB |\n|---|---|")
    for name, gigabytes in used.items():
        print(f"| {name} | {gigabytes:.2f} |")
    modes = [{"mode": name, "peak_gb": gigabytes} for name, gigabytes in used.items()]
    write_results(given.output, {"model": Path(given.model).name, "modes": modes}, sources=TRAINING)


if __name__ == "__main__":
    main()
