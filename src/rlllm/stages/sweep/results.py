"""`results.json` of a sweep: means over seeds of every arm, and each arm's difference to the baseline and to its controls.

Differences are paired by seed, and inside a seed by held-out problem. With several seeds each seed is one observation: the
interval and the p-value are Student's t over seeds; where all seeds met the same problems a bootstrap over seeds and problems
is given beside it. With one seed both are over problems. p-values are adjusted by Holm's method over all comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from rlllm.core.interval_text import interval_text
from rlllm.core.runs import Run
from rlllm.evals.dialogue_turns import OF_DIALOGUE
from rlllm.evals.statistics.intervals import UNIT, score_bounds
from rlllm.evals.statistics.paired_tests import holm, paired_difference
from rlllm.evals.statistics.seeds import crossed_bootstrap, over_seeds, t_test
from rlllm.stages.sweep.measurements import RunNumbers, finished, numbers_of

_LEVEL = 0.05
JUDGED_AFTER = 3
"""Seeds after which an arm may be given up. Of six runs, three of each kind, all of one kind come last in 1 of 20 orders."""


@dataclass(slots=True)
class ArmRuns:
    """What became of an arm.

    Args:
        settings: over the defaults, as they were given.
        stage: the verb.
        runs: seed -> numbers of the run, for the runs that finished.
        folders: seed -> the run's directory, relative to the sweep's.
        failures: seed -> why there are no numbers.
        reasons: seed -> codes of the verdict's fatal reasons of a run that was measured, such as `got_worse`.
        warnings: seed -> codes of the other reasons.
        outcomes: seed -> state of the run's outcome.
        stopped: seeds after which it was given up, and why; None if it was not.
        untrainable: none of the values that its settings were to be chosen from could be trained.
        notes: what a reader has to know.
        compare_with: names of the arms that it is compared with besides the baseline.
    """

    settings: dict[str, Any]
    stage: str
    runs: dict[int, RunNumbers] = field(default_factory=dict)
    folders: dict[int, str] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    reasons: dict[int, list[str]] = field(default_factory=dict)
    warnings: dict[int, list[str]] = field(default_factory=dict)
    outcomes: dict[int, str | None] = field(default_factory=dict)
    stopped: str | None = None
    untrainable: bool = False
    notes: list[str] = field(default_factory=list)
    compare_with: Sequence[str] = ()

    @property
    def state(self) -> str:
        """`failed`, `stopped`, `done`, or `waiting` where no run was begun."""
        if self.failures or self.untrainable:
            return "failed"
        return "stopped" if self.stopped else "done" if self.runs else "waiting"

    def problems(self) -> list[str]:
        """Why it counts as failed, in words; empty where it does not."""
        untuned = ["no value of its settings could be trained"] if self.untrainable else []
        return untuned + [f"seed {seed}: {reason}" for seed, reason in self.failures.items()]


def arm_of_folder(folder: Path) -> ArmRuns:
    """The runs `seed-0`, `seed-1`, ... of a folder; those that were not measured are failures."""
    arm = ArmRuns({}, "")
    for run in (Run(path.parent) for path in sorted(folder.glob("seed-*/config.json"))):
        seed = int(run.path.name.removeprefix("seed-"))
        arm.stage, arm.settings, arm.folders[seed] = run.config["stage"], run.config["settings"], str(run.path)
        if finished(run):
            arm.runs[seed], arm.outcomes[seed] = numbers_of(run), run.outcome.state if run.outcome else None
        else:
            arm.failures[seed] = f"state {run.status.get('state')}"
    return arm


def sweep_results(arms: Mapping[str, ArmRuns], baseline: str, **about: Any) -> dict[str, Any]:
    """`results.json` of a sweep.

    Args:
        arms: by name.
        baseline: name of the arm that the others are compared with. Comparisons of arms with others that they name, as far as
            these are here, come after those with the baseline.
        about: further keys, put first.
    """
    pairs = [(name, baseline) for name in arms if name != baseline]
    pairs += [(name, other) for name, arm in arms.items() for other in arm.compare_with if other in arms]
    compared = [_compared(name, arms[name], other, arms[other]) for name, other in dict.fromkeys(pairs)]
    known = [row for row in compared if row["p_value"] is not None]
    for row, adjusted in zip(known, holm([row["p_value"] for row in known]), strict=True):
        row["p_holm"] = adjusted
        row["conclusion"] = _conclusion(row)
    measure = next((run for arm in (arms[baseline], *arms.values()) for run in arm.runs.values()), None)
    return {
        **about,
        "measure": measure and measure.measure,
        "higher_is_better": measure is None or measure.higher_is_better,
        "baseline": baseline,
        "arms": {name: _arm(arm, arms[baseline]) for name, arm in arms.items()},
        "comparisons": compared,
        "findings": [_sentence(row) for row in compared if row["difference"]],
    }


def hopeless(arm: ArmRuns, baseline: ArmRuns) -> bool:
    """Whether an arm's first three runs are all worse than all of the baseline's first three, and their intervals do not touch.

    Where arm and baseline are equal in truth, this happens in at most 5 % of cases, however much runs differ by seed: the order
    of six exchangeable runs puts one kind last in 1 of 20 cases. The intervals, over problems, make it rarer.
    """
    ours, theirs = (list(runs.runs.values())[:JUDGED_AFTER] for runs in (arm, baseline))
    if min(len(ours), len(theirs)) < JUDGED_AFTER or _quantity(ours[0]) != _quantity(theirs[0]):
        return False
    if theirs[0].higher_is_better:
        return max(run.high for run in ours) < min(run.low for run in theirs)
    return min(run.low for run in ours) > max(run.high for run in theirs)


def _arm(arm: ArmRuns, baseline: ArmRuns) -> dict[str, Any]:
    names = list(dict.fromkeys(name for run in arm.runs.values() for name in run.numbers))
    rates = frozenset.intersection(*(run.rates for run in arm.runs.values())) if arm.runs else frozenset()
    metrics = {
        name: over_seeds(
            [run.numbers[name] for run in arm.runs.values() if name in run.numbers], UNIT if name in rates else None
        )
        for name in names
    }
    seeds = sorted({*arm.runs, *arm.failures})
    return {
        "stage": arm.stage,
        "settings": arm.settings,
        "state": arm.state,
        "stopped": arm.stopped,
        "notes": arm.notes,
        "measure": next((run.measure for run in arm.runs.values()), None),
        "metrics": metrics,
        "tokens_ratio": _ratio(metrics.get("tokens"), baseline),
        "seeds": [
            {
                "seed": seed,
                "run": arm.folders.get(seed),
                "failure": arm.failures.get(seed),
                "outcome": arm.outcomes.get(seed),
                "reasons": arm.reasons.get(seed, []),
                "warnings": arm.warnings.get(seed, []),
                "numbers": arm.runs[seed].numbers if seed in arm.runs else None,
            }
            for seed in seeds
        ],
    }


def _ratio(tokens: Mapping[str, Any] | None, baseline: ArmRuns) -> float | None:
    """Tokens of an arm's run over those of a baseline's run."""
    counted = [run.numbers["tokens"] for run in baseline.runs.values() if "tokens" in run.numbers]
    return tokens["estimate"] / fmean(counted) if tokens and counted else None


def _compared(name: str, arm: ArmRuns, baseline: str, first: ArmRuns) -> dict[str, Any]:
    """One row of `comparisons`; `reason` says why a difference is missing."""
    seeds = [seed for seed in first.runs if seed in arm.runs]
    row: dict[str, Any] = {"arm": name, "baseline": baseline, "seeds": seeds, "measure": None, "difference": None}
    row |= {"crossed": None, "p_value": None, "p_holm": None, "conclusion": "not measured", "reason": None}
    if not seeds:
        return {**row, "reason": "no seed finished in both arms"}
    pairs = [(arm.runs[seed], first.runs[seed]) for seed in seeds]
    ours, theirs = pairs[0]
    row["measure"] = theirs.measure if ours.measure == theirs.measure else f"{ours.measure} against {theirs.measure}"
    if _quantity(ours) != _quantity(theirs):
        return {**row, "reason": f"it is measured by {ours.measure}, the baseline by {theirs.measure}"}
    if any(mine.problems != other.problems for mine, other in pairs):
        return {**row, "reason": "its held-out problems are not the baseline's"}
    row["higher_is_better"] = theirs.higher_is_better
    same = all(mine.problems == ours.problems for mine, _ in pairs)
    tables = [_judged(mine.scores, other.scores) for mine, other in pairs]
    if len(tables) == 1:
        return {**row, **_over_problems(*tables[0])}
    differences = [fmean(mine) - fmean(other) for mine, other in tables]
    row |= {"difference": over_seeds(differences), "by_seed": differences, "p_value": t_test(differences)}
    table = _complete(pairs) if same else []
    if table and table[0]:
        row["crossed"] = crossed_bootstrap(table).to_json()
    return {**row, "how": f"t over {len(seeds)} seeds, paired by seed and problem"}


def _quantity(run: RunNumbers) -> str:
    """What the main measure counts: a right answer is one, whether a dialogue came to it or a single completion."""
    return run.measure.removesuffix(OF_DIALOGUE)


def _judged(ours: Sequence[float | None], theirs: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """The problems that both could be judged on."""
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    return [a for a, _ in both], [b for _, b in both]


def _over_problems(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """The difference under one seed, over problems: what another seed would give, it does not say."""
    compared = paired_difference(theirs, ours, bounds=score_bounds([ours], [theirs]))
    return {
        "difference": {**compared.interval.to_json(), "seeds": 1},
        "by_seed": [compared.interval.estimate],
        "p_value": compared.p_value,
        "how": f"one seed, over {len(ours)} held-out problems",
    }


def _complete(pairs: Sequence[tuple[RunNumbers, RunNumbers]]) -> list[list[float]]:
    """One row for each seed: the differences on the problems that could be judged under every seed."""
    rows = [
        [None if a is None or b is None else a - b for a, b in zip(mine.scores, other.scores, strict=True)]
        for mine, other in pairs
    ]
    judged = [at for at in range(len(rows[0])) if all(row[at] is not None for row in rows)]
    return [[value for at in judged if (value := row[at]) is not None] for row in rows]


def _conclusion(row: Mapping[str, Any]) -> str:
    if row["p_holm"] > _LEVEL:
        return "no measurable difference"
    return "better" if (row["difference"]["estimate"] > 0) == row["higher_is_better"] else "worse"


def _sentence(row: Mapping[str, Any]) -> str:
    """`dapo over grpo: pass@1 +0.015 [-0.005, 0.035], p 0.11, adjusted 0.87: no measurable difference (...)`."""
    adjusted = "-" if row["p_holm"] is None else f"{row['p_holm']:.3g}"
    p_values = f"p {row['p_value']:.3g}, adjusted {adjusted}"
    change = interval_text(row["difference"], "+.3f", bounds=".3f")
    return f"{row['arm']} over {row['baseline']}: {row['measure']} {change}, {p_values}: {row['conclusion']} ({row['how']})"
