"""Few calls of ours stand between a command and TRL: who follows one in an editor arrives soon."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from source_graph import PACKAGES

MOST_FRAMES = 6
DRIVER = """
import json, sys, traceback
import transformers

def train(self, *args, **kwargs):
    print(json.dumps([[frame.filename, frame.name] for frame in traceback.extract_stack()[:-1]]))
    raise SystemExit(0)

transformers.Trainer.train = train
from rlllm_cli.main import run
run(sys.argv[1:])
"""


def test_a_command_reaches_the_trainer_within_six_calls_of_ours(tiny_model: str, tmp_path: Path) -> None:
    words = f"reason --model {tiny_model} --data arithmetic --max_steps 1 eval.rows=0 max_new_tokens=4 --output-dir run"
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *words.split()], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    stack = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("[["))
    own = [f"{Path(file).name}: {name}" for file, name in stack if any(str(p) in file for p in PACKAGES.values())]
    assert 0 < len(own) <= MOST_FRAMES, own
