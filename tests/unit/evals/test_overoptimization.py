"""The watch on over-optimisation: Welch's interval against SciPy, literal runs, and how often it alarms without cause."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from rlllm.core.verdict import Diagnostics, judge
from rlllm.evals.monitors.overoptimization import TRAINING_REWARD, change, divergence, divergences


def rows(training: NDArray[np.float64], monitored: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Rows of `samples.jsonl` from arrays (steps, completions)."""
    return [
        {"step": step + 1, "reward": float(p), "rewards": {"model": {"value": float(p)}, "gold": {"value": float(s)}}}
        for step in range(len(training))
        for p, s in zip(training[step], monitored[step], strict=True)
    ]


def run(training: float, monitored: float, seed: int = 0, steps: int = 50) -> list[dict[str, Any]]:
    """A run whose rewards drift linearly by the given amounts, with noise of deviation 1 in each of 8 completions."""
    generator = np.random.default_rng(seed)
    drift = np.linspace(0, 1, steps)[:, None]
    noise = generator.normal(size=(2, steps, 8))
    return rows(training * drift + noise[0], monitored * drift + noise[1])


@pytest.mark.parametrize("sizes", [(5, 5), (3, 9), (12, 4)])
def test_the_interval_is_that_of_scipy(sizes: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    first, last = generator.normal(0, 1, sizes[0]), generator.normal(1, 3, sizes[1])
    found = change(list(first), list(last))
    oracle = stats.ttest_ind(last, first, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))
    assert found.estimate == pytest.approx(last.mean() - first.mean())


CASES = [
    ("the training reward rose and the monitored reward fell", 2.0, -2.0, True),
    ("both rose", 2.0, 2.0, False),
    ("both fell", -2.0, -2.0, False),
    ("the training reward fell and the monitored reward rose", -2.0, 2.0, False),
    ("the training reward alone moved", 2.0, 0.0, False),
]


@pytest.mark.parametrize(("case", "training", "monitored", "alarm"), CASES, ids=[case[0] for case in CASES])
def test_an_alarm_needs_a_training_reward_that_rose_and_a_monitored_reward_that_fell(
    case: str, training: float, monitored: float, alarm: bool
) -> None:
    found = divergence(run(training, monitored), TRAINING_REWARD, "gold")
    assert found is not None
    assert found["alarm"] is alarm
    assert found["steps"] == 10
    assert found["training_change"]["estimate"] == pytest.approx(0.8 * training, abs=0.4)
    assert found["monitored_change"]["estimate"] == pytest.approx(0.8 * monitored, abs=0.4)


def alarms(training: float, monitored: float, repeats: int, steps: int = 30) -> float:
    found = [divergence(run(training, monitored, seed, steps), TRAINING_REWARD, "gold") for seed in range(repeats)]
    return float(np.mean([one is not None and one["alarm"] for one in found]))


def test_a_monitored_reward_that_does_not_move_alarms_in_two_and_a_half_percent_of_runs_at_most() -> None:
    """400 runs: the 99 % limit of a rate of 2.5 % is 4.5 %."""
    assert alarms(training=3.0, monitored=0.0, repeats=400) <= 0.045


def test_where_nothing_moves_there_is_hardly_ever_an_alarm() -> None:
    assert alarms(training=0.0, monitored=0.0, repeats=300) <= 0.01


def test_a_clear_divergence_is_seen_nearly_always() -> None:
    assert alarms(training=3.0, monitored=-1.5, repeats=60) >= 0.95


def test_nothing_is_said_about_a_short_run_or_a_reward_that_never_judged() -> None:
    assert divergence(run(2, -2, steps=12), TRAINING_REWARD, "gold") is None
    assert divergence(run(2, -2), TRAINING_REWARD, "no such reward") is None
    undefined = [{**row, "rewards": {"gold": {"value": None}}} for row in run(2, -2)]
    assert divergence(undefined, TRAINING_REWARD, "gold") is None
    assert divergences([], ["gold"]) == []


def test_completions_that_were_not_judged_are_left_out() -> None:
    whole = run(2, -2)
    holes = [{"step": 7, "reward": None, "rewards": {"gold": {"value": None, "error": "broke"}}}] * 5
    assert divergence(whole + holes, TRAINING_REWARD, "gold") == divergence(whole, TRAINING_REWARD, "gold")


def test_a_single_reward_may_be_the_training_reward() -> None:
    first, second = (divergence(run(2, -2), name, "gold") for name in (TRAINING_REWARD, "model"))
    assert first is not None
    assert second is not None
    assert first["training_change"] == second["training_change"]


def test_several_monitored_rewards_share_the_level() -> None:
    alone, shared = divergences(run(2, -2), ["gold"]), divergences(run(2, -2), ["gold", "model"])
    wide = shared[0]["monitored_change"]["high"] - shared[0]["monitored_change"]["low"]
    assert wide > alone[0]["monitored_change"]["high"] - alone[0]["monitored_change"]["low"]


def test_the_verdict_names_both_rewards_with_numbers_and_is_no_failure() -> None:
    found = divergences(run(2, -2), ["gold"])
    verdict = judge(Diagnostics(steps_requested=50, steps_done=50, rows=9, divergences=found))
    assert verdict.ok
    (reason,) = verdict.reasons
    assert (reason.code, reason.fatal) == ("overoptimised", False)
    assert "the total reward, which the run maximises, rose by 1." in reason.text
    assert "gold fell by 1." in reason.text
    assert "ensemble" in reason.hint


def test_a_divergence_without_alarm_is_kept_as_a_fact_and_gives_no_reason() -> None:
    verdict = judge(Diagnostics(rows=9, divergences=divergences(run(2, 2), ["gold"])))
    assert verdict.reasons == []
    assert verdict.diagnostics["divergences"][0]["monitored_reward"] == "gold"


def test_traces_which_the_policy_did_not_write_do_not_count() -> None:
    own = run(2.0, -2.0)
    traces = [
        {"step": row["step"], "reward": 9.0, "rewards": {"gold": {"value": 9.0}}, "demonstration": True}
        for row in own[::8]
    ]
    assert divergence([*own, *traces], TRAINING_REWARD, "gold") == divergence(own, TRAINING_REWARD, "gold")
