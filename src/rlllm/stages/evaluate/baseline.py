"""`--baseline`: an earlier evaluation to compare with, problem by problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlllm.core.config import model_reference
from rlllm.core.errors import ConfigError, describe
from rlllm.core.runs import Run, read_jsonl, read_run_file

if TYPE_CHECKING:
    from rlllm.evals.compare import TaskComparison

_COMPARED = itemgetter("task", "id", "scores")


@dataclass(frozen=True)
class EarlierEvaluation:
    """An earlier evaluation that measured some of the same tasks.

    Args:
        run: the evaluation.
        names: name of each task here, and of the same task there.
    """

    run: Run
    names: Mapping[str, str]

    def compare(self, name: str, metric: str, items: Iterable[Mapping[str, Any]], seed: int) -> TaskComparison:
        """The earlier evaluation (before) against these items (after), over the items both have.

        Raises:
            ConfigError: they share no item.
        """
        from rlllm.evals.compare import compare, evaluated

        rows = (row for row in read_jsonl(self.run.path / "items.jsonl") if row["task"] == self.names[name])
        before, after = evaluated(rows), evaluated(items)
        return compare(
            before.scores, after.scores, lengths=(before.lengths, after.lengths), task=name, metric=metric, seed=seed
        )


def earlier_evaluation(reference: str) -> Run | None:
    """The evaluation run in that folder, or None where it is something else. Raises ConfigError if it cannot be read."""
    run = Run(Path(reference).expanduser())
    if not (run.path / "items.jsonl").is_file():
        return None
    try:
        results = run.path / "results.json"
        tasks = read_run_file(results).get("tasks") if results.exists() else None
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"the baseline's results.json cannot be read: {error}", given=reference) from error
    try:  # now, and not when there is something to compare with them, which may be hours later
        for row in read_jsonl(run.path / "items.jsonl"):
            _COMPARED(row)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"the baseline's items.jsonl cannot be read: {describe(error)}", given=reference) from error
    return run if tasks else None


def model_of(run: Run) -> str:
    """The model that an evaluation measured, as its settings name it."""
    return model_reference(run.config["settings"]["model"])


def matching_tasks(run: Run, hashes: Mapping[str, str]) -> EarlierEvaluation:
    """The tasks of an earlier evaluation that are these.

    Args:
        run: the evaluation.
        hashes: of each task that is planned, by name.

    Raises:
        ConfigError: it measured none of them.
    """
    there = {task.get("hash"): name for name, task in run.results["tasks"].items()}
    names = {name: there[digest] for name, digest in hashes.items() if digest in there}
    if not names:
        raise ConfigError(
            "the baseline measured none of these tasks (their problems, rewards or sampling differ)",
            given=f"{', '.join(hashes)} here, {', '.join(there.values())} in {run.path}",
            hint=f"evaluate with the settings in {run.path / 'config.json'}, or name a model",
        )
    return EarlierEvaluation(run, names)
