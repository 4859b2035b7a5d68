"""Kills a run again and again, resumes it each time, and compares what it leaves with what an undisturbed one does."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from rlllm.core.errors import ConfigError, RunDirectoryError
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.core.recipes import read_recipe
from rlllm.core.runs import Run, open_run, write_json
from rlllm.stages.catalog import STAGES, plan, resolve_settings
from rlllm.tools.resume_proof.kills import PARTS, Life, Moment, Moments, live, part_of
from rlllm.tools.resume_proof.same_run import Comparison, Difference, compare_runs
from rlllm.training.plan import starts_processes

WHOLE, KILLED = "whole", "killed"
"""Folders of the two repetitions: each has a `run`, what it `printed.log`, and a user `cache` of its own."""
_LEARNED = ("metrics.jsonl", "samples.jsonl", "evaluations.jsonl", "results.json", "verdict.json", ".safetensors")
"""Ends of names of what a run has in common with its repetition, which was started otherwise and keeps other checkpoints."""


@dataclass(frozen=True)
class Kill:
    """One SIGKILL: part of the run's life, last event and last step before it, and seconds since the start of the process."""

    part: str
    event: str
    step: int
    seconds: float


@dataclass(frozen=True)
class ResumeProof:
    """What came of a proof.

    Args:
        stage: the verb.
        method: its method; None of `eval`.
        run_seed: seed of the run.
        kills: in their order.
        files: files that were compared.
        difference: the first between the undisturbed run and the one that was killed; None where they are equal.
        repeats: whether the run in question has the logs, verdict and weights of its repetition; None where it did not end.
        itself: the first difference between the two.
        seconds: of the undisturbed process.
        folder: where the two runs are kept; None where they were removed.
    """

    stage: str
    method: str | None
    run_seed: int
    kills: list[Kill]
    files: int
    difference: Difference | None
    repeats: bool | None
    itself: Difference | None
    seconds: float
    folder: Path | None

    @property
    def equal(self) -> bool:
        return self.difference is None

    def to_json(self) -> dict[str, Any]:
        return {"equal": self.equal, **asdict(self)}


def prove_resume(
    run: Path | str,
    *,
    kills: int = 3,
    seed: int = 0,
    output_dir: Path | str | None = None,
    progress: ProgressCallback | None = None,
) -> ResumeProof:
    """Repeat a run twice in another place, undisturbed and with SIGKILLs, and compare the two to the bit.

        rlllm.prove_resume("runs/mine", kills=5).equal

    Args:
        run: a run directory; it is only read.
        kills: how many.
        seed: of their moments.
        output_dir: a folder that is empty or not there, where the two runs are kept; None removes them where they are equal.
        progress: told what happens; silent by default.

    Raises:
        RlllmError: the run cannot be repeated: it is none of one verb, or its data, model or rewards are not there.
    """
    original = open_run(run)
    stage, settings = _settings_of(original)
    folder = _empty_folder(output_dir)
    proof = None
    try:
        proof = prove_settings(stage, settings, folder, kills=kills, seed=seed, progress=progress, original=original)
    finally:
        if output_dir is None and (proof is None or proof.equal):
            shutil.rmtree(folder, ignore_errors=True)
    return replace(proof, folder=None) if output_dir is None and proof.equal else proof


def prove_settings(
    stage: str,
    settings: Mapping[str, Any],
    folder: Path,
    *,
    kills: int,
    seed: int,
    progress: ProgressCallback | None = None,
    original: Run | None = None,
) -> ResumeProof:
    """As `prove_resume`, of the settings of a verb, in an empty folder.

    Args:
        stage: the verb.
        settings: without an output directory.
        folder: of the two runs, as an absolute path.
        kills: how many.
        seed: of their moments.
        progress: told what happens; silent by default.
        original: a run with these settings, which is compared, too.

    Raises:
        ConfigError: the run ends with an error.
    """
    return _Work(folder, stage, progress or NullProgress()).prove(original, settings, Random(seed), kills)


