"""What several turns stand on in TRL: the hooks of its tool loop; and that evaluation plays as it does, token for token."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from rlllm.algorithms import _trl
from rlllm.core.records import PromptTask
from rlllm.policies.chat import as_prompt
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import Engine
from rlllm.rollouts.environments.base import factory
from rlllm.rollouts.environments.guess import Guess
from rlllm.rollouts.environments.multi_turn import Episode, MultiTurnSampler

TASKS = [PromptTask("Guess my number.", None, {"secret": secret, "guesses": 2}) for secret in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("hook", "names"),
    [
        (GRPOTrainer._get_tool_suffix_ids, ["self", "tool_messages"]),
        (
            GRPOTrainer._generate_single_turn,
            ["self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
        ),
        (_trl.supports_tool_calling, ["processing_class"]),
        (_trl.add_response_schema, ["processing_class"]),
        (_trl.is_chat_template_prefix_preserving, ["processing_class"]),
    ],
)
def test_a_hook_still_takes_what_we_give_it(hook: Callable[..., Any], names: list[str]) -> None:
    assert list(inspect.signature(hook).parameters) == names


def test_the_trainer_takes_a_factory_and_a_number_of_rounds() -> None:
    assert "environment_factory" in inspect.signature(GRPOTrainer.__init__).parameters
    assert "max_tool_calling_iterations" in GRPOConfig.__dataclass_fields__


def test_the_embedded_template_is_one_that_trl_can_use(tiny_model: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert _trl.supports_tool_calling(tokenizer)
    assert _trl.is_chat_template_prefix_preserving(tokenizer)


class Guesser(Engine):
    """An engine by rule. It guesses 2, follows the hint, now and then calls what is not there, or talks too long."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def generate(self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig) -> list[list[int]]:
        texts = [self._says(self.tokenizer.decode(list(ids))) for ids in prompts]
        return [
            ids[: sampling.max_new_tokens] for ids in self.tokenizer([f"{text}<|end|>" for text in texts])["input_ids"]
        ]

    def _says(self, text: str) -> str:
        replies = re.findall(r"<\|system\|>=([^<]*)<", text)
        if not replies:
            return "I say <<guess number=2>>"
        return {
            "right": "done " * 30,
            "higher": "<<guess number=3>><<guess number=x>>",
            "lower": "<<cheat>>",
        }.get(replies[-1], "sorry")

    def stop_ids(self) -> set[int]:
        return {self.tokenizer.eos_token_id}


class Observed(GRPOTrainer):
    """TRL's own loop, with the rule in place of its sampling."""

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
        return Guesser(self.processing_class).generate(
            prompt_ids, SamplingConfig(max_new_tokens=self.max_completion_length)
        ), None


@pytest.mark.parametrize("limit", [40, 80, 140])
def test_evaluation_plays_as_trls_loop_does(limit: int, tiny_model: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    told: dict[str, Any] = {}

    def reward(completions: Any, completion_ids: Any, **_: Any) -> list[float]:
        told.update(messages=completions, ids=completion_ids)
        return [0.0] * len(completions)

    prompts = [{"prompt": as_prompt(tokenizer, task.prompt), "row": row} for row, task in enumerate(TASKS)]
    trainer = Observed(
        model=AutoModelForCausalLM.from_pretrained(tiny_model),
        reward_funcs=reward,
        args=GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=4,
            num_generations=2,
            max_completion_length=limit,
            max_tool_calling_iterations=3,
            use_cpu=True,
            bf16=False,
            report_to=[],
        ),
        train_dataset=Dataset.from_list(prompts),
        processing_class=tokenizer,
        environment_factory=factory(Guess, {}, TASKS),
    )
    trainer._generate_and_score_completions(prompts)
    table = MultiTurnSampler(
        Guesser(tokenizer), tokenizer, factory(Guess, {}, TASKS), SamplingConfig(max_new_tokens=limit), 3, context=512
    )
    episodes: list[Episode] = [table.begin(row, task) for row, task in enumerate(TASKS)]
    table.play(episodes)
    for one, messages in zip(episodes, told["messages"], strict=True):
        assert one.messages == messages
    assert [one.ids for one in episodes] == [list(ids) for ids in told["ids"]]
    assert [one.environment.found for one in episodes] == [one.found for one in trainer.environments]
    assert {turn["role"] for one in episodes for turn in one.messages} == {"assistant", "tool"}
