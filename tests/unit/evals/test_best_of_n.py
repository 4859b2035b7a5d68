"""The best-of metric on prepared completions: its methods, their differences, curves and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import RewardError
from rlllm.core.records import PromptTask, Sample
from rlllm.evals.metrics.best_of_n import METRIC as BEST_OF_N
from rlllm.evals.request import EvalRequest
from rlllm.evals.statistics.pass_estimators import pass_at_k
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import SamplingConfig

ANSWERS = [["4", "4", "5", "5"], ["5", "5", "5", "4"], ["4", "4", "4", "4"], ["7", "6", "5", "8"]]
"""Of problems whose right answer is 4."""
SELECTOR = """
def last_digit(sample): return {"4": 0.9, "5": 0.4}.get(sample.completion[-1], 0.1)
def silent(sample): return None
"""


class Prepared:
    """Draws what the table says, in the place of a model; each completion has one token more than the one before."""

    def draw(self, tasks: Sequence[PromptTask], *_: Any, **__: Any) -> list[list[Sample]]:
        return [
            [Sample(t.prompt, f"#### {text}", t.answer, t.meta, tokens=5 + place) for place, text in enumerate(row)]
            for t, row in zip(tasks, ANSWERS, strict=True)
        ]


def evaluate(folder: Path, *rewards: str, answer: str | None = "4") -> Any:
    (folder / "selectors.py").write_text(SELECTOR)
    names = [f"{folder / 'selectors.py'}:{name}" if name in SELECTOR else name for name in rewards]
    return BEST_OF_N(
        EvalRequest(
            path="",
            policy=tuple,  # type: ignore[arg-type]
            records=[PromptTask(f"{number}?", answer) for number in range(len(ANSWERS))],
            rewards=build([RewardSpec(name=name) for name in names]),
            sampling=SamplingConfig(),
            samples=4,
            samplers={"model": Prepared()},  # type: ignore[dict-item]
        )
    )


def test_every_method_chooses_from_the_same_samples(tmp_path: Path) -> None:
    found = evaluate(tmp_path, "exact", "last_digit")
    estimates = {name: value.estimate for name, value in found.values.items()}
    assert estimates == pytest.approx(
        {
            "pass@1": (0.5 + 0.25 + 1 + 0) / 4,
            "pass@4": 0.75,
            "maj@4": (0.5 + 0 + 1 + 0) / 4,
            "weighted@4 last_digit": (1 + 0 + 1 + 0) / 4,
            "best-of-4 last_digit": 0.75,
            "last_digit over weighted last_digit": 0.25,
            "last_digit over majority": 0.375,
            "weighted last_digit over majority": 0.125,
        }
    )


def test_curves_run_over_powers_of_two_and_end_at_the_values(tmp_path: Path) -> None:
    found = evaluate(tmp_path, "exact", "last_digit")
    curves = found.extra["curves"]
    assert {name: [point["k"] for point in curve] for name, curve in curves.items()} == {
        name: [1, 2, 4] for name in curves
    }
    for name, curve in curves.items():
        assert curve[-1]["estimate"] == found.values[name].estimate
        assert curve[0]["estimate"] == pytest.approx(found.values["pass@1"].estimate), "one sample leaves no choice"
    hits = [row.count("4") for row in ANSWERS]
    assert curves["pass@4"][1]["estimate"] == pytest.approx(sum(pass_at_k(4, hit, 2) for hit in hits) / 4)
    assert curves["best-of-4 last_digit"] == curves["pass@4"], "this selector knows"


def test_choosing_takes_the_tokens_of_all_samples(tmp_path: Path) -> None:
    tokens = evaluate(tmp_path, "exact").extra["tokens"]
    assert tokens == {"pass@1": 6.5, "pass@4": 26.0, "maj@4": 26.0}


def test_a_selector_that_says_nothing_is_counted_and_chooses_blindly(tmp_path: Path) -> None:
    found = evaluate(tmp_path, "exact", "silent")
    assert found.extra["without_score"] == {"silent": 4}
    assert found.values["best-of-4 silent"].estimate == pytest.approx(found.values["pass@1"].estimate)


def test_nothing_is_measured_where_nothing_can_be_judged(tmp_path: Path) -> None:
    with pytest.raises(RewardError, match="could not judge"):
        evaluate(tmp_path, "exact", answer=None)
