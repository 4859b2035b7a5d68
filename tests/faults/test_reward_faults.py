"""Rewards that misbehave in a whole run, and programs that end while a reward hangs: named, counted, and never waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlllm.core.runs import Run, read_jsonl

FAULTY = """
import time
from pathlib import Path
kept = []

def once_late(sample):
    done = Path(__file__).with_name("done")
    if not done.exists():
        done.touch()
        time.sleep(60)
    return float(len(sample.completion) % 7)

def always_late(sample):
    time.sleep(60)

def hoards(sample):
    kept.append(b"x" * (8 * 2**20))
    return float(len(sample.completion) % 7)
"""

HANGING = """
import sys
from rlllm.core.records import Sample
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec

def main():
    spec = RewardSpec.model_validate({spec})
    print("scoring", flush=True)
    build([spec]).score([Sample("q", "a")])

main()
"""

REWARD = """
import asyncio, os, re, time
from pathlib import Path

def hangs(sample):
    Path(__file__).with_name("pid").write_text(str(os.getpid()))
    re.fullmatch("(a+)+", "a" * 60 + "b")

async def waits(sample):
    Path(__file__).with_name("pid").write_text(str(os.getpid()))
    await asyncio.sleep(600)
"""


def train(folder: Path, attribute: str) -> Run:
    """Three steps of `nano` with a faulty reward; 72 completions."""
    import rlllm

    (folder / f"{attribute}.py").write_text(FAULTY)
    return rlllm.reason(
        model="nano",
        data="arithmetic",
        rewards=[{"name": f"{folder / attribute}.py:{attribute}", "deadline": 0.5}],
        output_dir=folder / "run",
        eval={"rows": 0},
        rollout={"max_new_tokens": 4},
        trainer={
            "max_steps": 3,
            "per_device_train_batch_size": 24,
            "num_generations": 8,
            "gradient_accumulation_steps": 1,
        },
    )


def test_a_run_goes_on_over_a_late_sample_and_says_so(tmp_path: Path) -> None:
    run = train(tmp_path, "once_late")
    (row,) = read_jsonl(run.path / "quarantine.jsonl")
    assert row["reward"] == "once_late"
    assert row["reason"].startswith("took longer than 0.5 s (once_late.py, line 10)")
    reasons = {reason["code"]: reason["text"] for reason in run.verdict["reasons"]}
    assert reasons["rewards_failed"].startswith("the reward once_late failed on 1 of 72 completions; first it took")
    assert sum(sample["reward"] is None for sample in run.samples()) == 1


def test_a_reward_that_is_always_late_stops_the_run_by_name(tmp_path: Path) -> None:
    run = train(tmp_path, "always_late")
    assert not run.ok
    assert "the reward always_late failed on 24 of 24 completions" in run.verdict["diagnostics"]["failure"]
    assert len(list(read_jsonl(run.path / "quarantine.jsonl"))) == 24


def test_a_reward_that_keeps_memory_is_named_with_how_much(tmp_path: Path) -> None:
    from rlllm.core.records import Sample
    from rlllm.rewards.composition import build
    from rlllm.rewards.config import RewardSpec

    (tmp_path / "hoards.py").write_text(FAULTY)
    composition = build([RewardSpec(name=f"{tmp_path}/hoards.py:hoards"), RewardSpec(name="exact", weight=0)])
    for _ in range(9):
        composition.score([Sample("q", "a", "a")])
    tally = composition.tallies["hoards"]
    assert 60 * 2**20 < tally.grown < 80 * 2**20
    assert composition.tallies["exact"].grown < 20 * 2**20
    assert composition.faults() == []
    tally.grown += 2**30
    (fault,) = composition.faults()
    assert (fault["reward"], fault["failed"], fault["grown"]) == ("hoards", 0, tally.grown)


def start(folder: Path, attribute: str, deadline: float) -> tuple[subprocess.Popen[str], int]:
    """A program that hangs in a reward, and the process the reward runs in."""
    (folder / "reward.py").write_text(REWARD)
    spec = {"name": f"{folder / 'reward.py'}:{attribute}", "deadline": deadline}
    (folder / "program.py").write_text(HANGING.replace("{spec}", repr(spec)))
    program = subprocess.Popen(
        [sys.executable, str(folder / "program.py")], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + 30
    while not ((folder / "pid").exists() and (folder / "pid").read_text()):
        assert time.monotonic() < limit
        time.sleep(0.02)
    return program, int((folder / "pid").read_text())


def ended(process_id: int, within: float) -> bool:
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{process_id}/stat").exists() and ") Z " in Path(f"/proc/{process_id}/stat").read_text():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(("attribute", "deadline"), [("hangs", 600), ("waits", 600), ("waits", 0)])
def test_ctrl_c_ends_a_program_that_hangs_in_a_reward_and_the_reward_with_it(
    tmp_path: Path, attribute: str, deadline: float
) -> None:
    program, process_id = start(tmp_path, attribute, deadline)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=10)
    assert "KeyboardInterrupt" in errors
    assert ended(process_id, within=5)


def test_a_hanging_reward_ends_itself_when_its_parent_was_killed(tmp_path: Path) -> None:
    program, process_id = start(tmp_path, "hangs", 2)
    program.kill()
    program.communicate(timeout=10)
    assert ended(process_id, within=10)
