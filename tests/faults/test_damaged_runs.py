"""Run directories with damaged files: every command ends with a word, never with a traceback, a hang or a bug of rlllm."""

from __future__ import annotations

import json
import random
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from run_files import write_rewards

from rlllm.core import run_lock
from rlllm.core.errors import ExitCode
from rlllm_cli.main import run as command_line

WORDS = [
    *("reason", "--data", "arithmetic#64", "data.holdout=4", "eval.rows=4", "eval.samples=1", "eval.every=2"),
    *("per_device_train_batch_size=8", "num_generations=4", "max_completion_length=6", "stop_when_flat=0"),
    *("max_steps=4", "save_steps=2", "allow=all"),
]
REWARD = f"{write_rewards(Path(tempfile.mkdtemp()))}:vowels"
ENDS = (
    "model",
    "checkpoint-4",
    "results.json",
    "verdict.json",
    "measured_after.json",
    "report.html",
    "before_after.jsonl",
)
"""What a run that was killed after its second step has not made."""
READS = {
    "runs show": ["runs", "show", "RUN"],
    "runs show --json": ["runs", "show", "RUN", "--json"],
    "runs show --samples": ["runs", "show", "RUN", "--samples", "worst"],
    "runs ls": ["runs", "ls", "ROOT"],
    "runs ls --json": ["runs", "ls", "ROOT", "--json"],
    "runs diff": ["runs", "diff", "RUN", "GOOD"],
    "report": ["report", "RUN"],
    "compare": ["compare", "GOOD", "RUN"],
}
EVAL = ["eval", "--model", "RUN", "--data", "arithmetic#64", "--reward", "exact", "rows=2", "max_new_tokens=4"]
SECONDS = 120
"""After which a command hangs, on a machine however busy."""

Damage = Callable[[bytes, random.Random], bytes | None]


def _inside(value: Any, draw: random.Random) -> Any:
    """The value with one of its parts replaced by something of another type, at most two levels down."""
    if isinstance(value, dict) and value:
        key = draw.choice(sorted(value))
        deeper = isinstance(value[key], dict | list) and draw.random() < 0.5
        return {**value, key: _inside(value[key], draw) if deeper else _other(value[key], draw)}
    if isinstance(value, list) and value:
        place = draw.randrange(len(value))
        deeper = isinstance(value[place], dict | list) and draw.random() < 0.7
        return [
            *value[:place],
            _inside(value[place], draw) if deeper else _other(value[place], draw),
            *value[place + 1 :],
        ]
    return _other(value, draw)


def _other(value: Any, draw: random.Random) -> Any:
    kinds = [3, "x", None, [], {}, [1], {"a": 1}, -1.5, True]
    return draw.choice([kind for kind in kinds if type(kind) is not type(value)])


def wrong_types(data: bytes, draw: random.Random) -> bytes | None:
    """Of a JSON file, or of one line of a JSON-lines file."""
    try:
        return json.dumps(_inside(json.loads(data), draw)).encode() + b"\n"
    except ValueError:
        lines = data.splitlines(keepends=True)
        if not lines:
            return None
        place = draw.randrange(len(lines))
        try:
            lines[place] = json.dumps(_inside(json.loads(lines[place]), draw)).encode() + b"\n"
        except ValueError:
            return None
        return b"".join(lines)


def cut_in_a_character(data: bytes, draw: random.Random) -> bytes:
    end = draw.randrange(len(data) + 1)
    return data[:end] + "é".encode()[:1]


DAMAGES: dict[str, Damage] = {
    "cut": lambda data, draw: data[: draw.randrange(len(data) + 1)],
    "cut in a character": cut_in_a_character,
    "NULs at the end": lambda data, draw: (
        data[: draw.randrange(len(data) + 1)] + bytes(draw.choice([1, 64, 4096])) + b"\n"
    ),
    "only NULs": lambda data, draw: bytes(len(data)),
    "empty": lambda data, draw: b"",
    "deleted": lambda data, draw: None,
    "a list": lambda data, draw: b"[1, 2]\n",
    "a number": lambda data, draw: b"3\n",
    "null": lambda data, draw: b"null\n",
    "a text": lambda data, draw: b'"done"\n',
    "wrong types": wrong_types,
    "other wrong types": wrong_types,
    "more wrong types": wrong_types,
    "random bytes": lambda data, draw: draw.randbytes(min(len(data), 2_000)),
}
PARTS = (
    *("config.json", "env.json", "lineage.json", "data_rows.json", "status.json", "verdict.json", "results.json"),
    *("measured_before.json", "measured_after.json", "before_after.jsonl", "metrics.jsonl", "samples.jsonl"),
    *("evaluations.jsonl", "recipe.yaml", "lock.json", "checkpoint/manifest.json", "checkpoint/trainer_state.json"),
)
CASES = [(kind, part, damage) for kind in ("finished", "killed") for part in PARTS for damage in DAMAGES]


