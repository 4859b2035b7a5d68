"""The reward with which CONTRIBUTING opens is what it says: 20 lines at most, and scored like every other."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs_pages import ROOT, fences

from rlllm.core.records import Sample
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec

EXAMPLE = fences((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))[0]


def test_the_first_thing_shown_is_a_reward_of_at_most_20_lines() -> None:
    assert EXAMPLE.title == "true_steps.py"
    assert len(EXAMPLE.body.splitlines()) <= 20


@pytest.mark.parametrize(
    ("completion", "fewest", "expected"),
    [
        ("Ones: 7 + 5 = 12. Tens: 1 + 2 + 1 = 4. #### 42", 1, 1.0),
        ("7+5=12, 1+2+1=5", 1, 0.5),
        ("12 - 30 = -18", 1, 1.0),
        ("5 + 5 = 11", 1, 0.0),
        ("3 * 4 + 5 = 17", 1, None),
        ("it is 42", 1, None),
        ("5 + 5 = 10", 2, None),
    ],
)
def test_its_reward_scores_what_its_text_says(
    completion: str, fewest: int, expected: float | None, tmp_path: Path
) -> None:
    path = tmp_path / "true_steps.py"
    path.write_text(EXAMPLE.body, encoding="utf-8")
    spec = RewardSpec.model_validate({"name": f"{path}:true_steps", "weight": 0.2, "fewest": fewest})
    scores = build([spec]).score([Sample("What is 17 + 25?", completion, answer="42")])
    assert scores.names == ["true_steps"]
    assert scores.values == [[expected]]
    assert scores.totals == [None if expected is None else pytest.approx(0.2 * expected)]
