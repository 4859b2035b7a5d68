"""Run directories: everything about one execution, in files a person can read.

    config.json   settings, TRL's and hardware, as used       recipe.yaml    the recipe as given
    env.json      versions, device, threads                    lineage.json   parents, data, reward code, template
    metrics.jsonl one line a logged step or evaluation         samples.jsonl  every rollout with each reward's score
    checkpoints/  resumable states with a manifest of hashes   model/         the result
    logs/         what the processes beside the first print, in a run of several
    launch/       in a run of several processes: the files that started them
    status.json   running | done | failed | interrupted        verdict.json   outcome, and what speaks against the run
    report.html   the same for a reader                        quarantine.jsonl what a reward failed on, and why
    evaluations.jsonl  held-out rows during training, with intervals
    lock.json     while a process works here: which one

Files that are read back are written to a temporary name and renamed, so a killed run never leaves half of one. What is damaged
all the same, by a full disk or a loss of power, is left out or named.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlllm.core import run_lock
from rlllm.core.errors import RunDirectoryError
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.core.outcome import Outcome
from rlllm.core.redaction import without_keys, without_own_secrets
from rlllm.core.run_shapes import misfit
from rlllm.core.watchdog import heard

RUNS = Path("runs")
"""Where run directories are made that nobody names, in the working directory."""
MANIFEST = "manifest.json"
_BEFORE_THE_RUN = ("launch", "logs", "config.json.partial")
"""What is in a run's directory before its processes have started, beside the lock; a kill leaves the last."""
_LOGS = ("metrics.jsonl", "samples.jsonl", "evaluations.jsonl")
ENSEMBLE = "ensemble.json"
"""In a `model/` folder without weights: the members of an ensemble of reward models."""


def write_json(path: Path, value: Any) -> None:
    """Atomically write JSON; Python objects JSON does not know become their text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(path, json.dumps(without_own_secrets(value), indent=2, default=str, ensure_ascii=False) + "\n")


def _write_whole(path: Path, text: str) -> None:
    """Write a text under another name, and rename it."""
    if path.exists() and not path.is_file():  # a file would take the place of /dev/stdout
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
        return
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", errors="backslashreplace") as file:  # as in append_jsonl
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # else a loss of power after the renaming leaves an empty file
    os.replace(partial, path)


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        RunDirectoryError: the file is damaged.
    """
    text = path.read_bytes()
    try:
        return json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        why = str(error) if text.strip(b"\0 \n") else "it is empty"
        raise _damaged(path, why) from error


def read_run_file(path: Path) -> Any:
    """The value in a JSON file of a run, which has the shape that files of its name have.

    Raises:
        RunDirectoryError: the file is not there, or damaged.
    """
    if not path.is_file():
        raise RunDirectoryError(
            f"this run has no {path.name}", given=path, hint="put a copy of it back, or start afresh with --overwrite"
        )
    value = read_json(path)
    if why := misfit(path.name, value):
        raise _damaged(path, why)
    return value


def _damaged(path: Path, why: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"{path.name} is damaged: {why}", given=path, hint="put a copy of it back, or start afresh with --overwrite"
    )


