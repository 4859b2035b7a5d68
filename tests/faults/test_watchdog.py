"""A run without progress writes down where it stands, ends with exit code 75, and goes on with --resume."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlllm.core import watchdog
from rlllm.core.errors import ExitCode
from rlllm.core.runs import Run, write_json
from rlllm.core.stalled import watched

REWARDS = '''
import os
import re
import time
from pathlib import Path

HANGS = Path(__file__).with_name("hangs")


def backtracks(sample):
    """Holds the interpreter's lock: no thread of Python runs."""
    if HANGS.exists():
        re.match(r"(a+)+$", "a" * 60 + "b")
    return float(len(sample.completion) % 7)


def waits(sample):
    if HANGS.exists() and os.environ.get("RANK", "1") == "1":
        time.sleep(1_000)
    return float(len(sample.completion) % 7)
'''
SCORES = """
import sys
from pathlib import Path
from rlllm.core.records import Sample
from rlllm.core import watchdog
from rlllm.core.stalled import watched
from rlllm.core.watchdog import sign
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec

watchdog.REPORT_SECONDS = 12
rewards = build([RewardSpec.checked({"name": sys.argv[2], "deadline": 0})])
with watched(Path(sys.argv[1]), 2):
    sign(phase="training", step=3)
    rewards.score([Sample("Say a.", "a"), Sample("Say b.", "b\\ud83d")])
"""
STEPS = """
import sys, time
from pathlib import Path
from rlllm.core import watchdog
from rlllm.core.runs import RunOptions
from rlllm.core.stalled import watched

watchdog.REPORT_SECONDS = 0
with watched(Path(sys.argv[1]), 6):
    options = RunOptions()
    for step in range(12):
        time.sleep(0.6)
        if sys.argv[2] == "1":
            options.progress.step(step, {})
        with watched(Path(sys.argv[1]) / "inner", 0.1):
            time.sleep(0.2)
time.sleep(6.5)
"""


def write_rewards(folder: Path) -> Path:
    path = folder / "slow.py"
    path.write_text(REWARDS)
    (folder / "hangs").touch()
    return path


def words(model: str, folder: Path, reward: str, seconds: float) -> list[str]:
    return [
        *("reason", "--model", model, "--data", "arithmetic#64", "data.holdout=0", "eval.rows=0", "max_steps=4"),
        *("save_steps=2", "per_device_train_batch_size=8", "num_generations=4", "max_completion_length=6"),
        *(f'rewards=[{{"name":"{folder / "slow.py"}:{reward}","deadline":0}}]', "stop_when_flat=0"),
        *(f"watchdog={seconds}", "--output-dir", str(folder / "run")),
    ]


def rlllm(*given: str, limit: int = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "rlllm_cli", *given], capture_output=True, text=True, timeout=limit)


def test_a_reward_that_holds_the_interpreters_lock_is_named_with_its_sample(tmp_path: Path) -> None:
    write_rewards(tmp_path)
    write_json(tmp_path / "run" / "status.json", {"state": "running"})
    place = f"{tmp_path / 'slow.py'}:backtracks"
    ended = subprocess.run(
        [sys.executable, "-c", SCORES, str(tmp_path / "run"), place], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == ExitCode.STALLED, ended.stderr
    what = "no progress for 2 s, training after step 3, while the reward backtracks scored a completion"
    assert ended.stderr.strip().startswith(f"error: {what}"), ended.stderr
    assert "--resume goes on" in ended.stderr
    report = (tmp_path / "run" / "logs" / "stalled-rank-0.txt").read_text()
    assert what in report
    assert 'prompt: "Say a."\ncompletion: "a"' in report
    assert "in backtracks" in report
    status = Run(tmp_path / "run").status
    assert (status["state"], status["error"]) == ("failed", what)


@pytest.mark.parametrize(("says", "code"), [(True, ExitCode.OK), (False, ExitCode.STALLED)])
def test_signs_of_progress_keep_a_slow_run_alive_and_a_run_inside_it_changes_nothing(
    tmp_path: Path, says: bool, code: int
) -> None:
    ended = subprocess.run([sys.executable, "-c", STEPS, str(tmp_path), str(int(says))], timeout=120)
    assert ended.returncode == code


def test_a_forked_child_leaves_the_watch_of_its_parent_alone(tmp_path: Path) -> None:
    with watched(tmp_path, 60):
        child = os.fork()
        if child == 0:
            watchdog.sign(phase="of the child")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert watchdog._CURRENT is not None
        assert "phase" not in watchdog._CURRENT._facts


@pytest.mark.slow
@pytest.mark.parametrize("reward", ["backtracks", "waits"])
def test_a_run_whose_reward_hangs_ends_and_goes_on_once_it_does_not(
    tiny_model: str, tmp_path: Path, reward: str
) -> None:
    hangs = write_rewards(tmp_path).with_name("hangs")
    given = words(tiny_model, tmp_path, reward, 40)
    ended = rlllm(*given)
    assert ended.returncode == ExitCode.STALLED, ended.stderr[-3000:]
    assert f"error: no progress for 40 s, training, while the reward {reward} scored a completion" in ended.stderr
    report = (tmp_path / "run" / "logs" / "stalled-rank-0.txt").read_text()
    assert f"in {reward}" in report
    shown = rlllm("runs", "show", str(tmp_path / "run"))
    assert "no progress for 40 s" in shown.stdout
    hangs.unlink()
    again = rlllm(*words(tiny_model, tmp_path, reward, 0), "--resume")
    assert again.returncode in (ExitCode.OK, ExitCode.FAILED), again.stderr[-3000:]
    assert [row["step"] for row in Run(tmp_path / "run").metrics()] == [1, 2, 3, 4]


@pytest.mark.slow
def test_of_two_processes_the_one_that_hangs_is_named_and_both_show_their_stacks(
    tiny_model: str, tmp_path: Path
) -> None:
    write_rewards(tmp_path)
    ended = rlllm(*words(tiny_model, tmp_path, "waits", 60), "launch=ddp")
    assert ended.returncode == ExitCode.STALLED, ended.stderr[-3000:]
    what = "no progress for 60 s, training, while the reward waits scored a completion, in rank 1"
    assert what in ended.stderr
    reports = [path.read_text() for path in sorted((tmp_path / "run" / "logs").glob("stalled-rank-*.txt"))]
    assert reports
    for report in reports:
        assert what in report
        assert report.count("most recent call first") >= 2
        assert report.count("\nprocess ") == 2
        assert "in waits" in report
