"""Several turns with an engine that says what it is told to: what is called, answered, cut and left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.records import PromptTask, Sample
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import Engine
from rlllm.rollouts.environments.base import TRANSCRIPT, factory
from rlllm.rollouts.environments.calculator import Calculator
from rlllm.rollouts.environments.guess import Guess
from rlllm.rollouts.environments.multi_turn import MultiTurnSampler

tokenizer = cache(build_tokenizer)
CALL = "<<calculate expression=6*7>>"


class Script(Engine):
    """An engine that answers a context by a function of its text."""

    def __init__(self, says: Callable[[str], str]) -> None:
        self._says = says
        self.heard: list[str] = []

    def generate(self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig) -> list[list[int]]:
        texts = tokenizer().batch_decode([list(ids) for ids in prompts])
        self.heard += texts
        turns = tokenizer()([self._says(text) + "<|end|>" for text in texts])["input_ids"]
        return [ids[: sampling.max_new_tokens] for ids in turns]

    def stop_ids(self) -> set[int]:
        return {tokenizer().eos_token_id}


def play(
    says: Callable[[str], str], *, kind: type = Calculator, task: PromptTask | None = None, **options: Any
) -> tuple[Sample, Script]:
    engine, tasks = Script(says), [task or PromptTask("6 * 7 = ?", "42")]
    sampling = SamplingConfig(max_new_tokens=options.pop("max_new_tokens", 96))
    table = MultiTurnSampler(
        engine, tokenizer(), factory(kind, {}, tasks), sampling, rounds=options.pop("rounds", 2), **options
    )
    return table.draw(tasks)[0][0], engine


def roles(sample: Sample) -> list[str]:
    return [turn["role"] for turn in sample.meta[TRANSCRIPT]]


def test_a_call_is_answered_and_the_model_goes_on_behind_the_result() -> None:
    sample, engine = play(lambda text: "#### 42" if "=42" in text else CALL)
    assert sample.completion == "#### 42"
    assert roles(sample) == ["assistant", "tool", "assistant"]
    assert engine.heard == [
        "<|user|>6 * 7 = ?<|assistant|>",
        f"<|user|>6 * 7 = ?<|assistant|>{CALL}<|end|><|system|>=42<|assistant|>",
    ]
    assert sample.tokens == len(f"{CALL}..=42.#### 42.")
    assert not sample.truncated


def test_a_rollout_without_calls_has_one_turn() -> None:
    sample, engine = play(lambda text: "#### 41")
    assert (sample.completion, roles(sample), len(engine.heard)) == ("#### 41", ["assistant"], 1)


def test_after_the_last_round_calls_are_not_answered() -> None:
    sample, engine = play(lambda text: CALL, rounds=2)
    assert roles(sample) == ["assistant", "tool", "assistant", "tool", "assistant"]
    assert (sample.completion, len(engine.heard)) == ("", 3)


def test_a_tool_that_raises_and_a_tool_that_is_not_there_tell_the_model_why() -> None:
    faults = {"<<calculate expression=1/0>>": "divides by zero", "<<cook meal=tea>>": "Tool cook not found."}
    for call, words in faults.items():
        sample, _ = play(lambda text, call=call: call if "error" not in text else "sorry")  # type: ignore[misc]
        assert sample.meta[TRANSCRIPT][1]["content"] == str({"error": words})
        assert sample.completion == "sorry"


def test_all_turns_share_one_length_limit_and_a_result_that_breaks_it_is_left_out() -> None:
    asked = len(CALL) + 1
    result = len("..=42")
    assert roles(play(lambda text: CALL, max_new_tokens=asked + result - 2)[0]) == ["assistant"]
    sample, _ = play(lambda text: "#### 42" if "=42" in text else CALL, max_new_tokens=asked + result + 3)
    assert (sample.completion, sample.truncated, sample.tokens) == ("###", True, asked + result + 3)


def test_a_result_that_does_not_fit_the_models_context_is_left_out() -> None:
    sample, _ = play(lambda text: CALL, context=len("<6 * 7 = ?<") + len(CALL) + 3)
    assert roles(sample) == ["assistant"]


def test_what_reset_returns_stands_behind_the_prompt() -> None:
    class Telling(Calculator):
        def reset(self, **row: Any) -> str:  # type: ignore[override]
            return f" It is {row['answer']}."

    _, engine = play(lambda text: "#### 42", kind=Telling)
    assert engine.heard == ["<|user|>6 * 7 = ? It is 42.<|assistant|>"]


def test_arguments_have_the_types_of_the_tools_hints_and_rollouts_do_not_share_an_environment() -> None:
    def halve(text: str) -> str:
        if "=right" in text or "=over" in text:
            return "done"
        number = 13 if "=higher" in text else 11 if "=lower" in text else 12
        return f"<<guess number={number}>>"

    tasks = [PromptTask("Guess", None, {"secret": secret, "guesses": 2}) for secret in (11, 12, 13)]
    engine = Script(halve)
    table = MultiTurnSampler(
        engine, tokenizer(), factory(Guess, {}, tasks), SamplingConfig(max_new_tokens=96), rounds=3
    )
    drawn = table.draw(tasks, samples=2)
    assert [[one.meta["environment_reward"] for one in row] for row in drawn] == [[1.0, 1.0]] * 3
    assert [[one.meta["secret"] for one in row] for row in drawn] == [[11, 11], [12, 12], [13, 13]]
