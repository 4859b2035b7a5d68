"""`readiness`: shares of mixed groups are those of all groups, and the verdict follows from the numbers."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

import rlllm
from rlllm.core.errors import ConfigError
from rlllm.evals.metrics.readiness import findings, mixed_share
from rlllm.evals.statistics.intervals import Interval


@pytest.mark.parametrize("passed", [[1, 0, 0, 1, 0], [0, 0, 0], [1, 1, 1, 1], [1, 0]])
@pytest.mark.parametrize("size", [2, 3])
def test_mixed_groups_are_counted_over_all_groups(passed: list[float], size: int) -> None:
    groups = list(combinations(passed, size))
    expected = sum(len(set(group)) > 1 for group in groups) / len(groups) if groups else 0.0
    assert mixed_share(passed, size) == pytest.approx(expected)


def _interval(value: float) -> Interval:
    return Interval(value, max(0.0, value - 0.01), value + 0.01, 100, "wilson")


VERDICTS = [
    ((0.4, 0.8, 0.7, 0.95, 0.5), ["ready for RL", "pass@8 is 0.40 above"]),
    ((0.0, 0.0, 0.0, 0.1, 0.5), ["not ready for RL", "all wrong: easier problems", "teach the form first", "pass@8"]),
    (
        (0.97, 0.99, 0.05, 0.99, 0.02),
        ["hardly ready for RL", "all right: harder problems", "nearly one text", "pass@8"],
    ),
]


@pytest.mark.parametrize(("numbers", "said"), VERDICTS)
def test_the_verdict_says_what_was_found(numbers: tuple[float, ...], said: list[str]) -> None:
    names = ("pass@1", "pass@8", "mixed groups of 8", "form", "entropy")
    found = findings(dict(zip(names, map(_interval, numbers), strict=True)), 8)
    assert len(found) == len(said)
    assert [part in text for part, text in zip(said, found, strict=True)] == [True] * len(said)
    assert found[0].startswith(said[0])


def test_an_evaluation_has_the_curve_and_the_verdict(tmp_path: Path) -> None:
    run = rlllm.evaluate(
        tasks=["readiness"],
        model="nano",
        data={"name": "arithmetic", "level": 2},
        rows=8,
        samples=8,
        sampling={"max_new_tokens": 96},
        cache=False,
        output_dir=tmp_path / "run",
    )
    (task,) = run.results["tasks"].values()
    curve = [task["values"][f"pass@{k}"]["estimate"] for k in (1, 2, 4, 8)]
    assert curve == sorted(curve)
    assert task["values"]["form"]["estimate"] > 0.5
    assert 0 < task["values"]["mixed groups of 8"]["estimate"] <= 1
    assert any("ready for RL: " in text for text in task["remarks"])


def test_groups_larger_than_the_samples_are_refused(tmp_path: Path) -> None:
    task = {"metric": "readiness", "params": {"group_size": 8}}
    with pytest.raises(ConfigError, match="groups of 8 are made of at least 8 samples"):
        rlllm.evaluate(tasks=[task], model="nano", rows=2, samples=4, cache=False, output_dir=tmp_path / "run")
