"""Results of an experiment with controls or several seeds: gains, and what the true reward adds over each control.

With one seed, runs are paired over the held-out prompts, and the interval is over prompts. With several seeds each seed is one
observation: the interval is Student's t over seeds; a bootstrap over seeds and prompts together is reported as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rlllm.core.interval_text import interval_text
from rlllm.core.runs import Run
from rlllm.evals.statistics.intervals import Interval, score_bounds
from rlllm.evals.statistics.paired_tests import paired_difference
from rlllm.evals.statistics.seeds import crossed_bootstrap, over_seeds, t_interval
from rlllm.training.control_rewards import CONTROLS, TRUE

Runs = Mapping[tuple[int, str], Run]
"""(seed, name) -> run."""
_Table = list[list[float]]
"""One row for each seed, one column for each held-out prompt."""
_GAINS = (-1.0, 1.0)


def compare(runs_by_seed: Runs, *, seed: int = 0) -> dict[str, Any]:
    """`results.json` of an experiment.

    Args:
        runs_by_seed: every run, measured before and after on the same held-out prompts.
        seed: seeds the resampling.

    Returns:
        `measures` (before, after and change of each kind of run), `controls` (what the true reward adds over each), `seeds`
        (the gain of every run) and `findings` (the same in sentences).
    """
    seeds = list(dict.fromkeys(number for number, _ in runs_by_seed))
    kinds = {
        name: [runs_by_seed[number, name] for number in seeds]
        for name in dict.fromkeys(name for _, name in runs_by_seed)
    }
    gains = {name: [_gains(run) for run in runs] for name, runs in kinds.items()}
    measure = str(_measured(kinds[TRUE][0], "before")["name"])
    controls = [_added(name, measure, gains[TRUE], gains[name], seed) for name in kinds if name != TRUE]
    summary = [_summary(name, runs, seeds) for name, runs in kinds.items()]
    return {
        "measures": [_measure(_label(measure, name, len(kinds)), runs) for name, runs in kinds.items()],
        "controls": controls,
        "seeds": summary,
        "findings": [row["text"] for row in controls] or [_spread(measure, summary[0])],
    }


def judged(*tables: Sequence[Sequence[float | None]]) -> list[_Table]:
    """The tables without the prompts that any of them has no number for."""
    columns = range(len(tables[0][0]))
    complete = [at for at in columns if all(row[at] is not None for table in tables for row in table)]
    return [[[value for at in complete if (value := row[at]) is not None] for row in table] for table in tables]


def _measured(run: Run, when: str) -> Mapping[str, Any]:
    measured: Mapping[str, Any] = run.read(f"measured_{when}.json")[0]
    return measured


def _gains(run: Run) -> list[float | None]:
    """Of each held-out prompt the change of its pass rate; None where either end could not be judged."""
    ends = (_measured(run, when)["scores"] for when in ("before", "after"))
    return [fmean(now) - fmean(then) if then and now else None for then, now in zip(*ends, strict=True)]


def _label(measure: str, name: str, kinds: int) -> str:
    return measure if kinds == 1 else f"{measure}, {name}"


def _measure(label: str, runs: Sequence[Run]) -> dict[str, Any]:
    """A row of `measures`: the run's own, or with several seeds the mean over them."""
    rows = [run.read("results.json")["measures"][0] for run in runs]
    if len(rows) == 1:
        return {**rows[0], "name": label}
    means = {"difference": over_seeds([row["difference"]["estimate"] for row in rows])}
    for when in ("before", "after"):
        bounds = score_bounds(*(_measured(run, when)["scores"] for run in runs))
        means[when] = over_seeds([row[when]["estimate"] for row in rows], bounds)
    return {"name": f"{label}, mean of {len(rows)} seeds", "higher_is_better": True, **means}


def _added(
    name: str,
    measure: str,
    true: Sequence[Sequence[float | None]],
    control: Sequence[Sequence[float | None]],
    seed: int,
) -> dict[str, Any]:
    """What the true reward gains beyond a control, prompt by prompt under the same seed."""
    ours, theirs = judged(true, control)
    row: dict[str, Any] = {"control": name, "phrase": CONTROLS[name].phrase, "measure": measure}
    if len(ours) == 1:
        compared = paired_difference(theirs[0], ours[0], seed, bounds=_GAINS)
        added, shown = compared.interval, compared.to_json()
        how = f"95 % interval over {len(ours[0])} held-out prompts, one seed"
    else:
        table = [[a - b for a, b in zip(*rows, strict=True)] for rows in zip(ours, theirs, strict=True)]
        added = t_interval([fmean(line) for line in table])
        shown = over_seeds([fmean(line) for line in table])
        row["clustered"] = crossed_bootstrap(table, seed).to_json()
        how = f"mean of {len(ours)} seeds, 95 % t interval over seeds"
    gains = {"gain": fmean(map(fmean, ours)), "control_gain": fmean(map(fmean, theirs))}
    text = f"the true reward adds {_signed(added)} {measure} over {row['phrase']} ({how})"
    answer = {"answer": _answer(added, gains["gain"]), "how": how, "text": text}
    return {**row, **gains, "added": shown, **answer}


def _answer(added: Interval, gain: float) -> str:
    """What the interval of the added gain says.

    `adds` where it lies above 0; `no gain` where it rules out that the true reward brings even half of what the run gained;
    else `cannot tell`: both are possible.
    """
    if added.low > 0:
        return "adds"
    return "no gain" if added.high <= max(0.0, gain / 2) else "cannot tell"


def _summary(name: str, runs: Sequence[Run], seeds: Sequence[int]) -> dict[str, Any]:
    """Gain of every run of one kind, by seed."""
    gains = [run.read("results.json")["measures"][0]["difference"]["estimate"] for run in runs]
    return {
        "name": name,
        "seeds": list(seeds),
        "gains": gains,
        "mean": over_seeds(gains) if len(gains) > 1 else None,
        "spread": max(gains) - min(gains),
        "tokens": [run.metrics()[-1].get("num_tokens") if run.metrics() else None for run in runs],
        "runs": [run.path.name for run in runs],
    }


def _spread(measure: str, row: Mapping[str, Any]) -> str:
    gains = row["gains"]
    return (
        f"{measure} gains {_signed(t_interval(gains))} (mean of {len(gains)} seeds, 95 % t interval over seeds); "
        f"single seeds from {min(gains):+.2f} to {max(gains):+.2f}"
    )


def _signed(value: Interval) -> str:
    """`+0.21 [0.17, 0.25]`."""
    if not math.isfinite(value.low) or not math.isfinite(value.high):
        return f"{value.estimate:+.2f} [unknown]"
    return interval_text(value.to_json(), "+.2f", bounds=".2f")
