"""What of a pipeline need not run again: a step is taken as it is where nothing that it depends on has changed.

A step depends on its settings, on rlllm's code, and on content: weights, rows, rewards, Python files, and what the steps that
it names have made. Hashes of these are written into `steps.json` before it begins. What was done under others is moved aside,
and never removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlllm.core.code_hash import package_hash
from rlllm.core.config import StageConfig
from rlllm.core.errors import RunDirectoryError, unknown
from rlllm.core.records import fingerprint
from rlllm.core.runs import Run, file_hash, read_run_file, write_json
from rlllm.stages.catalog import plan
from rlllm.stages.evaluate.plan import EvalPlan
from rlllm.stages.pipeline.order import before
from rlllm.stages.pipeline.settings import Pipeline, PipelineStep, references
from rlllm.training.plan import Plan
from rlllm.training.resumed_inputs import content_of

NEW, CONTINUED, AGAIN, TAKEN = "run", "continue", "run again", "taken"
LEFT_OUT = "left out"
_RECORD = "steps.json"
_SETTINGS = "settings"
_CODE = "the code of rlllm"
_PACKAGES = ("torch", "transformers", "trl")
_ROWS = "rows.jsonl"
"""Rows that a step made for later ones."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which steps are asked for; all by default.

    Args:
        start: the step to begin with. It runs anew, and those before it are taken as they are.
        only: the only step to run. Those that it needs are taken as they are.
    """

    start: str | None = None
    only: str | None = None

    def check(self, pipeline: Pipeline) -> None:
        """Raises UnknownNameError for a name that is no step."""
        for name in (self.start, self.only):
            if name is not None and name not in pipeline.needs:
                raise unknown("step", name, pipeline.needs)

    def as_they_are(self, pipeline: Pipeline) -> set[str]:
        """Steps that are taken without a look at what they depend on."""
        if self.only is not None:
            return before(self.only, pipeline.needs)
        names = [step.name for step in pipeline.ordered]
        return set(names[: names.index(self.start)]) if self.start is not None else set()

    def left_out(self, pipeline: Pipeline) -> set[str]:
        """Steps that are neither run nor needed."""
        return {*pipeline.needs} - {self.only, *self.as_they_are(pipeline)} if self.only is not None else set()


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a step, and why."""

    what: str
    why: str = ""

    @property
    def to_do(self) -> bool:
        """Whether the step runs, or goes on."""
        return self.what not in (TAKEN, LEFT_OUT)


