"""Tool calls whose marks are special tokens, from an engine to the reward `calls`: in one turn, and in an environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.records import PromptTask, Sample
from rlllm.rewards.verifiers.function_calls import Calls
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import Engine
from rlllm.rollouts.environments.base import TRANSCRIPT, factory
from rlllm.rollouts.environments.calculator import Calculator
from rlllm.rollouts.environments.multi_turn import MultiTurnSampler
from rlllm.rollouts.samples import draw

TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {
        "tool_calls": {
            "open": "[TOOL_CALLS]",
            "close_pattern": r"\[/TOOL_CALLS\]|<\|end\|>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close": "<|end|>", "content": "text"},
    },
}
PRODUCT = '{"name": "calculate", "arguments": {"expression": "6*7"}}'
SUM = '{"name": "calculate", "arguments": {"expression": "1+1"}}'
EXPECTED = [{"calculate": {"expression": ["6*7"]}}]


def with_markers(*texts: str) -> Any:
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": [*tokenizer.all_special_tokens[2:], *texts]})
    return tokenizer


class Speaker(Engine):
    """An engine that says these texts, one in each turn."""

    def __init__(self, tokenizer: Any, *turns: str) -> None:
        self._tokenizer, self._turns = tokenizer, iter(turns)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig) -> list[list[int]]:
        text = next(self._turns) + "<|end|>"
        return self._tokenizer([text] * len(prompts), add_special_tokens=False)["input_ids"]

    def stop_ids(self) -> set[int]:
        return {self._tokenizer.eos_token_id}


@pytest.mark.parametrize(
    ("markers", "completion", "value"),
    [
        (["<|python_tag|>"], f"<|python_tag|>{PRODUCT}", 1.0),
        (["<|python_tag|>"], "<|python_tag|>calculate.call(expression='6*7')", 1.0),
        (["<|python_tag|>"], f"<|python_tag|>{SUM}", 0.0),
        (["[TOOL_CALLS]", "[ARGS]"], '[TOOL_CALLS]calculate[ARGS]{"expression": "6*7"}', 1.0),
        (["[TOOL_CALLS]"], f"I calculate.[TOOL_CALLS][{PRODUCT}]", 1.0),
        (
            ["<tool_call>", "</tool_call>"],
            "<tool_call>\n<function=calculate>\n<parameter=expression>\n6*7\n</parameter>\n</function>\n</tool_call>",
            1.0,
        ),
        (["<tool_call>", "</tool_call>"], f"<tool_call>{PRODUCT}</tool_call> or <tool_call>{SUM}</tool_call>", 0.0),
    ],
)
def test_a_call_in_one_turn_reaches_the_reward_as_it_was_written(
    markers: list[str], completion: str, value: float
) -> None:
    tokenizer = with_markers(*markers)
    task = PromptTask("6 * 7 = ?", None, {"ground_truth": EXPECTED})
    [[sample]] = draw(Speaker(tokenizer, completion), tokenizer, [task], SamplingConfig(max_new_tokens=200))
    assert sample.completion == completion
    assert Calls()(sample).value == value


def played(*turns: str) -> Sample:
    tokenizer = with_markers("[TOOL_CALLS]", "[/TOOL_CALLS]")
    tokenizer.response_template = TEMPLATE
    tasks = [PromptTask("6 * 7 = ?", "42", {"ground_truth": EXPECTED})]
    sampling = SamplingConfig(max_new_tokens=400)
    sampler = MultiTurnSampler(
        Speaker(tokenizer, *turns), tokenizer, factory(Calculator, {}, tasks), sampling, rounds=3
    )
    return sampler.draw(tasks)[0][0]


def test_calls_of_a_rollout_are_answered_and_judged() -> None:
    call = f"[TOOL_CALLS]{PRODUCT}[/TOOL_CALLS]"
    sample = played(f"I calculate.{call}", "#### 42")
    assert [turn["role"] for turn in sample.meta[TRANSCRIPT]] == ["assistant", "tool", "assistant"]
    assert sample.meta[TRANSCRIPT][1]["content"] == "42"
    assert sample.completion == "I calculate.\n#### 42"
    assert Calls()(sample).value == 1.0
    assert Calls()(played(call, call, "#### 42")).value == 0.0
    assert Calls()(played(f"[TOOL_CALLS]{SUM}[/TOOL_CALLS]", "#### 42")).value == 0.0
    assert Calls()(played("#### 42")).value == 0.0


def test_a_rollout_in_which_no_call_is_wanted_is_words() -> None:
    called = played(f"[TOOL_CALLS]{PRODUCT}[/TOOL_CALLS]", "#### 42")
    for sample, value in ((called, 0.0), (played("It is 42."), 1.0)):
        assert Calls()(Sample("q", sample.completion, None, {**sample.meta, "ground_truth": []})).value == value


def test_a_column_of_the_data_that_is_called_transcript_is_not_read() -> None:
    others = [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}]
    sample = Sample("q", PRODUCT, None, {"ground_truth": EXPECTED, "transcript": others})
    assert Calls()(sample).value == 1.0
