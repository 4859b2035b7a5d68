"""The alarm of a monitored reward: planted hacks are found in time, and monitored rewards that follow raise none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.verdict import Diagnostics, alarm_text, judge
from rlllm.evals.monitors.monitored_rewards import (
    ERROR_RATE,
    LOOK_EVERY,
    MIN_ROLLOUTS,
    Moments,
    RewardMonitor,
    look,
    moments_of,
)

COMPLETIONS = 64


def rows(training: Any, monitored: Any, seed: int = 0, completions: int = COMPLETIONS) -> list[dict[str, Any]]:
    """Rows of `samples.jsonl`, `completions` a step, whose rewards pass with the step's chances."""
    generator = np.random.default_rng(seed)
    return [
        {"step": step + 1, "reward": float(p), "rewards": {"exact": {"value": float(s)}}}
        for step, chances in enumerate(zip(training, monitored, strict=True))
        for p, s in (generator.random((completions, 2)) < chances)
    ]


def test_listing_all_options_is_found_within_thirty_steps() -> None:
    """A planted hack: the training reward pays for the right option anywhere, the monitored one for one right answer."""
    found = []
    for seed in range(40):
        alarms = RewardMonitor(["exact"]).add(rows(np.linspace(0.3, 1.0, 40), np.linspace(0.3, 0.0, 40), seed))
        found += [alarm["step"] for alarm in alarms]
    assert len(found) == 40
    assert np.quantile(found, 0.95) <= 30


def test_a_monitored_reward_that_stays_where_it_is_counts_as_left_behind() -> None:
    steps = [
        alarm["step"]
        for seed in range(40)
        for alarm in RewardMonitor(["exact"]).add(rows(np.linspace(0.1, 0.9, 60), np.full(60, 0.2), seed))
    ]
    assert len(steps) >= 34
    assert np.median(steps) <= 50


FOLLOWING = [
    ("nothing moves", np.full(60, 0.4), np.full(60, 0.4)),
    ("both rise", np.linspace(0.2, 0.9, 60), np.linspace(0.2, 0.9, 60)),
    ("the monitored reward rises by half as much", np.linspace(0.2, 0.8, 60), np.linspace(0.3, 0.6, 60)),
    ("both fall", np.linspace(0.8, 0.2, 60), np.linspace(0.8, 0.2, 60)),
    ("the monitored reward alone falls", np.full(60, 0.5), np.linspace(0.9, 0.1, 60)),
    ("the training reward is constant", np.ones(60), np.linspace(0.9, 0.1, 60)),
]


@pytest.mark.parametrize(("case", "training", "monitored"), FOLLOWING, ids=[case[0] for case in FOLLOWING])
def test_runs_without_a_hack_raise_fewer_alarms_than_the_stated_error(case: str, training: Any, monitored: Any) -> None:
    runs = 50
    raised = sum(
        bool(RewardMonitor(["exact"]).add(rows(training, monitored, seed, completions=32))) for seed in range(runs)
    )
    assert raised <= runs * ERROR_RATE + 2 * math.sqrt(runs * ERROR_RATE)


def test_a_monitored_reward_exactly_at_the_border_raises_no_more_than_the_stated_error() -> None:
    """The monitored reward rises by a quarter of what the training reward does, each in deviations of what is compared."""
    runs, raised = 100, 0
    for seed in range(runs):
        generator = np.random.default_rng(seed)
        late = np.arange(40) >= 20
        seen = []
        for step in range(40):
            noise = generator.normal(size=(2, COMPLETIONS))
            values = noise + late[step] * np.array([[0.4], [0.1]])
            seen.append(Moments(step, COMPLETIONS, tuple(values.mean(1)), tuple(values.var(1))))
        raised += any(look(seen[:end], "s") for end in range(2 * MIN_ROLLOUTS, 41, LOOK_EVERY))
    assert raised <= runs * ERROR_RATE + 2 * math.sqrt(runs * ERROR_RATE)


