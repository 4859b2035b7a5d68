"""A signal that ends programs leaves a run that goes on with --resume, for every verb; a lost terminal does not end it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_files import differing_weights, learned_metrics

from rlllm.core.errors import ExitCode
from rlllm.core.runs import Run
from rlllm_cli.main import run as command_line

PROGRAM = [sys.executable, "-m", "rlllm_cli"]
COMMON = ["data.holdout=0", "eval.rows=0", "--per_device_train_batch_size", "8", "--learning_rate", "1e-3"]
VERBS: dict[str, list[str]] = {
    "sft": ["sft", "--data", "arithmetic#64", *COMMON],
    "train-rm": ["train-rm", "quickstart", "--per_device_train_batch_size", "4"],
    "dpo": ["align", "quickstart", "--per_device_train_batch_size", "4"],
    "ppo": [
        "align",
        "--method",
        "ppo",
        "--data",
        "arithmetic#64",
        "--reward",
        "exact",
        "rollout.max_new_tokens=8",
        *COMMON,
    ],
    "reason": ["reason", "quickstart", "num_generations=4", "rollout.max_new_tokens=8", *COMMON],
}
STEPS = 60


class Begun:
    """A command that runs in a process of its own, with its output in a file."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen([*PROGRAM, *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def wait_until(self, there: str, folder: Path) -> None:
        """Wait for files of a pattern that are not empty."""
        end = time.monotonic() + 180
        while not any(path.stat().st_size for path in folder.glob(there)):
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            time.sleep(0.02)

    def signalled(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=120)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[list[Begun]]:
    begun: list[Begun] = []
    yield begun
    for command in begun:
        command.process.kill()
        command.process.wait()


def resumed(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *words, "--resume"], capture_output=True, text=True, timeout=300)


def of_training(verb: str, number: int, folder: Path, model: str, begin: list[Begun]) -> None:
    words = [*VERBS[verb], "--model", model, "--max_steps", str(STEPS), "--output-dir", str(folder / "run")]
    begin.append(Begun(words, folder / "log"))
    begin[-1].wait_until("run/metrics.jsonl", folder)
    code, run = begin[-1].signalled(number), Run(folder / "run")
    assert (code, run.state) == (ExitCode.INTERRUPTED, "interrupted"), begin[-1].log.read_text()[-3000:]
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    assert f"{name}: saving a checkpoint after this step" in begin[-1].log.read_text()
    done = run.verdict["diagnostics"]["steps_done"]
    assert 0 < done < STEPS
    assert run.latest_checkpoint() == run.checkpoints / f"checkpoint-{done}"
    assert resumed(words).returncode in (ExitCode.OK, ExitCode.FAILED)  # random weights may learn nothing, or get worse
    steps = [row["step"] for row in run.metrics()]
    assert (run.state, steps) in [("done", list(range(1, STEPS + 1))), ("failed", list(range(1, len(steps) + 1)))]
    assert len(steps) > done


def test_a_batch_systems_signal_saves_a_checkpoint(tiny_model: str, tmp_path: Path, begin: list[Begun]) -> None:
    of_training("sft", signal.SIGUSR1, tmp_path, tiny_model, begin)


SIGNALS = [("sft", signal.SIGHUP), ("reason", signal.SIGHUP), ("reason", signal.SIGUSR1)]


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "number"), [*((verb, signal.SIGTERM) for verb in VERBS), *SIGNALS])
def test_every_verb_that_trains_goes_on_after_it(
    tiny_model: str, tmp_path: Path, begin: list[Begun], verb: str, number: int
) -> None:
    of_training(verb, number, tmp_path, tiny_model, begin)


SLEEPS = """
import time
from pathlib import Path

def last_digits(sample):
    if Path({flag!r}).exists():
        Path({reached!r}).touch()
        {sleep}
    return sum(sample.completion.encode()) % 7 / 7
"""
SLEEP = {
    "waits": "time.sleep(600)",
    "swallows all": "\n        try:\n            time.sleep(600)\n        except:\n            return 0.0",
}