def read_jsonl(path: Path, broken: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file, as a run's file of its name has them. A last line cut short by a kill is left out.

    Args:
        path: the file; one that is not there has no rows.
        broken: where it is given, other lines that are no such row are left out, and their numbers, from 1, are added to it.

    Raises:
        RunDirectoryError: a line is no such row.
    """
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line.decode("utf-8"))
                why = (found := misfit(path.name, row)) and f"in line {number} {found}"
            except (ValueError, RecursionError):
                row, why = None, f"line {number} is no JSON"
            if why is None:
                yield row
            elif broken is None:
                raise _damaged(path, why)
            else:
                broken.append(number)


def write_text(path: Path, text: str) -> None:
    """Atomically write a text for people, without what looks like a key; half an emoji is written as in `append_jsonl`."""
    _write_whole(path, without_keys(text))


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    """Atomically write a JSON-lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    append_jsonl(partial, rows)
    os.replace(partial, path)


def append_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:  # half an emoji becomes JSON's own \ud83d
        cleaned = without_own_secrets(rows)
        file.write("".join(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in cleaned))


@dataclass(frozen=True, slots=True)
class Run:
    """One execution's directory; what every verb of the Python API returns."""

    path: Path
    writes: bool = True
    """False in a process that is not the run's first: what it is told to write is left out, since rank 0 writes the same."""

    @property
    def model(self) -> Path:
        """Folder of the resulting model, in Hugging Face format."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def config(self) -> dict[str, Any]:
        """What is recorded of the settings. Raises RunDirectoryError where the file is not there, or damaged."""
        config: dict[str, Any] = self.read("config.json")
        return config

    @property
    def status(self) -> dict[str, Any]:
        """State of the run, and more; `queued` before the first process of a launched run has begun."""
        queued = (self.path / "launch").is_dir()
        return self.read_or_empty("status.json") or {"state": "queued" if queued else "unknown"}

    @property
    def state(self) -> str:
        """The state in its status; `killed` where that is `running` and no process is there that works in the directory."""
        state = str(self.status.get("state", "unknown"))
        return "killed" if state == "running" and not run_lock.is_held(self.path) else state

    @property
    def verdict(self) -> dict[str, Any]:
        return self.read_or_empty("verdict.json")

    def read_or_empty(self, name: str) -> dict[str, Any]:
        """What a file holds; nothing where it is not there or damaged, which `damages` tells."""
        with suppress(RunDirectoryError):
            found: dict[str, Any] = self.read(name)
            return found
        return {}

    def damages(self) -> list[str]:
        """Files of the run that cannot be read as they were written, one sentence each."""
        found = []
        for path in sorted(self.path.glob("*.json")):
            try:
                read_run_file(path)
            except RunDirectoryError as error:
                found.append(error.what)
            except OSError as error:
                found.append(f"{path.name} cannot be read: {error.strerror}")
        for path in sorted(self.path.glob("*.jsonl")):
            broken: list[int] = []
            for _ in read_jsonl(path, broken):
                pass
            if broken:
                found.append(f"{path.name} is damaged: {_broken_lines(broken)}")
        return found

    @property
    def ok(self) -> bool:
        """True when no reason of the verdict is fatal: the run was carried out, and its main measure did not get worse."""
        return bool(self.verdict.get("ok"))

    @property
    def carried_out(self) -> bool:
        """True when everything that was asked for was done, even if the main measure got worse."""
        return bool(self.verdict.get("carried_out"))

    @property
    def outcome(self) -> Outcome | None:
        """What became of the main measure; None before the run ended, and for an evaluation, which trains nothing."""
        outcome = self.verdict.get("outcome")
        return Outcome(**outcome) if outcome else None

    @property
    def results(self) -> dict[str, Any]:
        """Evaluation results with their intervals, where the run made any."""
        return self.read_or_empty("results.json")

    def metrics(self) -> list[dict[str, Any]]:
        """Rows of the logged steps; those of evaluations between them, which have no loss, are `evaluations`."""
        rows = read_jsonl(self.path / "metrics.jsonl", [])
        return [row for row in rows if "eval_runtime" not in row and isinstance(row.get("step"), int)]

    def evaluations(self) -> list[dict[str, Any]]:
        """Evaluations of held-out rows during training, that of the start first; empty where there were none."""
        return list(read_jsonl(self.path / "evaluations.jsonl", []))

    def samples(self) -> Iterator[dict[str, Any]]:
        return read_jsonl(self.path / "samples.jsonl", [])

    def read(self, name: str) -> Any:
        """The value in a JSON file of the run.

        Raises:
            RunDirectoryError: the file is not there, or damaged.
        """
        return read_run_file(self.path / name)

    def write(self, name: str, value: Any) -> None:
        """Atomically write a JSON file of the run."""
        if self.writes:
            run_lock.check_held(self.path)
            write_json(self.path / name, without_keys(value))

    def write_text(self, name: str, text: str) -> None:
        if self.writes:
            run_lock.check_held(self.path)
            write_text(self.path / name, text)

    def append(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Append rows to a JSON-lines file of the run."""
        if self.writes:
            run_lock.check_held(self.path)
            append_jsonl(self.path / name, rows)

    def remove(self, name: str) -> None:
        """Remove a file of the run, if it is there."""
        if self.writes:
            (self.path / name).unlink(missing_ok=True)

    def add_to_config(self, **more: Any) -> None:
        """Write what became known after the start into `config.json`, beside the settings."""
        self.write("config.json", {**self.config, **more})

    def set_status(self, state: str, **details: Any) -> None:
        self.write("status.json", {"state": state, "time": time.strftime("%Y-%m-%dT%H:%M:%S"), **details})

    def latest_checkpoint(self) -> Path | None:
        """The newest checkpoint whose manifest is there and whose files match it; half-written ones do not count."""
        named = [(re.fullmatch(r"checkpoint-(\d+)", path.name), path) for path in self.checkpoints.glob("checkpoint-*")]
        folders = sorted((int(match[1]), path) for match, path in named if match and path.is_dir())
        return next((folder for _, folder in reversed(folders) if verify_manifest(folder) is None), None)

    def rewind(self, step: int) -> list[str]:
        """Drop what was logged after `step`, so that a resumed run continues its own files.

        Returns:
            What could not be read and is dropped as well, one sentence a file.
        """
        if not self.writes:
            return []
        run_lock.check_held(self.path)
        dropped = []
        for name in _LOGS:
            path, broken = self.path / name, list[int]()
            if not path.exists():
                continue
            rows = [row for row in read_jsonl(path, broken) if _step_of(row) <= step]
            write_jsonl(path, rows)  # beside, and renamed: a kill loses nothing
            if broken:
                dropped.append(f"{name} was damaged, and its rows there are lost: {_broken_lines(broken)}")
        return dropped


def _step_of(row: Mapping[str, Any]) -> float:
    step = row.get("step", 0)
    return step if isinstance(step, int | float) else float("inf")


def _broken_lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")
    return f"line{'s' if len(numbers) > 1 else ''} {shown} cannot be read"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is started, as opposed to what it does. Nothing here changes what a step computes."""

    progress: ProgressCallback = field(default_factory=NullProgress)
    """Told what happens; silent by default."""
    resume: bool = False
    """Continue the run in the output directory (`--resume`)."""
    overwrite: bool = False
    """Replace the run in the output directory (`--overwrite`)."""
    recipe: str | Mapping[str, Any] | None = None
    """The recipe the settings came from, written to `recipe.yaml`: a file's text as it is, comments included, or a mapping."""
    command: str | None = None
    """The command line; written to `config.json` and shown in the report."""
    environment: Mapping[str, Any] | None = None
    """`env.json` of another run, whose threads and matrix products are used; None chooses them anew."""
    measurements: Path | None = None
    """A folder of measurements of start models, shared by the runs of a sweep; None measures in every run."""
    stop_after: int = 0
    """End after so many optimizer steps, without saving or measuring; 0 trains to the end. Schedules are those of the whole
    run: these are its first steps, and not a shorter run."""
    words: tuple[str, ...] | None = None
    """What follows `rlllm` on the command line of exactly this run; None where it was not typed."""
    accept_change: tuple[str, ...] = ()
    """With `resume`: which of `data`, `rewards`, `model` and `code` may have changed (`--accept-change`)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "progress", heard(self.progress))


def create(
    path: Path,
    *,
    digest: str,
    overwrite: bool = False,
    resume: bool = False,
    hold: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Run:
    """Open a run directory under the rule that nothing is ever overwritten unasked.

    Args:
        path: the directory; made if missing.
        digest: `StageConfig.digest()` of the settings about to run; a resume must match it.
        overwrite: remove what an earlier *run* left there (a folder that is no run is never removed).
        resume: continue the run that is there.
        hold: hold the lock of the directory until `run_lock.release`; False in the process that starts those of a launch.
        say: told of a wait for the lock, and of one that is taken over.

    Raises:
        RunDirectoryError: the directory is in use, is no run, or belongs to other settings.
    """
    path = path.expanduser()
    _check_usable(path, digest, overwrite=overwrite, resume=resume)
    made = _make(path)
    try:
        if hold:
            run_lock.take(path, say)
        else:
            run_lock.refuse_living(path, say)
        _check_usable(path, digest, overwrite=overwrite, resume=resume)  # another may have been faster
        if overwrite and not resume:
            empty(path)
    except BaseException:
        run_lock.release(path)
        if made:
            with suppress(OSError):
                path.rmdir()
        raise
    return Run(path)


@contextmanager
def held(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """The lock of a directory, for a block that makes it and the runs in it. A directory that stays empty goes again.

    Raises:
        RunDirectoryError: another process holds it, or it cannot be made.
    """
    made = _make(path)
    try:
        run_lock.take(path, say)
        yield
    finally:
        run_lock.release(path)
        if made:
            with suppress(OSError):
                path.rmdir()


def _make(path: Path) -> bool:
    made = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(
            f"cannot make the output directory: {error.strerror}", given=path, hint="choose another --output-dir"
        ) from error
    return made


def empty(path: Path) -> None:
    """Remove everything in a directory but its lock."""
    for entry in path.iterdir():
        if entry.name == run_lock.LOCK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def is_filled(path: Path) -> bool:
    """Whether anything is in a directory that a run has left there."""
    return path.is_dir() and any(
        entry.name not in _BEFORE_THE_RUN and not entry.name.startswith(run_lock.LOCK) for entry in path.iterdir()
    )


def _check_usable(path: Path, digest: str, *, overwrite: bool, resume: bool) -> None:
    if path.exists() and not path.is_dir():
        raise RunDirectoryError("the output directory is a file", given=path)
    filled = is_filled(path)
    if resume:
        _check_resumable(path, filled, digest)
    elif filled and overwrite:
        if not (path / "status.json").exists():
            raise RunDirectoryError(
                "will not overwrite a directory that is not a run", given=path, hint="choose another --output-dir"
            )
    elif filled:
        raise RunDirectoryError(
            "the output directory is not empty",
            given=path,
            hint="add --resume to continue that run, --overwrite to replace it, or choose another --output-dir",
        )


def _check_resumable(path: Path, filled: bool, digest: str) -> None:
    if not filled or not (path / "config.json").exists():
        raise RunDirectoryError("nothing to resume: no run in this directory", given=path, hint="leave out --resume")
    before = read_run_file(path / "config.json").get("digest")
    if before != digest:
        raise RunDirectoryError(
            "the settings differ from those of the run to resume",
            given=f"{path} (digest {before}, now {digest})",
            hint=f"compare with {path / 'config.json'}, or start afresh with --overwrite",
        )


def open_run(path: Path | str) -> Run:
    """An existing run, for reading; a name alone may be that of a run in `runs/`. Raises RunDirectoryError if there is none."""
    place = Path(path).expanduser()
    for folder in (place, RUNS / place):
        if (folder / "status.json").exists():
            return Run(folder)
    raise RunDirectoryError("no run in this directory", given=path, hint="list runs with: rlllm runs ls")


def list_runs(root: Path) -> list[Run]:
    """Every run at or below `root`, oldest first; pipelines keep their steps' runs one level down."""
    found = [
        path.parent for pattern in ("status.json", "*/status.json", "*/*/status.json") for path in root.glob(pattern)
    ]
    return [Run(path) for path in sorted(found, key=lambda path: (path / "status.json").lstat().st_mtime)]


def write_manifest(folder: Path) -> None:
    """Seal a checkpoint: hashes of all its files, written last. A folder without one was never finished."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    write_json(folder / MANIFEST, {str(path.relative_to(folder)): file_hash(path) for path in files})


def verify_manifest(folder: Path) -> str | None:
    """None if every file is there with its hash, else the reason in words."""
    if not (folder / MANIFEST).exists():
        return "has no manifest: it was not finished"
    try:
        manifest = read_run_file(folder / MANIFEST)
    except (ValueError, OSError):
        return "has an unreadable manifest"
    if not manifest:
        return "has an empty manifest"
    for name, expected in manifest.items():
        path = folder / name
        if not path.is_file():
            return f"lacks {name}"
        try:
            changed = file_hash(path) != expected
        except OSError as error:
            return f"has an unreadable {name}: {error.strerror}"
        if changed:
            return f"has a changed {name}"
    return None


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
