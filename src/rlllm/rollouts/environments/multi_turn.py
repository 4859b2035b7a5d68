"""Rollouts of several turns outside training, with any engine: generate, call the tools, and repeat until no tool is called.

It does token for token what TRL's loop does in training, so that what is measured is what was trained: a tool's result is
appended to the model's own tokens, which are not encoded again; all turns and results share one length limit; a result that
would exceed it, or the model's context, is left out and ends the rollout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import Message, PromptTask, Sample, behind_text
from rlllm.policies.chat import as_prompt
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import Engine, sample_completions
from rlllm.rollouts.environments.base import finished, settled, tools_of


@dataclass
class Episode:
    """One rollout under way."""

    task: PromptTask
    environment: Any
    tools: dict[str, Callable[..., Any]]
    opening: list[Message]
    """The prompt as messages, with what `reset` returned."""
    prompt: list[int] = field(default_factory=list)
    """Token ids of `opening`; none in an episode that no model plays."""
    ids: list[int] = field(default_factory=list)
    """All token ids after the prompt: the model's and those of tool results."""
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The tool calls of the last turn."""
        return (self.messages[-1].get("tool_calls") or []) if self.messages else []


def begin(environments: Callable[[], Any], row: int, task: PromptTask) -> Episode:
    """A fresh environment on a row, without tokens.

    Args:
        environments: makes one environment, as `environments.base.factory` does.
        row: place of the task among those that `environments` was made for.
    """
    environment = environments()
    tools = {tool.name: getattr(environment, tool.name) for tool in tools_of(type(environment))}
    opening = [{"role": "user", "content": task.prompt}] if isinstance(task.prompt, str) else list(task.prompt)
    observation = environment.reset(row=row)
    if observation is not None:
        opening[-1] = behind_text(opening[-1], observation)
    return Episode(task, environment, tools, opening)


@dataclass(frozen=True)
class MultiTurnSampler:
    """Samples rollouts with tool calls.

    Args:
        engine: generates the turns.
        tokenizer: with a chat template that renders tools, and a `response_template`.
        environments: makes one environment, as `environments.base.factory` does.
        sampling: `max_new_tokens` bounds all turns of a rollout together.
        rounds: rounds of tool calls that are answered; calls after the last one are not.
        context: longest sequence of the model in tokens, if it has a limit.
        chat_template: in place of the tokenizer's own.
    """

    engine: Engine
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
        finished_samples = [
            finished(
                episode.task,
                episode.messages,
                episode.environment,
                len(episode.ids),
                truncated=not episode.ids or episode.ids[-1] not in stops,
            )
            for episode in episodes
        ]
        return [finished_samples[start : start + samples] for start in range(0, len(episodes), samples)]

    def play(self, episodes: Sequence[Episode]) -> None:
        """Continue episodes to their end, all of them in one batch in each round."""
        active = list(episodes)
        for number in range(self.rounds + 1):
            active = self.turn(active, answered=number < self.rounds)
            if not active:
                return

    def turn(self, episodes: Sequence[Episode], *, answered: bool) -> list[Episode]:
        """One turn of the model in each episode, in one batch.

        Args:
            answered: whether tool calls of these turns are answered.

        Returns:
            The episodes that go on: their calls were answered.
        """
        contexts = [episode.prompt + episode.ids for episode in episodes]
        turns = sample_completions(self.engine, contexts, self.sampling)
        for episode, ids in zip(episodes, turns, strict=True):
            self._add_turn(episode, ids)
        return [episode for episode in episodes if episode.calls and answered and self._add_tool_results(episode)]

    def begin(self, row: int, task: PromptTask) -> Episode:
        """A fresh environment on a row, and the prompt it opens with."""
        episode = begin(self.environments, row, task)
        prompt: list[Any] = list(as_prompt(self.tokenizer, episode.opening))
        episode.prompt = self._render(prompt, tools=list(episode.tools.values()))
        return episode

    def room(self, episode: Episode) -> int:
        """Tokens by which an episode may grow; none or fewer where turns of others used up the limit."""
        left = self.sampling.max_new_tokens - len(episode.ids)
        return min(left, self.context - len(episode.prompt) - len(episode.ids)) if self.context else left

    def add_turn_of_another(self, episode: Episode, message: Message, results: Sequence[Message]) -> None:
        """Append a turn that the model did not take and the results of its calls, as the chat template renders them.

        Whether they fit the length limit is not asked; see `room`.

        Raises:
            ConfigError: the chat template writes a turn otherwise than it opens one.
        """
        asked: list[Any] = list(as_prompt(self.tokenizer, [{"role": "user", "content": "dummy"}, message]))
        opened, whole = self._render(asked[:1]), self._render(asked, open_turn=False)
        if whole[: len(opened)] != opened:
            raise ConfigError(
                "the model's chat template opens a turn otherwise than it renders one, so nobody else can take its turns",
                hint="let the model take every turn, or play without a model",
            )
        turn = whole[len(opened) : self._end_of_turn(whole)]
        episode.ids += turn + (self._suffix(list(results)) if results else [])
        episode.messages += [message, *results]

    def _add_turn(self, episode: Episode, ids: list[int]) -> None:
        ids = ids[: self.sampling.max_new_tokens - len(episode.ids)]
        if ids:  # none are left where a tool's result has used up the limit; TRL then has no turn either
            before, tools = episode.prompt + episode.ids, list(episode.tools.values())
            episode.messages.append(_parsed(self.tokenizer, ids, before, tools))
        episode.ids += ids

    def _add_tool_results(self, episode: Episode) -> bool:
        """Call the tools and append their results to the episode; False if they do not fit."""
        results = tool_results(episode.tools, episode.calls)
        ids = episode.ids + self._suffix(results)
        length = len(episode.prompt) + len(ids)
        if len(ids) > self.sampling.max_new_tokens or (self.context and length >= self.context):
            return False
        episode.ids = ids
        episode.messages += results
        return True

    def _suffix(self, results: list[dict[str, Any]]) -> list[int]:
        """Token ids that the chat template appends to a turn with tool calls: the results and the start of the next turn."""
        function = {"name": results[0]["name"], "arguments": {}}
        call = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
        before = self._render([{"role": "user", "content": "dummy"}, call], open_turn=False)
        after = self._render([{"role": "user", "content": "dummy"}, call, *results])
        return after[self._end_of_turn(before) :]

    def _end_of_turn(self, ids: list[int]) -> int:
        """Place behind the last end-of-sequence token; the length where there is none."""
        ends = [place for place, token in enumerate(ids) if token == self.tokenizer.eos_token_id]
        return ends[-1] + 1 if ends else len(ids)

    def _render(self, messages: list[Any], *, open_turn: bool = True, tools: list[Any] | None = None) -> list[int]:
        return self.tokenizer.apply_chat_template(
            messages,
            tools=tools,
            chat_template=self.chat_template,
            add_generation_prompt=open_turn,
            tokenize=True,
            return_dict=False,
        )


def _parsed(tokenizer: Any, ids: list[int], before: list[int], tools: list[Any]) -> dict[str, Any]:
    """A turn as a message with its tool calls; plain text where it cannot be read as one.

    Args:
        before: every token ahead of the turn.
    """
    try:
        message = tokenizer.parse_response(ids, prefix=before, tools=tools)
        calls = [call.get("function", call) for call in message.get("tool_calls") or []]
        for function in calls:
            function["arguments"] = {} if function.get("arguments") is None else function["arguments"]
        if all(isinstance(function.get("name"), str) for function in calls):
            content = message.get("content") or ""
            return {**message, "content": content.removesuffix(tokenizer.eos_token)}
    except (ValueError, TypeError, AttributeError):
        pass  # a malformed call is text, as in training
    return {"role": "assistant", "content": tokenizer.decode(ids, skip_special_tokens=True)}


def tool_results(tools: Mapping[str, Callable[..., Any]], calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Call tools one after the other; the message of each result."""
    return [_result(tools, call) for call in calls]


def _result(tools: Mapping[str, Callable[..., Any]], call: Mapping[str, Any]) -> dict[str, Any]:
    """The message of a tool that was called. The model reads an exception, or that there is no such tool, as the result."""
    function = call.get("function", call)
    try:
        if function["name"] not in tools:
            raise ValueError(f"Tool {function['name']} not found.")  # TRL's words: both show the model the same
        content = str(settled(tools[function["name"]](**function["arguments"])))
    except Exception as error:
        content = str({"error": str(error)})
    return {"role": "tool", "name": function["name"], "content": content}