@pytest.mark.slow
@pytest.mark.parametrize("how", SLEEP)
def test_a_step_that_lasts_longer_than_the_grace_period_is_given_up_and_nothing_else_is_lost(
    tiny_model: str, tmp_path: Path, begin: list[Begun], how: str
) -> None:
    file, flag, reached = (tmp_path / name for name in ("sleeps.py", "flag", "reached"))
    file.write_text(SLEEPS.format(flag=str(flag), reached=str(reached), sleep=SLEEP[how]))
    words = ["reason", "--model", tiny_model, "--data", "arithmetic#64", "--reward", f"{file}:last_digits"]
    words += ["num_generations=4", "rollout.max_new_tokens=8", *COMMON, "--max_steps", "40", "--save_steps", "2"]
    stopped = [*words, "grace_period=1", "--output-dir", str(tmp_path / "run")]
    begin.append(Begun(stopped, tmp_path / "log"))
    begin[-1].wait_until("run/checkpoints/checkpoint-2/manifest.json", tmp_path)
    flag.touch()
    end = time.monotonic() + 60
    while not reached.exists() and time.monotonic() < end:
        time.sleep(0.02)
    start = time.monotonic()
    code, run = begin[-1].signalled(signal.SIGTERM), Run(tmp_path / "run")
    said = begin[-1].log.read_text()
    assert (code, run.state) == (ExitCode.INTERRUPTED, "interrupted"), said[-3000:]
    assert 1 < time.monotonic() - start < 15
    assert run.status["error"] == "the step did not end within grace_period=1 s"
    assert "SIGTERM: saving a checkpoint after this step, if it ends within 1 s (again to stop at once)" in said
    assert "the step did not end within grace_period=1 s; a checkpoint that was saved before is continued" in said
    before = run.latest_checkpoint()
    assert before is not None
    flag.unlink()
    assert command_line([*stopped, "--resume"]) == ExitCode.OK
    assert command_line([*words, "--output-dir", str(tmp_path / "whole")]) == ExitCode.OK
    whole = Run(tmp_path / "whole")
    assert learned_metrics(run) == learned_metrics(whole)
    assert differing_weights(run, whole) == []


OTHERS: dict[str, tuple[list[str], str, str]] = {
    "eval": (["eval", "quickstart", "--model", "nano", "rows=64"], "run/completions.jsonl", "run"),
    "sweep": (
        ["sweep", "sft/quickstart", "learning_rate=1e-4,1e-3", "--set", "max_steps=40"],
        "run/*/*/metrics.jsonl",
        "run",
    ),
    "run": (["run", "demo", "sft.max_steps=40", "seed=1"], "run/sft/metrics.jsonl", "run/sft"),
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", OTHERS)
def test_an_evaluation_a_sweep_and_a_pipeline_go_on_after_it(tmp_path: Path, begin: list[Begun], verb: str) -> None:
    words, there, inner = OTHERS[verb]
    words = [*words, "--output-dir", str(tmp_path / "run")]
    begin.append(Begun(words, tmp_path / "log"))
    begin[-1].wait_until(there, tmp_path)
    code = begin[-1].signalled(signal.SIGTERM)
    assert (code, Run(tmp_path / inner).state) == (ExitCode.INTERRUPTED, "interrupted"), begin[-1].log.read_text()[
        -3000:
    ]
    again = resumed([*words, "--json"])
    assert again.returncode == ExitCode.OK, again.stderr[-3000:]
    assert Run(tmp_path / inner).carried_out
    assert json.loads(again.stdout)


@pytest.mark.slow
def test_under_nohup_a_closing_terminal_is_ignored(tiny_model: str, tmp_path: Path, begin: list[Begun]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does, and children inherit it
    try:
        words = [*VERBS["sft"], "--model", tiny_model, "--max_steps", str(STEPS), "--output-dir", str(tmp_path / "run")]
        begin.append(Begun(words, tmp_path / "log"))
    finally:
        signal.signal(signal.SIGHUP, before)
    begin[-1].wait_until("run/metrics.jsonl", tmp_path)
    begin[-1].process.send_signal(signal.SIGHUP)
    begin[-1].process.wait(timeout=120)
    assert Run(tmp_path / "run").carried_out


STREAMS = {
    "a reader that goes away": ("{} 2>&1 | head -1", ExitCode.OK),
    "a full disk behind stderr": ("{} 2> /dev/full", ExitCode.OK),
    "a full disk behind stdout": ("{} > /dev/full", ExitCode.FAILED),
    "no streams at all": ("{} <&- >&- 2>&-", ExitCode.OK),
}


@pytest.mark.parametrize(
    "how", [pytest.param(name, marks=() if "reader" in name else pytest.mark.slow) for name in STREAMS]
)
def test_streams_that_cannot_be_written_to_do_not_end_the_run(tiny_model: str, tmp_path: Path, how: str) -> None:
    line, code = STREAMS[how]
    words = [*VERBS["sft"], "--model", tiny_model, "--max_steps", "6", "--output-dir", str(tmp_path / "run")]
    shell = line.format(" ".join([*PROGRAM, *words]))
    done = subprocess.run(["bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True, timeout=300)
    assert Run(tmp_path / "run").carried_out, done.stderr[-3000:]
    assert done.returncode == code
    assert ("what was to be printed is lost: No space left on device" in done.stderr) == (code == ExitCode.FAILED)
    assert not [
        path for path in (tmp_path / "run").rglob("*") if path.suffix == ".json" and b"sft: step" in path.read_bytes()
    ]
