"""Episodes of an environment that a person plays by hand, a model plays, or both by turns.

Calls are executed and models take their turns by the code of rollouts (`rollouts.environments.multi_turn`), so that an episode
here is what training and `rlllm eval` play. Without a model no model library is loaded.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from rlllm.core.argument_types import converted
from rlllm.core.config import StageConfig, resolve
from rlllm.core.errors import ConfigError, DataError, unknown
from rlllm.core.records import Message, PromptTask
from rlllm.data.config import DataConfig
from rlllm.data.load import Loaded, load
from rlllm.data.registry import DATASETS
from rlllm.policies.model_sources import resolve_model
from rlllm.rewards.composition import Composition
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.environments.base import Tool, finished, tools_of
from rlllm.rollouts.environments.multi_turn import Episode, MultiTurnSampler, begin, tool_results
from rlllm.tools.chat import write_new
from rlllm.training.environment import REWARD, EnvironmentSpec, PlannedEnvironment, check_reward, planned_environment
from rlllm.training.reward_specs import resolve_rewards

_Ending = Literal["answer", "rounds", "length"]
_ARGUMENT_NAME = re.compile(r"([A-Za-z_]\w*)=")


class PlaySettings(StageConfig):
    """What is played."""

    stage: ClassVar[str] = "chat"

    environment: EnvironmentSpec | None = None
    """The environment."""
    data: DataConfig = DataConfig()
    """Its rows; unset: the data set of the environment's name."""


def play_settings(overrides: Iterable[tuple[str, Any]]) -> PlaySettings:
    """The settings of `environment`, `environment.KEY`, `data` and `data.KEY`.

    Raises:
        ConfigError: another key, a value that does not fit, or no environment.
    """
    given = list(overrides)
    for key, value in given:
        if key.partition(".")[0] not in ("environment", "data"):
            raise ConfigError(
                f"{key} is neither a setting of the environment nor of its data",
                given=f"{key}={value}",
                hint=f"environment.{key}={value}, or data.{key}={value}",
            )
    settings = resolve(PlaySettings, {}, given)
    if settings.environment is None:
        raise ConfigError("data and its settings are those of an environment", hint="--environment guess")
    return settings


