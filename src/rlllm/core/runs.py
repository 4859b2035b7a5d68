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

Files that are read back are written to a temporary name and renamed, so a killed run never leaves half of one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlllm.core.errors import RunDirectoryError
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.core.outcome import Outcome

MANIFEST = "manifest.json"
_OF_THE_LAUNCHER = ("launch", "logs")
"""Folders in a run's directory that are there before its processes have started."""
ENSEMBLE = "ensemble.json"
"""In a `model/` folder without weights: the members of an ensemble of reward models."""


def write_json(path: Path, value: Any) -> None:
    """Atomically write JSON; Python objects JSON does not know become their text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file; a last line cut short by a kill is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    """Atomically write a JSON-lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    append_jsonl(partial, rows)
    os.replace(partial, path)


def append_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:  # half an emoji becomes JSON's own \ud83d
        file.write("".join(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in rows))


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
        return read_json(self.path / "config.json")

    @property
    def status(self) -> dict[str, Any]:
        """State of the run, and more; `queued` before the first process of a launched run has begun."""
        path = self.path / "status.json"
        queued = (self.path / "launch").is_dir()
        return read_json(path) if path.exists() else {"state": "queued" if queued else "unknown"}

    @property
    def verdict(self) -> dict[str, Any]:
        path = self.path / "verdict.json"
        return read_json(path) if path.exists() else {}

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
        path = self.path / "results.json"
        return read_json(path) if path.exists() else {}

    def metrics(self) -> list[dict[str, Any]]:
        """Rows of the logged steps; those of evaluations between them, which have no loss, are `evaluations`."""
        return [row for row in read_jsonl(self.path / "metrics.jsonl") if "eval_runtime" not in row]

    def evaluations(self) -> list[dict[str, Any]]:
        """Evaluations of held-out rows during training, that of the start first; empty where there were none."""
        return list(read_jsonl(self.path / "evaluations.jsonl"))

    def samples(self) -> Iterator[dict[str, Any]]:
        return read_jsonl(self.path / "samples.jsonl")

    def write(self, name: str, value: Any) -> None:
        """Atomically write a JSON file of the run."""
        if self.writes:
            write_json(self.path / name, value)

    def write_text(self, name: str, text: str) -> None:
        if self.writes:
            (self.path / name).write_text(text, encoding="utf-8")

    def append(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Append rows to a JSON-lines file of the run."""
        if self.writes:
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
        folders = sorted(self.checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
        return next((folder for folder in reversed(folders) if verify_manifest(folder) is None), None)

    def rewind(self, step: int) -> None:
        """Drop what was logged after `step`, so that a resumed run continues its own files."""
        if not self.writes:
            return
        for name in ("metrics.jsonl", "samples.jsonl", "evaluations.jsonl"):
            path = self.path / name
            if path.exists():
                kept = [row for row in read_jsonl(path) if row.get("step", 0) <= step]
                path.unlink()
                append_jsonl(path, kept)


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


def create(path: Path, *, digest: str, overwrite: bool = False, resume: bool = False) -> Run:
    """Open a run directory under the rule that nothing is ever overwritten unasked.

    Args:
        path: the directory; made if missing.
        digest: `StageConfig.digest()` of the settings about to run; a resume must match it.
        overwrite: remove what an earlier *run* left there (a folder that is no run is never removed).
        resume: continue the run that is there.

    Raises:
        RunDirectoryError: the directory is in use, is no run, or belongs to other settings.
    """
    path = path.expanduser()
    if path.exists() and not path.is_dir():
        raise RunDirectoryError("the output directory is a file", given=path)
    filled = path.is_dir() and any(entry.name not in _OF_THE_LAUNCHER for entry in path.iterdir())
    if resume:
        _check_resumable(path, filled, digest)
    elif filled and overwrite:
        if not (path / "status.json").exists():
            raise RunDirectoryError(
                "will not overwrite a directory that is not a run", given=path, hint="choose another --output-dir"
            )
        shutil.rmtree(path)
    elif filled:
        raise RunDirectoryError(
            "the output directory is not empty",
            given=path,
            hint="add --resume to continue that run, --overwrite to replace it, or choose another --output-dir",
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(f"cannot make the output directory: {error.strerror}", given=path) from error
    return Run(path)


def _check_resumable(path: Path, filled: bool, digest: str) -> None:
    if not filled or not (path / "config.json").exists():
        raise RunDirectoryError("nothing to resume: no run in this directory", given=path, hint="leave out --resume")
    before = read_json(path / "config.json").get("digest")
    if before != digest:
        raise RunDirectoryError(
            "the settings differ from those of the run to resume",
            given=f"{path} (digest {before}, now {digest})",
            hint=f"compare with {path / 'config.json'}, or start afresh with --overwrite",
        )


def open_run(path: Path | str) -> Run:
    """An existing run, for reading. Raises RunDirectoryError if there is none."""
    run = Run(Path(path).expanduser())
    if not (run.path / "status.json").exists():
        raise RunDirectoryError("no run in this directory", given=path, hint="list runs with: rlllm runs ls")
    return run


def list_runs(root: Path) -> list[Run]:
    """Every run at or below `root`, oldest first; pipelines keep their steps' runs one level down."""
    found = [
        path.parent for pattern in ("status.json", "*/status.json", "*/*/status.json") for path in root.glob(pattern)
    ]
    return [Run(path) for path in sorted(found, key=lambda path: (path / "status.json").stat().st_mtime)]


def write_manifest(folder: Path) -> None:
    """Seal a checkpoint: hashes of all its files, written last. A folder without one was never finished."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    write_json(folder / MANIFEST, {str(path.relative_to(folder)): file_hash(path) for path in files})


def verify_manifest(folder: Path) -> str | None:
    """None if every file is there with its hash, else the reason in words."""
    if not (folder / MANIFEST).exists():
        return "has no manifest: it was not finished"
    try:
        manifest: Mapping[str, str] = read_json(folder / MANIFEST)
    except ValueError:
        return "has an unreadable manifest"
    for name, expected in manifest.items():
        path = folder / name
        if not path.exists():
            return f"lacks {name}"
        if file_hash(path) != expected:
            return f"has a changed {name}"
    return None


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