@pytest.fixture(scope="module")
def whole(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that has ended and one that was killed."""
    folder = tmp_path_factory.mktemp("whole")
    assert command_line(words(tiny_model, folder / "finished")) in (ExitCode.OK, ExitCode.FAILED)
    assert (folder / "finished" / "results.json").exists()
    shutil.copytree(folder / "finished", folder / "killed", ignore=shutil.ignore_patterns(*ENDS))
    (folder / "killed" / "status.json").write_text('{"state": "running", "stage": "reason", "seconds": 3.0}')
    return folder


def words(model: str, place: Path) -> list[str]:
    return [
        *WORDS,
        f'rewards=[{{"name":"{REWARD}","deadline":0}},"exact"]',
        "--model",
        model,
        "--output-dir",
        str(place),
    ]


class HangError(Exception):
    """A command takes too long."""


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that hangs is ended; the holder of a lock that nobody can read is not waited for so long."""
    monkeypatch.setattr(run_lock, "_SILENT_SECONDS", 1.0)

    def stop(number: int, frame: FrameType | None) -> None:
        raise HangError(traceback.format_stack(frame))

    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def damaged(whole: Path, folder: Path, case: tuple[str, str, str], seed: int) -> Path | None:
    """A copy of a run with one file damaged; None where the run has no such file, or the damage does not fit it."""
    kind, part, damage = case
    place = folder / "root" / "damaged"
    shutil.rmtree(folder / "root", ignore_errors=True)
    shutil.copytree(whole / kind, place)
    file = place / part
    if part.startswith("checkpoint/"):
        file = max((place / "checkpoints").iterdir()) / part.removeprefix("checkpoint/")
    if part == "lock.json":
        file.write_text(json.dumps({**run_lock._own_place(), "started": "1", "since": "2026-11-30T04:48:29"}))
    if not file.exists():
        return None
    after = DAMAGES[damage](file.read_bytes(), random.Random(f"{seed} {case}"))
    if after is None and "wrong" in damage:
        return None
    file.unlink() if after is None else file.write_bytes(after)
    return place


def problem(given: list[str], said: tuple[str, str], code: int) -> str | None:
    """What is wrong with how a command ended; None where nothing is."""
    text = "".join(said)
    if "bug in rlllm" in text or "Traceback" in text:
        return text[-800:]
    if code not in (ExitCode.OK, ExitCode.FAILED, ExitCode.USAGE):
        return f"exit code {code}"
    if code == ExitCode.USAGE and "error: " not in said[1]:
        return f"exit code 2 without an error: {text[-400:]}"
    if "--json" in given and code == ExitCode.OK:
        json.loads(said[0])
    return None


def tried(given: list[str], capsys: pytest.CaptureFixture[str], seconds: int = SECONDS) -> str | None:
    """What is wrong with how a command ends; None where nothing is."""
    capsys.readouterr()
    signal.alarm(seconds)
    try:
        code = command_line(given)
    except HangError as error:
        return f"hangs: {str(error)[-600:]}"
    except BaseException:
        return traceback.format_exc()[-1_200:]
    finally:
        signal.alarm(0)
    return problem(given, capsys.readouterr(), code)


def filled(given: list[str], place: Path, whole: Path) -> list[str]:
    names = {"RUN": str(place), "ROOT": str(place.parent), "GOOD": str(whole / "finished")}
    return [names.get(word, word) for word in given]


def problems(
    cases: list[tuple[str, str, str]],
    commands: Callable[[Path], list[list[str]]],
    whole: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    seed: int,
) -> list[str]:
    tries = (
        (case, given) for case in cases if (place := damaged(whole, folder, case, seed)) for given in commands(place)
    )
    return [
        f"{seed} {case} {' '.join(given[:3])}: {text}"
        for case, given in tries
        if (text := tried(given, capsys)) is not None
    ]


def reads(whole: Path) -> Callable[[Path], list[list[str]]]:
    return lambda place: [filled(given, place, whole) for given in READS.values()]


def resumes(model: str) -> Callable[[Path], list[list[str]]]:
    return lambda place: [[*words(model, place), "--resume"]]


def evaluations(whole: Path) -> Callable[[Path], list[list[str]]]:
    return lambda place: [
        [*filled(EVAL, place, whole), "--output-dir", str(place.parent / "evaluation"), "--overwrite"]
    ]


def test_a_seeded_sample_of_damages_leaves_every_command_with_a_word(
    whole: Path, tiny_model: str, tmp_path: Path, limited: None, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = random.Random(0).sample(CASES, 12)
    found = problems(cases, reads(whole), whole, tmp_path, capsys, 0)
    found += problems(cases[:2], resumes(tiny_model), whole, tmp_path, capsys, 0)
    assert not found, "\n\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_every_damage_leaves_every_command_that_reads_with_a_word(
    whole: Path, tmp_path: Path, limited: None, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    found = problems(CASES, reads(whole), whole, tmp_path, capsys, seed)
    assert not found, "\n\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_every_damage_is_resumed_or_named(
    whole: Path, tiny_model: str, tmp_path: Path, limited: None, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    cases = [case for case in CASES if case[1] == part]
    found = problems(cases, resumes(tiny_model), whole, tmp_path, capsys, 0)
    assert not found, "\n\n".join(found)


@pytest.mark.slow
def test_a_run_with_any_file_damaged_is_evaluated_or_refused(
    whole: Path, tmp_path: Path, limited: None, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = random.Random(1).sample([case for case in CASES if case[0] == "finished"], 30)
    found = problems(cases, evaluations(whole), whole, tmp_path, capsys, 0)
    assert not found, "\n\n".join(found)