class Steps:
    """The steps that are in a pipeline's directory, and what each depended on when it began.

    Args:
        folder: of the pipeline.
        pipeline: the pipeline.
        accepted: parts of what a resume checks that may have changed; see `training.resumed_inputs.CHANGES`.
    """

    def __init__(self, folder: Path, pipeline: Pipeline, accepted: Sequence[str] = ()) -> None:
        self.folder, self.pipeline, self.accepted = folder, pipeline, accepted
        path = folder / _RECORD
        self.recorded: dict[str, Any] = read_run_file(path) if path.is_file() else {}

    def inputs(self, step: PipelineStep, config: StageConfig) -> dict[str, str]:
        """Everything that a step's result follows from: what it is -> its hash. Reads its data.

        Raises:
            RlllmError: it cannot be planned.
        """
        names = {name: Path(f"@{name}") for name in self.pipeline.needs}
        found = {_SETTINGS: self.pipeline.resolve(step, names).digest(), _CODE: package_hash()}
        found |= {name: version(name) for name in _PACKAGES}
        found |= _content(plan(config))
        return found | {
            f"what {name} made": _made(Run(self.folder / name)) for name in sorted(references(step.settings))
        }

    def decide(self, step: PipelineStep, config: StageConfig, inputs: Mapping[str, str]) -> Decision:
        """What becomes of a step whose directory may be there already."""
        run = Run(self.folder / step.name)
        if not (run.path / "config.json").is_file():
            return Decision(NEW)
        changed = self._changed(step, run, config, inputs)
        if not run.carried_out:  # as in every run that is resumed, its code may be newer than its beginning
            changed = [name for name in changed if name not in (_CODE, *_PACKAGES)]
        if _SETTINGS in changed:
            changed[changed.index(_SETTINGS)] = ", ".join(_settings_changed(run, config)) or _SETTINGS
        if changed:
            return Decision(AGAIN, f"changed: {'; '.join(changed)}")
        if not run.carried_out:
            return Decision(CONTINUED)
        earlier = self.recorded.get(step.name)
        known = [name for name in inputs if earlier is not None and inputs[name] != earlier.get(name)]
        if known:
            return Decision(TAKEN, f"though {', '.join(known)} changed, as --accept-change allows")
        return Decision(TAKEN, "nothing that it depends on has changed")

    def _changed(self, step: PipelineStep, run: Run, config: StageConfig, inputs: Mapping[str, str]) -> list[str]:
        """What differs from the inputs that the step began with; without a record, whether its settings do."""
        earlier = self.recorded.get(step.name)
        if earlier is None:
            return [_SETTINGS] if run.config["digest"] != config.digest() else []
        differing = [name for name in inputs if inputs[name] != earlier.get(name)]
        return [name for name in differing if _part(name) not in self.accepted]

    def record(self, step: PipelineStep, inputs: Mapping[str, str]) -> None:
        """Keep what a step that is about to begin depends on."""
        self.recorded[step.name] = dict(inputs)
        write_json(self.folder / _RECORD, self.recorded)

    def move_aside(self, step: PipelineStep) -> Path:
        """Rename a step's directory, so that it can run anew; the new place."""
        path = self.folder / step.name
        number = next(n for n in range(1, 10**6) if not (self.folder / f"{step.name}.{n}").exists())
        return path.rename(self.folder / f"{step.name}.{number}")

    def done(self, step: PipelineStep, wanted: str) -> Run:
        """The run of a step that is taken as it is. Raises RunDirectoryError where it is not done."""
        run = Run(self.folder / step.name)
        if not run.carried_out:
            raise RunDirectoryError(
                f"the step {step.name} is not done, and {wanted} needs it",
                given=run.path,
                hint="leave out --from and --only, or name another --output-dir",
            )
        return run


def _content(planned: Any) -> dict[str, str]:
    """Hashes of what a plan reads."""
    if isinstance(planned, Plan):
        return content_of(planned)
    if isinstance(planned, EvalPlan):
        baseline = planned.baseline.fingerprint() if planned.baseline else None
        return {
            "model": str(planned.source.fingerprint()),
            **({"baseline": str(baseline)} if planned.baseline else {}),
            **({"baseline": file_hash(planned.earlier.run.path / "items.jsonl")} if planned.earlier else {}),
            **{f"data of {task.name}": task.hash(planned.config) for task in planned.tasks},
        }
    return dict(getattr(planned, "content", {}))


def _made(run: Run) -> str:
    """Hash of what a step leaves to later ones: its model, its rows, or the items that it measured."""
    model = [path for path in sorted(run.model.rglob("*")) if path.is_file()]
    files = [*model, *(path for name in (_ROWS, "items.jsonl") if (path := run.path / name).is_file())]
    return fingerprint([[str(path.relative_to(run.path)), file_hash(path)] for path in files])


def _part(name: str) -> str:
    """The word of `--accept-change` for a part of the inputs."""
    if name.startswith("file ") or name in (_CODE, *_PACKAGES):
        return "code"
    if name.startswith("data"):
        return "data"
    if name in ("rewards", "eval reward"):
        return "rewards"
    return "" if name == _SETTINGS else "model"


def _settings_changed(run: Run, config: StageConfig) -> Iterator[str]:
    """The settings that differ from those of a run, `max_steps 20 -> 40`; what they mean in the file system is left out."""
    before = _flat(run.config.get("settings") or {})
    now = _flat(config.model_dump(mode="json"))
    for name in sorted({*before, *now} - {"output_dir"}):
        if before.get(name) != now.get(name) and not name.startswith(("hardware", "launch", "watchdog")):
            yield f"{name} {json.dumps(before.get(name))} -> {json.dumps(now.get(name))}"


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return found