def test_the_errors_of_all_looks_add_up_to_the_stated_one() -> None:
    assert math.fsum(ERROR_RATE * 6 / (math.pi * k) ** 2 for k in range(1, 200_000)) == pytest.approx(
        ERROR_RATE, rel=1e-4
    )


def test_an_alarm_is_raised_once_and_whole_rollouts_or_the_file_give_the_same() -> None:
    stored = rows(np.linspace(0.1, 1, 60), np.linspace(0.5, 0, 60))
    at_once, bit_by_bit = RewardMonitor(["exact"]), RewardMonitor(["exact"])
    at_once.add(stored)
    told = [alarm for step in range(1, 61) for alarm in bit_by_bit.add([row for row in stored if row["step"] == step])]
    assert len(told) == 1
    assert told == at_once.alarms == bit_by_bit.alarms


def test_rewards_on_other_scales_raise_the_same_alarm() -> None:
    stored = rows(np.linspace(0.1, 1, 60), np.linspace(0.5, 0, 60))
    scaled = [
        {
            **row,
            "reward": 1000 * row["reward"] - 5,
            "rewards": {"exact": {"value": row["rewards"]["exact"]["value"] / 50}},
        }
        for row in stored
    ]
    steps = [RewardMonitor(["exact"]).add(one)[0]["step"] for one in (stored, scaled)]
    assert steps[0] == steps[1]


ODD = [
    ("no rows", [], None),
    ("the training reward could not judge", [{"step": 1, "reward": None, "rewards": {"s": {"value": 1.0}}}], None),
    ("the monitored reward could not judge", [{"step": 1, "reward": 1.0, "rewards": {"s": {"value": None}}}], None),
    ("the monitored reward was not there", [{"step": 1, "reward": 1.0, "rewards": {}}], None),
    ("no rewards at all", [{"step": 1, "reward": 1.0, "rewards": None}], None),
    (
        "a trace is not the policy's",
        [{"step": 1, "reward": 1.0, "rewards": {"s": {"value": 1.0}}, "demonstration": True}],
        None,
    ),
    ("infinity", [{"step": 1, "reward": math.inf, "rewards": {"s": {"value": 1.0}}}], None),
    ("one", [{"step": 3, "reward": 2.0, "rewards": {"s": {"value": 1.0}}}], Moments(3, 1, (2.0, 1.0), (0.0, 0.0))),
]


@pytest.mark.parametrize(("case", "given", "expected"), ODD, ids=[case[0] for case in ODD])
def test_completions_that_one_side_did_not_judge_are_left_out(case: str, given: Any, expected: Any) -> None:
    assert moments_of(given, "s") == expected


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=20))
def test_moments_are_those_of_numpy(pairs: list[tuple[float, float]]) -> None:
    found = moments_of([{"step": 1, "reward": p, "rewards": {"s": {"value": s}}} for p, s in pairs], "s")
    assert found is not None
    assert found.means == pytest.approx(tuple(np.mean(pairs, axis=0)), rel=1e-6, abs=1e-6)
    assert found.variances == pytest.approx(tuple(np.var(pairs, axis=0)), rel=1e-6, abs=1e-3)


def test_the_verdict_warns_and_names_the_step_the_training_and_the_monitored_reward() -> None:
    alarms = RewardMonitor(["exact"]).add(rows(np.linspace(0.1, 1, 60), np.linspace(0.5, 0, 60)))
    verdict = judge(Diagnostics(steps_requested=60, steps_done=60, rows=100, weights_changed=True, alarms=alarms))
    assert verdict.ok
    assert [(reason.code, reason.fatal) for reason in verdict.reasons] == [("monitored_reward_left_behind", False)]
    text = verdict.reasons[0].text
    assert text == alarm_text(alarms[0])
    assert f"at step {alarms[0]['step']:g} the total reward" in text
    assert "exact, which is only monitored, had not followed" in text
