"""Rollouts of several turns outside training, with any engine: generate, call the tools, go on, until nothing is called.

Token for token what TRL's loop does in training, so that what is measured is what was trained: a tool's result is put
behind the model's own tokens without encoding these again; all turns and results share one length limit; a result that
would break it, or the model's context, is left out and ends the rollout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.records import PromptTask, Sample
from rlllm.policies.chat import as_prompt
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.environments.base import finished, settled, tools_of


@dataclass
class Episode:
    """One rollout under way."""

    task: PromptTask
    environment: Any
    tools: dict[str, Callable[..., Any]]
    prompt: list[int]
    ids: list[int] = field(default_factory=list)
    """Everything behind the prompt: the model's tokens and the tools'."""
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The tool calls of the last turn."""
        return (self.messages[-1].get("tool_calls") or []) if self.messages else []


@dataclass(frozen=True)
class Table:
    """Where episodes are played.

    Args:
        engine: generates the turns.
        tokenizer: with a chat template that knows tools and a `response_template`.
        environments: makes one environment, as `environments.base.factory` does.
        sampling: `max_new_tokens` bounds all turns of a rollout together.
        rounds: rounds of tool calls that are answered; calls after the last one are not.
        context: longest sequence of the model in tokens, if it has a limit.
        chat_template: in place of the tokenizer's own.
    """

    engine: Any
    tokenizer: Any
    environments: Callable[[], Any]
    sampling: SamplingConfig
    rounds: int
    context: int | None = None
    chat_template: str | None = None

    def draw(self, tasks: Sequence[PromptTask], *, samples: int = 1) -> list[list[Sample]]:
        """`samples` rollouts of every task; the outer list follows `tasks`, which the environments were made for."""
        episodes = [self.begin(row, task) for row, task in enumerate(tasks) for _ in range(samples)]
        self.play(episodes)
        stops = self.engine.stop_ids()
        done = [
            finished(one.task, one.messages, one.environment, len(one.ids), not one.ids or one.ids[-1] not in stops)
            for one in episodes
        ]
        return [done[start : start + samples] for start in range(0, len(done), samples)]

    def play(self, episodes: Sequence[Episode]) -> None:
        """Take episodes to their end, all of them at once in each round."""
        active = list(episodes)
        for number in range(self.rounds + 1):
            turns = self.engine.generate([one.prompt + one.ids for one in active], self.sampling)
            for one, ids in zip(active, turns, strict=True):
                self._hear(one, ids)
            active = [one for one in active if one.calls and number < self.rounds and self._answer(one)]
            if not active:
                return

    def begin(self, row: int, task: PromptTask) -> Episode:
        """A fresh environment on a row, and the prompt it opens with."""
        environment = self.environments()
        tools = {tool.name: getattr(environment, tool.name) for tool in tools_of(type(environment))}
        prompt: list[Any] = list(as_prompt(self.tokenizer, task.prompt))
        observation = environment.reset(row=row)
        if observation is not None:
            prompt[-1] = {**prompt[-1], "content": prompt[-1]["content"] + observation}
        return Episode(task, environment, tools, self._render(prompt, tools=list(tools.values())))

    def _hear(self, one: Episode, ids: list[int]) -> None:
        ids = ids[: self.sampling.max_new_tokens - len(one.ids)]
        if ids:  # none are left where a tool's result has used up the limit; TRL then has no turn either
            one.messages.append(parsed(self.tokenizer, ids, one.prompt + one.ids, list(one.tools.values())))
        one.ids += ids

    def _answer(self, one: Episode) -> bool:
        """Put the tools' results behind an episode; False if they do not fit."""
        results = [result(one.tools, each) for each in one.calls]
        ids = one.ids + self._suffix(results)
        if len(ids) > self.sampling.max_new_tokens or (self.context and len(one.prompt) + len(ids) >= self.context):
            return False
        one.ids = ids
        one.messages += results
        return True

    def _suffix(self, results: list[dict[str, Any]]) -> list[int]:
        """What the chat template puts behind a turn that called tools: the results and the head of the next turn."""
        function = {"name": results[0]["name"], "arguments": {}}
        asked = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
        before = self._render([{"role": "user", "content": "dummy"}, asked], open_turn=False)
        after = self._render([{"role": "user", "content": "dummy"}, asked, *results])
        ends = [place for place, token in enumerate(before) if token == self.tokenizer.eos_token_id]
        return after[ends[-1] + 1 if ends else len(before) :]

    def _render(self, messages: list[Any], *, open_turn: bool = True, tools: list[Any] | None = None) -> list[int]:
        return self.tokenizer.apply_chat_template(
            messages,
            tools=tools,
            chat_template=self.chat_template,
            add_generation_prompt=open_turn,
            tokenize=True,
            return_dict=False,
        )


def parsed(tokenizer: Any, ids: list[int], before: list[int], tools: list[Any]) -> dict[str, Any]:
    """A turn as a message with its tool calls; plain text where it cannot be read as one.

    Args:
        before: every token ahead of the turn.
    """
    try:
        message = tokenizer.parse_response(ids, prefix=before, tools=tools)
        calls = [each.get("function", each) for each in message.get("tool_calls") or []]
        for function in calls:
            function["arguments"] = {} if function.get("arguments") is None else function["arguments"]
        if all(isinstance(function.get("name"), str) for function in calls):
            content = message.get("content") or ""
            return {**message, "content": content.removesuffix(tokenizer.eos_token)}
    except (ValueError, TypeError, AttributeError):
        pass  # a malformed call is text, as in training
    return {"role": "assistant", "content": tokenizer.decode(ids, skip_special_tokens=True)}


def result(tools: Mapping[str, Callable[..., Any]], called: Mapping[str, Any]) -> dict[str, Any]:
    """The message of a tool that was called. Whatever it raises, and a tool that is not there, is told the model."""
    function = called.get("function", called)
    try:
        if function["name"] not in tools:
            raise ValueError(f"Tool {function['name']} not found.")  # TRL's words: both show the model the same
        content = str(settled(tools[function["name"]](**function["arguments"])))
    except Exception as error:
        content = str({"error": str(error)})
    return {"role": "tool", "name": function["name"], "content": content}
