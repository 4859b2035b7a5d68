"""RLP: the gain of a thought, by hand, and the advantage made of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rlllm.algorithms.advantages.information_gain import InformationGain
from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.forward_pass import Window, plain_pass
from rlllm.algorithms.signals.thought_gain import ThoughtGain
from rlllm.core.config import ModelConfig
from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import source_of
from rlllm.stages.catalog import plan, resolve_settings

TASKS = [
    PromptTask("12 + 30 is<think>", " 42, as", {"prefix": "12 + 30 is"}),
    PromptTask("a longer text, 7 + 8 is<think>", " 15", {"prefix": "a longer text, 7 + 8 is"}),
]
WRITTEN = ["12 + 30 = 42</think> 42", "no end", "7 + 8 = 15</think>", "</think> 15 is 15"]
"""Two completions of each task."""
THOUGHTS = ["12 + 30 = 42</think>", "no end</think>", "7 + 8 = 15</think>", "</think>"]


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    source = source_of(ModelConfig(name="nano"))
    tokenizer = load_tokenizer(source)
    tokenizer.chat_template = None
    return load_policy(source).eval(), tokenizer


def _context(model: Any, tokenizer: Any) -> Any:
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in WRITTEN]
    width = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])

    @torch.no_grad()
    def passes(ids: Any, mask: Any, keep: int) -> list[Any]:
        return [
            plain_pass(model, Window.of(*part, keep), 0.7) for part in zip(ids.split(3), mask.split(3), strict=True)
        ]

    tasks = [task for task in TASKS for _ in range(2)]
    output = {"completion_ids": ids, "completion_mask": mask}
    return SimpleNamespace(tokenizer=tokenizer, output=output, tasks=tasks, group_size=2, passes=passes)


def _mean_logp(model: Any, tokenizer: Any, before: str, answer: str) -> float:
    """By hand in NumPy, one row without padding, at temperature 1."""
    left, right = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, answer))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([left + right])).logits[0].double().numpy()
    logps = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return float(np.mean([logps[len(left) - 1 + place, token] for place, token in enumerate(right)]))


@pytest.mark.parametrize("others", [False, True])
def test_the_gain_is_that_of_rows_alone(nano: tuple[Any, Any], others: bool) -> None:
    found = ThoughtGain(others=others).compute(_context(*nano))
    for row, written in enumerate(WRITTEN):
        task, read = TASKS[row // 2], THOUGHTS[(row + 2 * others) % 4]
        expected = _mean_logp(*nano, f"{task.prompt}{read}", task.answer or "") - _mean_logp(
            *nano, str(task.meta["prefix"]), task.answer or ""
        )
        length = len(written) if row == 1 else written.index("</think>") + len("</think>")
        np.testing.assert_allclose(found[row, :length].numpy(), expected, atol=1e-4)
        assert found[row, length:].isnan().all()


def test_a_row_without_an_answer_has_no_gain(nano: tuple[Any, Any]) -> None:
    made = _context(*nano)
    made.tasks[2:] = [PromptTask("x<think>", None)] * 2
    found = ThoughtGain().compute(made)
    assert found[2:].isnan().all()
    assert not found[0, 0].isnan()


def _batch(gains: list[list[float]], **more: Any) -> RolloutBatch:
    values = torch.tensor(gains)
    ones = torch.ones(values.shape, dtype=torch.long)
    fields: dict[str, Any] = {
        **dict.fromkeys(("prompt_ids", "prompt_mask", "completion_ids", "loss_mask"), ones),
        "group_size": 2,
        "rewards": torch.zeros(len(gains), 1),
        "weights": torch.ones(1),
        "trl_advantages": torch.zeros(len(gains)),
        "extra_fields": [{}] * len(gains),
        "signals": {"thought_gain": values},
    }
    return RolloutBatch(**{**fields, **more})


def test_a_thought_is_held_against_the_others_of_its_group() -> None:
    part, nan = InformationGain(), float("nan")
    found = part(_batch([[0.5, 0.5, nan], [-0.1, nan, nan], [1.0, 1.0, 1.0], [nan, nan, nan]]))
    expected = torch.tensor([[0.6, 0.6, 0.0], [-0.6, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(found, expected)
    assert part.metrics == pytest.approx({"information_gain": 1.4 / 3, "information_gain_positive": 2 / 3})


def test_what_is_taken_off_for_the_lack_of_a_thought_cancels() -> None:
    """A baseline of a frozen copy, a moving average or the policy is one number for the group."""
    gains = torch.tensor([[0.5], [-0.1], [1.0], [0.3]])
    baseline = torch.tensor([[2.0], [2.0], [-1.0], [-1.0]])
    part = InformationGain()
    torch.testing.assert_close(part(_batch(gains.tolist())), part(_batch((gains - baseline).tolist())))


def test_the_control_is_refused_where_no_thought_is_read() -> None:
    given = {"model": "nano", "data": {"name": "arithmetic", "level": 1, "rows": 64, "holdout": 8}}
    with pytest.raises(ConfigError, match="this advantage reads no thoughts"):
        plan(resolve_settings("reason", {**given, "controls": ["random-thought"]}))
