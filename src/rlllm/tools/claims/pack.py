"""Packs a finished run, a sweep, an experiment with controls or a pipeline into a claim. Reads run directories only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from rlllm.core.errors import ConfigError, RunDirectoryError
from rlllm.core.runs import Run, file_hash, read_json, write_text
from rlllm.tools.claims.claim_file import Claim, ClaimRow, text_of

_STEPS = 200
"""Logged steps whose numbers are kept of a single run."""
_STEPS_OF_MANY = 10
"""The same where a claim has several rows: a verification by the first steps needs a few."""
_EXAMPLES = 3
_SERIES = (
    *("step", "loss", "grad_norm", "learning_rate", "reward", "reward_std", "entropy", "kl"),
    *("num_tokens", "completions/mean_length", "mean_token_accuracy", "rewards/margins"),
)
"""Numbers of `metrics.jsonl` that a seed decides; times and speeds are left out."""
_ENVIRONMENT = ("packages", "code", "python", "processor", "device", "gpu", "bf16", "threads", "matmul", "processes")


def claim(run: Path | str, output: Path | str | None = None) -> dict[str, Any]:
    """Pack recipe, hashes, versions, seeds, samples and measures of a run into one document.

        rlllm.claim("runs/mine", "mine.claim.json")

    Args:
        run: directory of a finished training run, a sweep, an experiment with controls or seeds, a pipeline, or a folder of
            these.
        output: the file to write; None writes none.

    Returns:
        The document; `rlllm.verify` reads its file.

    Raises:
        RunDirectoryError: no finished training run is there.
        ConfigError: the file cannot be written.
    """
    document = pack(Path(run).expanduser()).to_json()
    if output is not None:
        try:
            write_text(Path(output), text_of(document))
        except OSError as error:
            raise ConfigError(f"cannot write the claim: {error.strerror}", given=output) from error
    return document


def pack(folder: Path) -> Claim:
    """The claim of a run directory. Raises RunDirectoryError if no finished training run is there."""
    members = list(_members(folder))
    if not members:
        raise RunDirectoryError(
            "there is no finished training run to claim", given=folder, hint="list runs with: rlllm runs ls"
        )
    steps = _STEPS if len(members) == 1 else _STEPS_OF_MANY
    names = {run.path.resolve(): name for name, _, run in members}
    rows: dict[str, ClaimRow] = {}
    for name, arm, run in members:
        _add(run, name, arm, steps, names, rows)
    command = Run(folder).read_or_empty("config.json").get("command")
    return Claim(folder.resolve().name, command, [name for name, _, _ in members], list(rows.values()))


def _members(folder: Path) -> Iterator[tuple[str, str, Run]]:
    """Name, arm and directory of each finished training run that a directory is about; of a folder of runs, all below it."""
    name = folder.resolve().name
    if (folder / "pipeline.json").is_file():
        found = [(step, step, Run(folder / step)) for step in _steps(folder)]
    elif (folder / "sweep.json").is_file():
        found = [(f"{arm}/seed-{seed}", arm, Run(folder / path)) for arm, seed, path in _seeds_of_sweep(folder)]
    elif (folder / "status.json").is_file():
        parts = _parts(folder)
        children = [(part, part.rpartition("-seed-")[0] or part, Run(folder / part)) for part in parts]
        found = children or [(name, name, Run(folder))]
    else:
        below = [path for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
        members = [(path.name, member) for path in below for member in _members(path)]
        found = [(_inside(place, own), _inside(place, arm), run) for place, (own, arm, run) in members]
    yield from ((name, arm, run) for name, arm, run in found if _finished(run))


def _inside(folder: str, name: str) -> str:
    return name if name == folder else f"{folder}/{name}"


def _parts(folder: Path) -> list[str]:
    """Names of the runs of an experiment with controls or seeds; none of another run."""
    run = Run(folder)
    settings = run.config["settings"]
    several = settings.get("controls") or settings.get("seeds", 1) != 1
    parts: list[str] = run.read_or_empty("lineage.json").get("parts", []) if several else []
    return parts


def _steps(folder: Path) -> list[str]:
    return list(read_json(folder / "pipeline.json")["steps"])


def _seeds_of_sweep(folder: Path) -> Iterator[tuple[str, int, str]]:
    for arm, content in Run(folder).results.get("arms", {}).items():
        yield from ((arm, row["seed"], row["run"]) for row in content["seeds"] if row["run"])


def _finished(run: Run) -> bool:
    """Whether it trained to its end; what its verdict says is part of the claim."""
    return run.status["state"] in ("done", "failed") and run.config["stage"] != "eval" and run.model.is_dir()


def _add(run: Run, name: str, arm: str, steps: int, names: dict[Path, str], rows: dict[str, ClaimRow]) -> None:
    """Add the rows of the runs that a run's settings name, and then its own.

    Args:
        steps: logged steps to keep of each.
        names: directory -> name of the row, for all runs met so far; what is met here is added.
        rows: the rows so far, by name.
    """
    if name in rows:
        return
    files, needs = {}, {}
    for path in _paths(run.config["settings"]):
        needed, file = Run(Path(path).expanduser()), file_of(path)
        if (needed.path / "status.json").is_file():
            needs[path] = names.setdefault(needed.path.resolve(), _relative_name(needed, run))
            _add(needed, needs[path], needs[path], steps, names, rows)
        elif file is not None:
            files[path] = file_hash(file)
    rows[name] = _row(run, name, arm, steps, files, needs)


def _relative_name(needed: Run, run: Run) -> str:
    """Name of a needed run: its folder's, with the parent's where both lie in one sweep or pipeline."""
    place = needed.path.resolve()
    root = run.path.resolve().parent.parent
    return str(place.relative_to(root)) if place.is_relative_to(root) else place.name


def _paths(value: Any) -> Iterator[str]:
    """Texts in settings that name a file or a folder, at any depth; a file may be followed by `:ATTRIBUTE`."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key != "output_dir":
                yield from _paths(item)
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item)
    elif isinstance(value, str) and ("/" in value or "." in value):
        yield value


