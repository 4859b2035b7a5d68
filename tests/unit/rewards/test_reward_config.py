"""How a recipe writes a reward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rlllm.core.errors import ConfigError
from rlllm.rewards.binding import bind
from rlllm.rewards.config import RewardSpec

FORMS: list[tuple[Any, tuple[str, float, dict[str, Any]]]] = [
    ("exact", ("exact", 1.0, {})),
    ({"name": "exact"}, ("exact", 1.0, {})),
    ({"name": "format", "weight": 0.1}, ("format", 0.1, {})),
    ({"name": "length", "weight": 0.1, "budget": 40}, ("length", 0.1, {"budget": 40})),
    ({"name": "length", "params": {"budget": 40}}, ("length", 1.0, {"budget": 40})),
    ({"name": "length", "params": {"budget": 40}, "buffer": 10}, ("length", 1.0, {"budget": 40, "buffer": 10})),
    ({"name": "length", "weight": -1}, ("length", -1.0, {})),
    ({"name": "my.py:fn", "weight": 0}, ("my.py:fn", 0.0, {})),
]


@pytest.mark.parametrize(("written", "meant"), FORMS)
def test_a_reward_is_a_name_or_a_mapping_whose_other_keys_are_its_arguments(written: Any, meant: object) -> None:
    spec = RewardSpec.model_validate(written)
    assert (spec.name, spec.weight, spec.params) == meant


@pytest.mark.parametrize("written", [form for form, _ in FORMS])
def test_a_spec_survives_being_written_and_read_again(written: Any) -> None:
    spec = RewardSpec.model_validate(written)
    assert RewardSpec.model_validate(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"weight": 1},
        7,
        None,
        {"name": "exact", "weight": "much"},
        {"name": "exact", "weight": float("nan")},
        ["exact"],
    ],
)
def test_anything_else_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError):
        RewardSpec.model_validate(written)


def test_an_argument_given_twice_is_refused() -> None:
    with pytest.raises((ConfigError, ValidationError), match="budget is given twice"):
        RewardSpec.model_validate({"name": "length", "budget": 40, "params": {"budget": 50}})


FIELDS = [
    # source of the reward, line and name of the unknown field; None where there is nothing to refuse
    ("def mine(sample): return len(sample.completion) + len(sample.meta.get('x', ''))", None),
    (
        "def mine(sample):\n    text = 1\n    return len(sample.compleiton)",
        (3, "sample.compleiton", "did you mean completion?"),
    ),
    (
        "async def mine(record, scale: int = 1):\n    return record.level",
        (2, "record.level", "columns of the row are in"),
    ),
    ("class mine:\n    def __call__(self, sample):\n        return sample.text", (3, "sample.text", "sample.meta")),
    ("def mine(sample):\n    sample = sample.meta\n    return sample.anything", None),
    ("class mine:\n    def score_batch(self, samples): return [0.0 for sample in samples]", None),
    ("mine = lambda sample: sample.nothing", None),
]


@pytest.mark.parametrize(("source", "refused"), FIELDS)
def test_a_field_that_no_sample_has_is_refused_before_anything_is_called(
    tmp_path: Path, source: str, refused: tuple[int, str, str] | None
) -> None:
    (tmp_path / "mine.py").write_text(source + "\n")
    spec = RewardSpec(name=f"{tmp_path / 'mine.py'}:mine")
    if refused is None:
        bind(spec, "mine")
        return
    line, field, hint = refused
    with pytest.raises(ConfigError) as caught:
        bind(spec, "mine")
    assert caught.value.what.endswith(f"reads {field}, which no Sample has (mine.py, line {line})")
    assert caught.value.exists[:2] == ["prompt", "completion"]
    assert hint in (caught.value.hint or "")
