"""`rlllm compare` and the page of several runs, problem by problem, the first run against all others; arms seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlllm.core.errors import ConfigError, RlllmError
from rlllm.core.interval_text import interval_text
from rlllm.core.runs import Run, list_runs, open_run
from rlllm.report import MAX_RUNS, render_comparison, short_names

if TYPE_CHECKING:
    from rlllm.evals.compare import Comparison

_LEVEL = 0.05
"""Adjusted p-values below this decide."""


def compare(a: Path | str, b: Path | str, *, seed: int = 0) -> Comparison:
    """Pair the items of two runs: of evaluations, or of training runs as they ended.

    Args:
        a, b: run directories; differences are b minus a.
        seed: seeds the resampling.

    Raises:
        RlllmError: one was not measured, or they do not measure the same thing.
    """
    from rlllm.evals.compare import compare_runs

    return compare_runs(open_run(a), open_run(b), seed=seed)


def compare_all(paths: Sequence[Path | str], *, seed: int = 0) -> list[Comparison]:
    """Pair the items of every run with those of the first; p-values are adjusted over all of them.

    Raises:
        RlllmError: one was not measured, or they do not measure the same thing.
    """
    from rlllm.evals.compare import compare_many

    return compare_many([open_run(path) for path in paths], seed=seed)


def arms_of(paths: Sequence[Path | str]) -> dict[str, Path]:
    """Name -> folder of runs `seed-0`, `seed-1`, ..., of every path that is such a folder or a sweep; empty unless all are.

    The first arm of a sweep is its baseline.
    """
    folders: list[Path] = []
    for given in paths:
        path = Path(given).expanduser()
        if (path / "sweep.json").exists():
            folders += [path / name for name in Run(path).read("sweep.json")["arms"]]
        elif not (path / "status.json").exists() and any(path.glob("seed-*/status.json")):
            folders.append(path)
        else:
            return {}
    return dict(zip(short_names(folders), folders, strict=True))


def compare_arms(folders: Mapping[str, Path]) -> dict[str, Any]:
    """Results as a sweep has them, of folders of runs under several seeds; the first is the baseline.

    Raises:
        ConfigError: fewer than two arms, or a run of the baseline was not measured.
    """
    from rlllm.stages.sweep.results import arm_of_folder, sweep_results

    if len(folders) < 2:
        raise ConfigError("a comparison needs at least two arms", given=", ".join(folders))
    arms = {name: arm_of_folder(folder) for name, folder in folders.items()}
    baseline = next(iter(arms))
    if not arms[baseline].runs:
        raise ConfigError("no run of the baseline was measured", given=folders[baseline])
    seeds = sorted({seed for arm in arms.values() for seed in arm.runs})
    return sweep_results(arms, baseline, equal="none", seeds=seeds)


def conclusion(comparison: Mapping[str, Any], a: str, b: str) -> str:
    """One comparison in a sentence: where one is better, and where the data cannot tell.

    Args:
        comparison: as `Comparison.to_json` gives it.
        a, b: what to call the two runs.
    """
    phrases = []
    for words, tasks in (
        (f"{b} is better than {a} on", [task for task in comparison["tasks"] if _decided(task) > 0]),
        (f"{b} is worse than {a} on", [task for task in comparison["tasks"] if _decided(task) < 0]),
        (f"the data cannot tell {a} from {b} on", [task for task in comparison["tasks"] if not _decided(task)]),
    ):
        if tasks:
            phrases.append(f"{words} {_listed([_found(task) for task in tasks])}")
    return "; ".join(phrases)


def comparison_page(paths: Sequence[Path | str], *, seed: int = 0) -> str:
    """One HTML page about several runs, or about the runs in a folder; evaluations are compared with the first of them.

    Evaluations that cannot be paired stand side by side, and the page says why they were not compared.

    Raises:
        RunDirectoryError: a path holds no run.
        ConfigError: more runs than one page can tell apart, or fewer than two.
    """
    runs = runs_of(paths)
    if not 2 <= len(runs) <= MAX_RUNS:
        raise ConfigError(
            f"a comparison shows two to {MAX_RUNS} runs",
            given=f"{len(runs)} runs in {', '.join(map(str, paths))}",
            hint="name the runs that you want to see together",
        )
    names = short_names([run.path for run in runs])
    comparisons, sentences = _comparisons(runs, dict(zip((run.path for run in runs), names, strict=True)), seed)
    command = f"rlllm report {' '.join(str(path) for path in paths)}"
    title = f"{_listed(names[1:])} against {names[0]}"
    return render_comparison(title, runs, comparisons, sentences, [command])


def runs_of(paths: Sequence[Path | str]) -> list[Run]:
    """The runs that are given, and of a folder that is no run itself all runs below it; each once, in this order."""
    runs: dict[Path, Run] = {}
    for given in paths:
        path = Path(given).expanduser()
        inside = [] if (path / "status.json").exists() else sorted(list_runs(path), key=lambda run: run.path)
        for run in inside or [open_run(path)]:
            runs.setdefault(run.path.resolve(), run)
    return list(runs.values())


def _comparisons(runs: Sequence[Run], names: Mapping[Path, str], seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Comparisons with the first run as JSON, and a sentence about each; of a run that does not compare, why."""
    from rlllm.evals.compare import adjusted, compare_pair, compares

    measured = [run for run in runs if compares(run)]
    if runs[0] not in measured or len(measured) < 2:
        return [], []
    first, pairs, refused = names[runs[0].path], [], []
    for run in measured[1:]:
        try:
            pairs.append(compare_pair(runs[0], run, seed))
        except RlllmError as error:
            refused.append(f"{names[run.path]} and {first} are not compared: {error.what}")
    comparisons = [comparison.to_json() for comparison in adjusted(pairs)]
    return comparisons, [
        *(conclusion(comparison, first, names[Path(comparison["b"])]) for comparison in comparisons),
        *refused,
    ]


def _decided(task: Mapping[str, Any]) -> int:
    """1 for better and -1 for worse where the adjusted p-value of a change is small, and 0 where it is not."""
    change = task["difference"]["estimate"] * (1 if task.get("higher_is_better", True) else -1)
    return (change > 0) - (change < 0) if task["p_holm"] < _LEVEL else 0


def _found(task: Mapping[str, Any]) -> str:
    if not _decided(task):
        smallest = task.get("minimum_detectable_effect")
        return task["task"] if smallest is None else f"{task['task']} (smallest detectable change {smallest:.2g})"
    return f"{task['task']} ({interval_text(task['difference'], '+.2f')})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
