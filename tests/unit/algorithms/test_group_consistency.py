"""The bonus for right answers that follow most surely: where an answer stands, who gets it, and a run whose reference moves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import rlllm
from rlllm.algorithms.advantages.consistency import above_mean_of_right
from rlllm.algorithms.signals.answer_logps import answer_places
from rlllm.core.errors import ConfigError
from rlllm.stages.catalog import plan, resolve_settings

NAN = math.nan
BONUS = [
    # log-probabilities, right, bonus
    ([-1.0, -2.0, -3.0, -0.1], [True, True, True, False], [1.0, 0.0, 0.0, 0.0]),
    ([-1.0, -2.0, -3.0, -0.1], [False, False, True, False], [0.0, 0.0, 0.0, 0.0]),
    ([-1.0, -1.0, -1.0, -1.0], [True, True, True, True], [0.0, 0.0, 0.0, 0.0]),
    ([-1.0, -1.2, NAN, -4.0], [True, True, True, True], [1.0, 1.0, 0.0, 0.0]),
    ([-1.0, -2.0, -3.0, -4.0], [False, False, False, False], [0.0, 0.0, 0.0, 0.0]),
]


@pytest.mark.parametrize(("logps", "right", "bonus"), BONUS)
def test_right_rows_above_the_mean_of_their_groups_right_rows_get_the_bonus(
    logps: list[float], right: list[bool], bonus: list[float]
) -> None:
    found = above_mean_of_right(torch.tensor([*logps, -5.0, -6.0, -7.0, -8.0]), torch.tensor([*right, *[True] * 4]), 4)
    assert found.tolist() == [*bonus, 1.0, 1.0, 0.0, 0.0]


TEXTS = [
    ("<y>lie</y>", "lie"),
    ("<y>truth</y> and <y>lie</y><|end|>", "lie"),
    ("<y>lie", ""),
    ("lie", ""),
]


@pytest.mark.parametrize(("text", "inside"), TEXTS)
def test_the_tokens_of_an_answer_are_those_in_the_last_closed_tag(nano: str, text: str, inside: str) -> None:
    from rlllm.policies.loading import load_tokenizer
    from rlllm.policies.model_sources import resolve_model

    tokenizer = load_tokenizer(resolve_model(nano))
    ids = torch.tensor([tokenizer(text)["input_ids"] + [tokenizer.pad_token_id] * 2])
    mask = (ids != tokenizer.pad_token_id).long()
    chosen = ids[answer_places(ids, mask, tokenizer, "y")].tolist()
    assert tokenizer.decode(chosen) == inside
    if inside:
        start = text.rindex(inside)
        assert answer_places(ids, mask, tokenizer, "y")[0].nonzero().flatten().tolist() == [*range(start, start + 3)]


def settings(**more: Any) -> dict[str, Any]:
    rewards = [{"name": "tagged"}, {"name": "tagged-form", "weight": 0.1}]
    return {"data": {"name": "cues", "rows": 16, "holdout": 0}, "rewards": rewards, "advantage": "vac-group", **more}


def planned(**more: Any) -> Any:
    return plan(resolve_settings("reason", {}, [*settings(**more).items()]))


def test_it_needs_a_reference_and_a_reward_that_says_what_is_right() -> None:
    with pytest.raises(ConfigError, match="compares with the reference model, and this run has none"):
        planned()
    with pytest.raises(ConfigError, match="no reward is named exact"):
        planned(advantage={"name": "vac-group", "correct": "exact"})
    assert planned(beta=0.01, **{"kl.where": "nowhere"}).settings["sync_ref_model"] is True
    assert planned(advantage={"name": "vac-group", "weight": 0.0}).equals.method == "grpo"


def test_a_run_logs_the_share_of_right_completions_that_got_it(nano: str, tmp_path: Path) -> None:
    run = rlllm.reason(
        model=nano,
        **settings(beta=0.01, kl={"where": "nowhere"}),
        eval={"rows": 0},
        output_dir=tmp_path / "run",
        max_steps=2,
        num_generations=4,
        per_device_train_batch_size=8,
        max_completion_length=12,
    )
    assert [row["vac/bonus_share_of_right"] for row in run.metrics()] == [0.0, 0.0]