def _settings_of(run: Run) -> tuple[str, dict[str, Any]]:
    """Verb and settings of a run, planned, so that what cannot work is found before anything is started."""
    stage = str(run.config.get("stage"))
    if stage not in STAGES:
        raise RunDirectoryError(
            f"a {stage} is made of runs; kills of one of them can be tried",
            given=run.path,
            hint=f"name one of those that are listed by: rlllm runs ls {run.path}",
        )
    settings = read_recipe(run.path / "config.json")
    config = resolve_settings(stage, settings)
    if starts_processes(config):
        raise RunDirectoryError(
            "kills of runs of several processes are not tried",
            given=f"launch={config.launch.name} in {run.path}",
            hint="start the same recipe with launch=local, and name that run",
        )
    plan(config)
    return stage, settings


def _empty_folder(given: Path | str | None) -> Path:
    if given is None:
        return Path(tempfile.mkdtemp(prefix="rlllm-resume-"))
    folder = Path(given).expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunDirectoryError(
            "the folder for the runs is not empty", given=folder, hint="choose another --output-dir"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass
class _Work:
    """A proof under way."""

    folder: Path
    stage: str
    progress: ProgressCallback

    def prove(self, original: Run | None, settings: Mapping[str, Any], moments: Random, count: int) -> ResumeProof:
        self._write(settings)
        self.progress.phase("the whole run, undisturbed")
        whole, life = Run(self._place(WHOLE)), self._live(WHOLE, None, None)
        if life.code != 0:
            raise ConfigError("the run ends with an error where it is repeated", given=life.errors)
        self._write(read_recipe(whole.path / "config.json"))  # with the hardware that it computed on
        kills, last = self._killed(Moments(life, moments), count)
        found = compare_runs(whole.path, self._place(KILLED)) if last.code == 0 else Comparison(0, _ended(last))
        ended = original if original and original.state in ("done", "failed") else None
        itself = compare_runs(whole.path, ended.path, only=_is_learned).difference if ended else None
        config = whole.config["settings"]
        return ResumeProof(
            stage=self.stage,
            method=config.get("method"),
            run_seed=config["seed"],
            kills=kills,
            files=found.files,
            difference=found.difference,
            repeats=itself is None if ended else None,
            itself=itself,
            seconds=round(life.seconds, 1),
            folder=self.folder,
        )

    def _write(self, settings: Mapping[str, Any]) -> None:
        write_json(self.folder / "settings.json", settings)

    def _killed(self, moments: Moments, count: int) -> tuple[list[Kill], Life]:
        """Kill a run so many times, and let it end; what it did at the end, or where it failed."""
        kills: list[Kill] = []
        waiting = moments.draw(count)
        while waiting:
            life = self._live(KILLED, moments, waiting.pop(0))
            if life.code not in (0, -signal.SIGKILL):
                return kills, life
            if life.code == 0:  # it was faster than the moment; every start has a beginning
                waiting.insert(0, moments.one(PARTS[:1]))
                continue
            event = life.last
            kills.append(Kill(part_of(event), event[1], event[2], round(life.seconds, 3)))
            where = f"{event[1]}, step {event[2]}" if event[2] else event[1]
            self.progress.note(f"kill {len(kills)} of {count}: {where}, {life.seconds:.1f} s after the start")
        self.progress.phase("the last resume, to the end")
        return kills, self._live(KILLED, None, None)

    def _place(self, name: str) -> Path:
        """Both runs have one name, since trackers are told it."""
        return self.folder / name / "run"

    def _live(self, name: str, moments: Moments | None, until: Moment | None) -> Life:
        run = self._place(name)
        run.parent.mkdir(exist_ok=True)
        words = [self.stage, str(self.folder / "settings.json"), str(run)]
        if (run / "config.json").exists():
            words.append("--resume")
        log, cache = run.parent / "printed.log", run.parent / "cache"
        return live(words, run, log, cache, moments.order if moments else {}, until)


def _is_learned(name: str) -> bool:
    return name.endswith(_LEARNED) and not name.startswith("checkpoints/")


def _ended(life: Life) -> Difference:
    return Difference("", None, "the process", "ended", f"exit code {life.code}: {life.errors}")
