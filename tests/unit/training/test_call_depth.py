"""The way from the command line to the trainer is short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

STACK = """
import os, traceback, transformers

def train(self, *args, **options):
    ours = [frame.name for frame in traceback.extract_stack() if "/rlllm" in frame.filename]
    print(*ours, flush=True)
    os._exit(0)

transformers.Trainer.train = train
from rlllm_cli.main import run
run(["reason", "--model", {model!r}, "data.rows=16", "data.holdout=0", "max_new_tokens=4", "max_steps=1"])
"""


def test_at_most_eight_frames_of_ours_lie_between_the_command_and_the_training_loop(
    tiny_model: str, tmp_path: Path
) -> None:
    code = STACK.format(model=tiny_model)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["run", "reason", "launch", "start", "run", "train", "_learn", "_fit"]
