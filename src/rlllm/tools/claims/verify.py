"""Runs a claim again, or the cheapest part of it that decides, and says whether it is reproduced."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlllm.core.config import StageConfig
from rlllm.core.errors import ConfigError
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.core.runs import Run, RunOptions, file_hash
from rlllm.stages.catalog import plan, resolve_settings, stage_function
from rlllm.tools.claims.agreement import NOT_REPRODUCED, REPRODUCED, UNDECIDED, agreement, margin_of
from rlllm.tools.claims.claim_file import Claim, ClaimRow, read_claim
from rlllm.tools.claims.pack import environment_of, file_of, first_steps, scores_after, weights_of

_STEPS = 6
"""First steps that a quick verification repeats: more than most rollouts serve, so that one is sampled by changed weights."""


@dataclass(frozen=True, kw_only=True)
class VerifiedRow:
    """What came of one row.

    Args:
        name: of the row.
        verdict: `reproduced`, `not reproduced` or `not decidable at this power`.
        why: one sentence.
        differences: what the verification's machine, versions and code have otherwise: name -> claimed and present value.
        agreement: difference, margin and power, where the runs were compared by their scores.
        seconds: of the new run.
    """

    name: str
    verdict: str
    why: str
    differences: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    agreement: dict[str, Any] | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Verification:
    """What came of a claim."""

    title: str
    rows: list[VerifiedRow]

    @property
    def verdict(self) -> str:
        """Of the whole: not reproduced if any row is not, else undecided if any row is."""
        found = {row.verdict for row in self.rows}
        return next(verdict for verdict in (NOT_REPRODUCED, UNDECIDED, REPRODUCED) if verdict in found)

    def to_json(self) -> dict[str, Any]:
        return {"verdict": self.verdict, **asdict(self)}


@dataclass(frozen=True)
class _Work:
    """A verification under way."""

    claim: Claim
    folder: Path
    steps: int
    """First steps to repeat; 0 repeats whole runs."""
    margin: float | None
    progress: ProgressCallback


def verify(
    file: Path | str,
    *,
    rows: Iterable[str] = (),
    count: int | None = None,
    quick: bool = False,
    steps: int = _STEPS,
    margin: float | None = None,
    output_dir: Path | str | None = None,
    progress: ProgressCallback | None = None,
) -> Verification:
    """Run a claim again, and say whether it is reproduced.

        rlllm.verify("mine.claim.json", quick=True).verdict

    Args:
        file: a claim, or a results file of the documentation that holds one.
        rows: names of rows, or of arms, whose first seed is taken; empty for all.
        count: of all rows so many: the first seed of every arm, then the second.
        quick: repeat the first steps only, and compare them bit for bit.
        steps: how many they are.
        margin: largest difference of the main measure that counts as none; None derives it from the claim.
        output_dir: keep the new runs there; None removes them.
        progress: told what happens; silent by default.

    Raises:
        RlllmError: the file is no claim or was changed; a row, a file or data it names is not there, or is not what it was.
    """
    claim = read_claim(file)
    chosen = chosen_rows(claim, rows, count)
    with _folder(output_dir) as folder:
        work = _Work(claim, folder, steps if quick else 0, margin, progress or NullProgress())
        for row in chosen:
            check(claim, row)
        return Verification(claim.title, [_verified(work, row) for row in chosen])


def chosen_rows(claim: Claim, rows: Iterable[str], count: int | None) -> list[ClaimRow]:
    """The rows to verify. Raises ConfigError for a name that the claim does not have."""
    named = [claim.row(name) for name in rows]
    if named and count is not None:
        raise ConfigError("rows are chosen by name or by number, not by both", given=f"{count} rows, {named[0].name}")
    return named or claim.spread(len(claim.claims) if count is None else count)


def check(claim: Claim, row: ClaimRow) -> None:
    """Whether a row can be run here.

    Raises:
        ConfigError: a file or data that it names is missing or has changed.
        RlllmError: its settings do not resolve.
    """
    for path, digest in row.files.items():
        file = file_of(path)
        if file is None:
            raise ConfigError(
                f"a file that {row.name} needs is missing",
                given=path,
                hint="start the verification in the folder that the path counts from",
            )
        if file_hash(file) != digest:
            raise ConfigError(
                f"a file that {row.name} needs has changed", given=f"{path}: SHA-256 {file_hash(file)}, not {digest}"
            )
    for name in row.needs.values():
        check(claim, claim.row(name))
    if all(_is_there(claim, path, name) for path, name in row.needs.items()):
        _check_inputs(row, plan(_config(row, {}, None)))


def _check_inputs(row: ClaimRow, planned: Any) -> None:
    """Raises ConfigError where data or model are not those of the claim."""
    found = {"data": planned.loaded.hash, "model": planned.source.fingerprint()}
    for name, claimed in (("data", row.data["hash"]), ("model", row.model)):
        if found[name] != claimed:
            raise ConfigError(
                f"the {name} of {row.name} is not what it was",
                given=f"{row.settings[name] if name == 'model' else row.data['source']}: hash {found[name]}, not {claimed}",
                hint="its content has changed, or this version of rlllm makes other rows of it",
            )


def _is_there(claim: Claim, path: str, name: str) -> bool:
    """Whether a run that a row needs lies where its settings say, with the weights that it had."""
    run = Run(Path(path).expanduser())
    return run.model.is_dir() and weights_of(run) == claim.row(name).weights


def _config(row: ClaimRow, places: Mapping[str, str], folder: Path | None) -> StageConfig:
    """The settings of a row, with other places for the runs that it needs."""
    settings = _moved(row.settings, places)
    return resolve_settings(row.stage, {**settings, **({} if folder is None else {"output_dir": str(folder)})})


def _moved(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _moved(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, places) for item in value]
    return places.get(value, value) if isinstance(value, str) else value


@contextlib.contextmanager
def _folder(given: Path | str | None) -> Iterator[Path]:
    if given is not None:
        yield Path(given).expanduser()
        return
    with tempfile.TemporaryDirectory(prefix="rlllm-verify-") as folder:
        yield Path(folder)


def _run_again(work: _Work, row: ClaimRow, steps: int) -> Run:
    """The run of a row, and before it those that it needs and that are not there."""
    places = {}
    for path, name in row.needs.items():
        if not _is_there(work.claim, path, name):
            needed = Run(work.folder / name)
            if not (needed.path / "status.json").exists():
                _run_again(work, work.claim.row(name), 0)
            places[path] = str(needed.path)
    config = _config(row, places, work.folder / row.name)
    options = RunOptions(work.progress, overwrite=True, environment=row.environment, stop_after=steps)
    work.progress.note(f"running {row.name} again")
    return stage_function(row.stage)(config, options)


def _verified(work: _Work, row: ClaimRow) -> VerifiedRow:
    run = _run_again(work, row, work.steps)
    differences = _differences(row, run)
    seconds = float(run.status.get("seconds", 0.0))
    compare = _compared_early if work.steps and row.series else _compared_whole
    verdict, why, scores = compare(work, row, run, differences)
    return VerifiedRow(
        name=row.name, verdict=verdict, why=why, differences=differences, agreement=scores, seconds=seconds
    )


def _differences(row: ClaimRow, run: Run) -> dict[str, tuple[Any, Any]]:
    """What decides the last bits and is otherwise here: name -> claimed and present value."""
    claimed, here = (_flat(environment) for environment in (row.environment, environment_of(run)))
    return {key: (claimed.get(key), value) for key, value in here.items() if claimed.get(key) != value}


def _flat(environment: Mapping[str, Any]) -> dict[str, Any]:
    packages = {name: version for name, version in environment["packages"].items() if name != "rlllm"}
    return {**packages, **{key: value for key, value in environment.items() if key != "packages"}}


_Compared = tuple[str, str, dict[str, Any] | None]


def _compared_early(work: _Work, row: ClaimRow, run: Run, differences: Mapping[str, Any]) -> _Compared:
    """By the numbers of the first steps, and what was measured before them."""
    claimed = row.series[: work.steps]
    found = first_steps(run, len(claimed))
    place = _first_difference(_start(row.measures), _measured_before(run), claimed, found)
    if place is None:
        return REPRODUCED, f"bit for bit up to step {claimed[-1]['step']:g} of {row.steps}", None
    if differences:
        return UNDECIDED, f"{place}, as it may where {', '.join(differences)} differ; leave out --quick", None
    return NOT_REPRODUCED, f"{place}, on the same versions and hardware", None


def _first_difference(
    start: float | None,
    measured: float | None,
    claimed: Sequence[Mapping[str, float]],
    found: Sequence[Mapping[str, float]],
) -> str | None:
    """Where two beginnings of a run part; None if they are the same."""
    if start is not None and (measured is None or not math.isclose(start, measured, rel_tol=1e-12)):
        return f"the start was measured as {measured}, not {start}"
    if len(found) < len(claimed):
        return f"it ended after {len(found)} logged steps"
    for then, now in zip(claimed, found, strict=True):
        for key, value in then.items():
            if not _same(value, now.get(key)):
                return f"{key} differs at step {then['step']:g}: {now.get(key)}, not {value}"
    return None


def _same(claimed: float, found: float | None) -> bool:
    return claimed == found or (found is not None and math.isnan(claimed) and math.isnan(found))


def _start(measures: Sequence[Mapping[str, Any]]) -> float | None:
    return measures[0]["before"]["estimate"] if measures and measures[0]["before"] else None


def _measured_before(run: Run) -> float | None:
    from statistics import fmean

    if not (run.path / "measured_before.json").is_file():
        return None
    rows = run.read("measured_before.json")[0]["scores"]
    return fmean(fmean(row) for row in rows if row)


def _compared_whole(work: _Work, row: ClaimRow, run: Run, differences: Mapping[str, Any]) -> _Compared:
    """By weights and scores; where these differ and something else does, by the statistics of the main measure."""
    scores = scores_after(run)
    if weights_of(run) == row.weights and scores == row.scores:
        return REPRODUCED, "bit for bit: weights, and every score of the held-out problems", None
    if not differences:
        what = "weights" if weights_of(run) != row.weights else "scores"
        return NOT_REPRODUCED, f"other {what}, on the same versions and hardware", None
    margin = work.margin or (margin_of(row.measures[0]) if row.measures else 0.0)
    if not scores or not row.scores or not margin:
        return UNDECIDED, "other weights, and no measure with an interval to compare them by", None
    found = agreement(row.scores, scores, margin, row.seed)
    name = row.measures[0]["name"]
    change = found.difference
    why = (
        f"{name} differs by {change['estimate']:+.3f} [{change['low']:.3f}, {change['high']:.3f}], margin {margin:.3f}, "
        f"power {found.power:.2f}, {found.problems} problems"
    )
    if found.verdict == UNDECIDED:
        why += f"; a margin of {found.smallest_margin:.3f} has power 0.8"
    return found.verdict, why, asdict(found)
