"""What the trainer does for a component of the slot `reflect`: answer, put a text in, answer again.

The rollout goes to TRL by its `rollout_func`, whose `env_mask` keeps the text between out of the loss, the KL term, the mean
entropy and the counts of generated tokens. Rewards judge the second answer; the first is in the column `first_completion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.policies.chat import stop_ids
from rlllm.policies.foreign_turn import behind_completion, following_turn
from rlllm.policies.vision import with_text_behind


@dataclass(frozen=True)
class TwoAnswers:
    """Token ids of a completion with two answers.

    Args:
        first, between, second: as they follow each other.
    """

    first: Sequence[int]
    between: Sequence[int]
    second: Sequence[int]

    @property
    def ids(self) -> list[int]:
        return [*self.first, *self.between, *self.second]

    @property
    def policy_mask(self) -> list[int]:
        """1 for each token that the policy wrote, 0 between."""
        return [1] * len(self.first) + [0] * len(self.between) + [1] * len(self.second)


class TwoPassRollouts:
    """Mixin of the trainer."""

    slots: Any
    args: Any
    model: Any
    accelerator: Any
    model_wrapped: Any
    _tokenizer: Any
    num_generations: int
    num_generations_eval: int
    rollout_func: Any
    _in_flight: Any
    _note: Any
    _tokenize_prompts: Any
    _generate_single_turn: Any

    def _prepare_reflection(self) -> None:
        """Have TRL ask for rollouts here. Raises ConfigError where the length limit leaves no room for two answers."""
        if self.slots.reflect is None:
            return
        self._between = following_turn(self._tokenizer, self.slots.reflect.text)
        self._answer_limit = (self.args.max_completion_length - len(self._between)) // 2
        if self._answer_limit < 1:
            raise ConfigError(
                "two answers and the text between them do not fit into a completion",
                given=f"rollout.max_new_tokens={self.args.max_completion_length}, of which the text takes {len(self._between)}",
                hint=f"rollout.max_new_tokens={len(self._between) + 2 * self.args.max_completion_length} has room for two "
                "answers of that length",
            )
        self.rollout_func = self._answered_twice

    def _answered_twice(self, prompts: list[Any], _trainer: Any) -> dict[str, Any]:
        """TRL's `rollout_func`; in evaluation one answer of each prompt, as if there were no reflection."""
        ids, *rest = self._tokenize_prompts(prompts)
        if not self.model.training:
            completions, logprobs = self._generate_single_turn(ids, *rest, self.num_generations_eval)
            return {"prompt_ids": ids, "completion_ids": completions, "logprobs": logprobs}
        self._in_flight.answer_limit = self._answer_limit
        first, _ = self._generate_single_turn(ids, *rest, self.num_generations)
        stops = stop_ids(self.accelerator.unwrap_model(self.model_wrapped), self._tokenizer)
        between = [behind_completion(self._tokenizer, answer, self._between, stops) for answer in first]
        prefixes = [[*prompt, *answer, *text] for prompt, answer, text in zip(ids, first, between, strict=True)]
        images, fields = rest
        longer = with_text_behind(fields, ids, prefixes)
        second, _ = self._generate_single_turn(prefixes, images, longer, self.num_generations)
        answers = [TwoAnswers(*parts) for parts in zip(first, between, second, strict=True)]
        self._in_flight.answers = answers
        return {
            "prompt_ids": ids,
            "completion_ids": [answer.ids for answer in answers],
            "logprobs": None,
            "env_mask": [answer.policy_mask for answer in answers],
        }
