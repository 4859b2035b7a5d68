"""What is concluded from the runs of an experiment, on numbers that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rlllm.core.runs import Run, write_json
from rlllm.core.verdict import Diagnostics, judge
from rlllm.training.control_results import compare, judged


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Writes runs from name -> seed -> pass rate of each prompt after training; before it, no prompt passed."""

    def write(after: dict[str, list[list[float | None]]]) -> dict[tuple[int, str], Run]:
        runs = {}
        for name, seeds in after.items():
            for seed, rates in enumerate(seeds):
                run = Run(tmp_path / f"{name}-{seed}")
                scores = {"before": [[0.0] for _ in rates], "after": [[] if rate is None else [rate] for rate in rates]}
                for when, rows in scores.items():
                    write_json(run.path / f"measured_{when}.json", [{"name": "pass@1", "scores": rows}])
                mean = float(np.mean([rate for rate in rates if rate is not None]))
                values = {"before": 0.0, "after": mean, "difference": mean}
                row = {
                    part: {"estimate": value, "low": None, "high": None, "n": len(rates)}
                    for part, value in values.items()
                }
                write_json(run.path / "results.json", {"measures": [{"name": "pass@1", **row}]})
                runs[seed, name] = run
        return runs

    return write


GENERATOR = np.random.default_rng(0)
TRUE = (GENERATOR.random((4, 30)) < 0.7).astype(float)
RANDOM = (GENERATOR.random((4, 30)) < 0.2).astype(float)


def test_with_one_seed_runs_are_paired_over_the_prompts(made: Any) -> None:
    results = compare(made({"true": TRUE[:1].tolist(), "random": RANDOM[:1].tolist()}))
    (row,) = results["controls"]
    assert row["added"]["estimate"] == pytest.approx((TRUE[0] - RANDOM[0]).mean())
    assert row["added"]["n"] == 30
    assert "clustered" not in row
    assert row["answer"] == "adds"
    assert row["text"].endswith("over random rewards (95 % interval over 30 held-out prompts, one seed)")


def test_with_several_seeds_the_interval_is_students_over_them(made: Any) -> None:
    results = compare(made({"true": TRUE.tolist(), "random": RANDOM.tolist()}))
    (row,) = results["controls"]
    added = (TRUE - RANDOM).mean(1)
    low, high = stats.t.interval(0.95, 3, loc=added.mean(), scale=stats.sem(added))
    assert (row["added"]["estimate"], row["added"]["low"], row["added"]["high"]) == pytest.approx(
        (added.mean(), low, high)
    )
    assert row["clustered"]["estimate"] == pytest.approx(added.mean())
    assert row["text"].endswith("over random rewards (mean of 4 seeds, 95 % t interval over seeds)")
    assert [seed["gains"] for seed in results["seeds"]] == [
        pytest.approx(TRUE.mean(1).tolist()),
        pytest.approx(RANDOM.mean(1).tolist()),
    ]


def test_seeds_alone_give_their_mean_and_their_spread(made: Any) -> None:
    results = compare(made({"true": TRUE.tolist()}))
    gains = TRUE.mean(1)
    assert results["controls"] == []
    assert results["measures"][0]["name"] == "pass@1, mean of 4 seeds"
    assert results["seeds"][0]["spread"] == pytest.approx(gains.max() - gains.min())
    assert results["findings"][0].startswith(f"pass@1 gains {gains.mean():+.2f} [")
    assert results["findings"][0].endswith(f"single seeds from {gains.min():+.2f} to {gains.max():+.2f}")


def test_a_prompt_that_one_run_could_not_be_judged_on_is_left_out_of_all() -> None:
    assert judged([[0.1, None, 0.3]], [[None, 0.2, 0.4]]) == [[[0.3]], [[0.4]]]


@pytest.mark.parametrize(
    ("control", "codes"),
    [(RANDOM[:1], []), (TRUE[:1], ["no_gain_over_control"]), (1 - 0 * TRUE[:1], ["no_gain_over_control"])],
)
def test_a_control_that_gains_as_much_is_a_warning_and_no_failure(made: Any, control: Any, codes: list[str]) -> None:
    results = compare(made({"true": TRUE[:1].tolist(), "flipped": control.tolist()}))
    verdict = judge(Diagnostics(rows=1, controls=results["controls"]))
    assert verdict.ok
    assert [reason.code for reason in verdict.reasons] == codes
    assert all(reason.text.startswith("no gain over flipped rewards: by its interval ") for reason in verdict.reasons)


def test_a_control_that_lost_in_a_wide_interval_is_not_called_as_good(made: Any) -> None:
    """Three seeds in each of which the true reward gains more, and Student's interval that still holds 0."""
    true = [[0.5] * 10, [0.5] * 10, [0.5] * 10]
    control = [[0.1] * 10, [0.2] * 10, [0.45] * 10]
    results = compare(made({"true": true, "random": control}))
    (row,) = results["controls"]
    assert row["added"]["low"] < 0 < row["added"]["estimate"]
    assert row["answer"] == "cannot tell"
    verdict = judge(Diagnostics(rows=1, controls=results["controls"]))
    assert [reason.code for reason in verdict.reasons] == ["gain_over_control_unclear"]