@dataclass
class Play:
    """A person, and a model if there is one, at an environment.

    Args:
        environment: what is played.
        tasks: rows to begin on.
        rewards: score an episode that is over; None where nothing pays.
        sampler: takes the model's turns; None without a model.
        model: its name.
        seed: the model's n-th turn of all episodes is sampled with the seed `seed + n`.

    Attributes:
        row: the row of the current episode, from 1.
        ending: why the current episode is over: there is an `answer`, the `rounds` of calls are used up, or the model's turn or
            what a tool told it breaks the `length` limit; None while it goes on.
    """

    environment: PlannedEnvironment
    tasks: Sequence[PromptTask]
    rewards: Composition | None = None
    sampler: MultiTurnSampler | None = None
    model: str | None = None
    seed: int = 0
    row: int = field(default=1, init=False)
    ending: _Ending | None = field(default=None, init=False)
    _episode: Episode = field(init=False)
    _begun: list[tuple[int, Episode]] = field(default_factory=list, init=False)
    _model_turns: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.begin(1)

    @property
    def opening(self) -> list[Message]:
        """The messages that the current episode opens with."""
        return self._episode.opening

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools that may be called."""
        return tools_of(self.environment.kind)

    def begin(self, row: int) -> None:
        """Begin an episode on a row, from 1. Raises ConfigError where there is no such row."""
        if not 1 <= row <= len(self.tasks):
            raise ConfigError(f"there are rows 1 to {len(self.tasks):,}", given=f"/row {row}", hint="/row 1")
        start = self.sampler.begin if self.sampler else self._begin_without_tokens
        self._episode, self.row, self.ending = start(row - 1, self.tasks[row - 1]), row, None
        self._begun.append((row, self._episode))

    def call(self, text: str) -> list[Message]:
        """Call a tool by hand, as `NAME key=value ...`, `NAME {"key": value}` or, for one argument, `NAME value`.

        What the tool raises is its result, as in a rollout.

        Returns:
            The turn and its result.

        Raises:
            ConfigError: no such tool, or arguments that it does not take; nothing is called. Or the episode is over.
        """
        self._refuse_after_the_end()
        name, _, arguments = text.partition(" ")
        tools = self._episode.tools
        if name not in tools:
            raise unknown("tool", name, tools, list_command="/tools")
        tool = next(known for known in self.tools if known.name == name)
        function = {"name": name, "arguments": _read_arguments(tool, tools[name], arguments.strip())}
        return self._add(
            {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
        )

    def answer(self, text: str) -> list[Message]:
        """End the episode with an answer by hand. Raises ConfigError where it is over."""
        self._refuse_after_the_end()
        turn = self._add({"role": "assistant", "content": text})
        self.ending = "answer"
        return turn

    def model_turn(self) -> list[Message]:
        """Let the model take a turn; its calls are answered while there are rounds left. Those called by hand count.

        Returns:
            The turn and the results of its calls.

        Raises:
            ConfigError: there is no model, or the episode is over.
            DataError: the turns so far fill the length limit or the model's context.
        """
        sampler, episode = self.sampler, self._episode
        if sampler is None:
            raise ConfigError(
                "no model plays here",
                hint=f"rlllm chat MODEL --environment {self.environment.name}, or /call and /answer",
            )
        self._refuse_after_the_end()
        if sampler.room(episode) < 1:
            raise DataError(
                f"the turns so far have {len(episode.ids):,} tokens, and there is no room for another",
                hint="/answer ends the episode; --max-new-tokens bounds all of its turns together",
            )
        from torch import manual_seed

        self._model_turns += 1
        manual_seed(self.seed + self._model_turns)
        before, answered = len(episode.messages), self._rounds_played() < self.environment.rounds
        if not sampler.turn([episode], answered=answered):
            self.ending = ("length" if answered else "rounds") if episode.calls else self._ending_of_text()
        return episode.messages[before:]

    def scores(self) -> Mapping[str, Mapping[str, Any]]:
        """Reward name -> its `value`, `parsed` answer and `note` of the current episode; empty where nothing pays.

        Raises:
            RewardError: a reward fails.
        """
        if self.rewards is None:
            return {}
        episode = self._episode
        tokens = len(episode.ids) if self.sampler else None
        sample = finished(episode.task, episode.messages, episode.environment, tokens, self.ending == "length")
        return self.rewards.score([sample]).describe(0)

    def set_temperature(self, temperature: object) -> float:
        """Sample the model's turns at another temperature. Raises ConfigError: not one, or there is no model."""
        if self.sampler is None:
            raise ConfigError("no model plays here, and so nothing is sampled", given=f"/temperature {temperature}")
        sampling = SamplingConfig.checked({**self.sampler.sampling.model_dump(), "temperature": temperature})
        self.sampler = replace(self.sampler, sampling=sampling)
        return sampling.temperature

    def save(self, path: Path) -> int:
        """Write the episodes in which anybody took a turn, one JSON line each: `messages`, `tools`, `environment`, `row`.

        Returns:
            Their number.

        Raises:
            ConfigError: nobody took a turn, or the file exists or cannot be written.
        """
        from transformers.utils import get_json_schema

        played = [(row, episode) for row, episode in self._begun if episode.messages]
        if not played:
            raise ConfigError("nobody took a turn yet", given=f"/save {path}", hint="/call or /answer")
        tools = [get_json_schema(tool) for tool in self._episode.tools.values()]
        rest = {"tools": tools, "environment": self.environment.name}
        rows = [{"messages": [*episode.opening, *episode.messages], **rest, "row": row} for row, episode in played]
        write_new(path, rows, "the episodes")
        return len(rows)

    def _begin_without_tokens(self, row: int, task: PromptTask) -> Episode:
        return begin(self.environment.factory(self.tasks), row, task)

    def _add(self, message: Message) -> list[Message]:
        """Append a turn by hand and the results of its calls."""
        episode = self._episode
        results = tool_results(episode.tools, message.get("tool_calls", ()))
        if self.sampler is None:
            episode.messages += [message, *results]
        else:
            self.sampler.add_turn_of_another(episode, message, results)
        return [message, *results]

    def _rounds_played(self) -> int:
        return sum(bool(turn.get("tool_calls")) for turn in self._episode.messages)

    def _ending_of_text(self) -> _Ending:
        """How a turn without calls ended the episode."""
        ids = self._episode.ids
        assert self.sampler is not None
        return "answer" if ids and ids[-1] in self.sampler.engine.stop_ids() else "length"

    def _refuse_after_the_end(self) -> None:
        if self.ending:
            raise ConfigError("the episode is over", hint="/row N begins another, /reset this one anew")