def file_of(text: str) -> Path | None:
    """The file that a setting names; None if it names none."""
    paths = (Path(text).expanduser(), Path(text.rpartition(":")[0] or text).expanduser())
    return next((path for path in paths if path.is_file()), None)


def _row(run: Run, name: str, arm: str, steps: int, files: dict[str, str], needs: dict[str, str]) -> ClaimRow:
    config, lineage, verdict = run.config, run.read("lineage.json"), run.verdict
    return ClaimRow(
        name=name,
        arm=arm,
        stage=config["stage"],
        settings={key: value for key, value in {"seed": 0, **config["given"]}.items() if key != "output_dir"},
        trl=config.get("trl", {}),
        environment=environment_of(run),
        model=lineage["model"]["weights"],
        data={key: lineage["data"][key] for key in ("source", "hash", "train", "holdout")},
        rewards=lineage["rewards"] and lineage["rewards"]["hash"],
        files=files,
        needs=needs,
        series=first_steps(run, steps),
        measures=run.results.get("measures", []),
        scores=scores_after(run),
        weights=weights_of(run),
        samples=_samples(run),
        outcome=verdict.get("outcome"),
        ok=bool(verdict.get("ok")),
        steps=verdict.get("diagnostics", {}).get("steps_done", 0),
        seconds=float(run.status.get("seconds", 0.0)),
    )


def environment_of(run: Run) -> dict[str, Any]:
    """Versions, code and hardware that decide the bits of a run."""
    environment = run.read("env.json")
    return {key: environment.get(key) for key in _ENVIRONMENT}


def first_steps(run: Run, steps: int) -> list[dict[str, float]]:
    """Of the first logged steps the numbers that a seed decides."""
    return [{key: row[key] for key in _SERIES if key in row} for row in run.metrics()[:steps]]


def scores_after(run: Run) -> list[float | None]:
    """Of each held-out problem the mean score of the main measure after training; empty where nothing was measured."""
    if not (run.path / "measured_after.json").is_file():
        return []
    return [fmean(row) if row else None for row in run.read("measured_after.json")[0]["scores"]]


def weights_of(run: Run) -> dict[str, str]:
    """File of weights -> SHA-256. An ensemble has none of its own."""
    folder = run.model.resolve()
    return {str(path.relative_to(folder)): file_hash(path) for path in sorted(folder.rglob("*.safetensors"))}


def _samples(run: Run) -> dict[str, Any]:
    """Number and hash of the sampled completions, and the first few of the last step."""
    digest, count, last = hashlib.sha256(), 0, list[dict[str, Any]]()
    for row in run.samples():
        digest.update(f"{row.get('step')}\0{row.get('completion')}\0".encode(errors="backslashreplace"))
        count += 1
        last = [*last, row] if last and last[0].get("step") == row.get("step") else [row]
    keys = ("step", "prompt", "completion", "reward")
    examples = [{key: row[key] for key in keys if key in row} for row in last[:_EXAMPLES]]
    return {"count": count, "sha256": digest.hexdigest(), "examples": examples}
