"""Ctrl-C, for real: a shell's signal ends a run with a checkpoint, and the line that was printed finishes it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

WORDS = "sft --model nano --data arithmetic#64 data.holdout=0 --max_steps 80 --logging_steps 1 learning_rate=1e-5 defaults=trl"
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
RLLLM = [sys.executable, "-m", "rlllm_cli"]


def wait_for(text: str, path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while text not in path.read_text() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert text in path.read_text(), path.read_text()


def test_ctrl_c_saves_and_the_printed_line_resumes(tmp_path: Path) -> None:
    heard = tmp_path / "stderr.txt"
    with heard.open("w") as stderr:
        process = subprocess.Popen(
            [*RLLLM, *WORDS.split()], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=stderr
        )
        wait_for("step 2/80", heard, process)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, heard.read_text()
    assert b"interrupted" in out
    line = heard.read_text().splitlines()[-1]
    assert line.startswith("interrupted; continue with: rlllm sft ")
    resumed = subprocess.run(
        [*RLLLM, *shlex.split(line.partition("rlllm ")[2]), "--json"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert resumed.returncode == 0, resumed.stderr
    ended = json.loads(resumed.stdout)
    assert (ended["ok"], ended["verdict"]["diagnostics"]["steps_done"]) == (True, 80)
    steps = [row["step"] for row in map(json.loads, (tmp_path / ended["run"] / "metrics.jsonl").open())]
    assert steps == list(range(1, 81))