def open_play(
    settings: PlaySettings,
    model: str | None,
    sampling: SamplingConfig,
    *,
    rewards: Sequence[RewardSpec] = (),
    seed: int = 0,
) -> Play:
    """Find the environment, its rows and rewards, and then load the model, if there is one.

    Args:
        settings: as `play_settings` makes them.
        model: a run, a folder, a Hub id or `nano`; None to play by hand alone.
        sampling: of the model; `max_new_tokens` bounds all turns of an episode together.
        rewards: score an episode; without any, those of the data. The environment's own is added.
        seed: of the sampling.

    Raises:
        RlllmError: an environment, data, reward or model that does not exist or does not fit.
    """
    source = None if model is None else resolve_model(model)
    environment = planned_environment(settings.environment)
    assert environment is not None
    loaded = load(_data(settings.data, environment.name), PromptTask)
    tasks = loaded.train or loaded.holdout
    environment.check(tasks)
    composition = _rewards(environment, loaded, rewards)
    if source is None:
        return Play(environment, tasks, composition, seed=seed)
    from rlllm.launch import local
    from rlllm.policies.loading import load_policy, load_tokenizer

    hardware = local.prepare()
    policy = load_policy(source, bf16=hardware.bf16).to(hardware.device)
    sampler = environment.sampler(policy, load_tokenizer(source), tasks, sampling)
    return Play(environment, tasks, composition, sampler, source.name, seed)


def _data(data: DataConfig, environment: str) -> DataConfig:
    """The data set of the settings, or else that of the environment's name; nothing is held out that the settings do not."""
    given = {"holdout": 0, **data.model_dump(exclude_unset=True)}
    if not data.model_fields_set & {"name", "mix"}:
        if environment not in DATASETS:
            raise ConfigError(
                "an episode begins on a row of data, and no data set has the environment's name",
                given=f"--environment {environment}",
                hint="--data rows.jsonl",
            )
        given["name"] = environment
    return DataConfig.checked(given)


def _rewards(environment: PlannedEnvironment, loaded: Loaded, named: Sequence[RewardSpec]) -> Composition | None:
    specs = list(named) or [RewardSpec(name=name) for name in loaded.rewards]
    check_reward(environment, [spec.name for spec in specs])
    if environment.pays and REWARD not in (spec.name for spec in specs):
        specs.append(RewardSpec(name=REWARD))
    return resolve_rewards(specs, loaded, monitored_only=True) if specs else None


def _read_arguments(tool: Tool, method: Callable[..., Any], text: str) -> dict[str, Any]:
    """The arguments of a call that was typed, converted to the types of the tool's hints.

    Raises:
        ConfigError: they are not those of the tool.
    """
    signature, owner = inspect.signature(method), f"the tool {tool.name}"
    given = _typed_arguments(text, list(signature.parameters))
    wrong = next((key for key in given or {} if key not in signature.parameters), None)
    if wrong is not None:
        raise unknown(f"argument of {owner}", wrong, signature.parameters)
    try:
        signature.bind(**({"value": text} if given is None else given))
    except TypeError as error:
        problem = "several arguments are written name=value" if given is None else str(error)
        raise ConfigError(
            f"{owner} does not take these arguments: {problem}",
            given=f"/call {tool.name} {text}".rstrip(),
            exists=[str(tool)],
            hint=" ".join([f"/call {tool.name}", *(f"{parameter}=..." for parameter in signature.parameters)]),
        ) from error
    return {key: _converted(method, key, value, owner) for key, value in (given or {}).items()}


def _typed_arguments(text: str, parameters: list[str]) -> dict[str, Any] | None:
    """Parameter -> value as it was typed: text, or what JSON says; None for one without a name that could be several's."""
    if text.startswith("{"):
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"the arguments are no JSON object: {error}", given=text) from error
    first = _ARGUMENT_NAME.match(text)
    if first is None:
        named = {parameters[0]: _unquoted(text)} if len(parameters) == 1 else None
        return named if text else {}
    # a value may hold blanks and equals signs: only the name of an argument ends it
    names = "|".join(map(re.escape, [first[1], *parameters]))
    pieces = re.split(rf"(?:^|\s+)({names})=", text)[1:]
    return {key: _unquoted(value) for key, value in zip(pieces[::2], pieces[1::2], strict=True)}


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _converted(tool: Callable[..., Any], key: str, value: Any, owner: str) -> Any:
    try:
        return converted(tool, {key: value}, owner)[key]
    except ConfigError:
        try:
            decoded = json.loads(value)
        except (ValueError, TypeError):
            decoded = value
        if decoded is value or isinstance(decoded, str | int | float | bool | None):
            raise
        return converted(tool, {key: decoded}, owner)[key]
