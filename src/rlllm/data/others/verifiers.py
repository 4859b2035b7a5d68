"""verifiers: its tasksets as rows, and what the rewards of a task say of a rollout.

What is used is the interface of `verifiers.v1`, which is all that version 0.4 has: a package that is installed exports a
`Taskset`, whose tasks have data, tool servers and functions marked as rewards. Environments of earlier versions, whose function
`load_environment()` returns a data set and a rubric, are written against classes that 0.4 no longer has.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from rlllm.core.errors import ConfigError, DataError, RlllmError, describe
from rlllm.core.records import Message, PromptTask
from rlllm.data.procedural.problems import split_of
from rlllm.data.request import DataRequest, Split

TASKSET, CONFIG, TASK = "verifiers_taskset", "verifiers_config", "verifiers_task"
"""Columns of a row: the taskset's id, its settings, and the task's data as verifiers writes them into a trace."""
_Result = TypeVar("_Result")


def verifiers(request: DataRequest) -> list[PromptTask]:
    """Tasks of an installed taskset, as `verifiers:ID`; `data.params` are fields of its config.

    One task in five is held out, by a hash of its prompt. A field `answer` of a task is the row's answer.

    Raises:
        ConfigError: verifiers or the taskset is not installed, or a setting that the taskset does not take.
        DataError: other rows than prompts are wanted, or the tasks cannot be asked of a model in a prompt.
    """
    if request.kind is not PromptTask:
        raise DataError(f"verifiers makes no {request.kind.__name__} records", exists=["PromptTask"])
    if request.level is not None:
        raise ConfigError("verifiers has no levels", given=f"level={request.level}", hint="use data.params")
    params = dict(request.params)
    taskset = Taskset.named(str(params.pop("id", None) or ""), params)
    return list(islice(taskset.rows(request.split), request.rows))


verifiers.rewards = ("verifiers",)  # type: ignore[attr-defined]
verifiers.argument = "id"  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Taskset:
    """A taskset of verifiers with its settings, one whose tasks can be played here."""

    id: str
    config: Mapping[str, Any]
    its: Any
    """The package's own object."""

    @classmethod
    def named(cls, name: str, config: Mapping[str, Any]) -> Taskset:
        """The taskset of an installed package.

        Raises:
            ConfigError: verifiers or the taskset is not installed, a setting that it does not take, or it is played by code of
                its own, in a container, or by a person that is simulated.
        """
        return _loaded(name, json.dumps(dict(config), sort_keys=True, default=str))

    @property
    def task_class(self) -> Any:
        """The class of its tasks."""
        return type(self.its).task_type()

    def rows(self, split: Split) -> Iterator[PromptTask]:
        """Its tasks of one split, in its order. What its system prompt is does not change the split.

        Raises:
            DataError: a task has no prompt, a prompt that is not text, or a container; or the package raised.
        """
        tasks = iter(self.its)
        while True:
            with theirs(f"the taskset {self.id} does not load", DataError):
                task = next(tasks, None)
            if task is None:
                return
            row = self._row(task.data)
            if split_of(task.data.prompt_text) == split:
                yield row

    def task(self, data: Mapping[str, Any]) -> Any:
        """A task from the data in a row."""
        with theirs(f"the row is no task of {self.id}", DataError):
            kind = self.task_class
            return kind(kind.data_type().model_validate(dict(data)), config=self.its.config.task)

    def new_state(self) -> Any:
        """What tools and rewards of one rollout share."""
        from verifiers.v1.state import state_cls

        return state_cls(self.task_class)()

    def _row(self, data: Any) -> PromptTask:
        place = f"task {data.idx} of {self.id}"
        if data.prompt is None:
            raise DataError(f"{place} has no prompt: a person that is simulated speaks first", given=self.id)
        if data.image:
            raise DataError(f"{place} is played in the container {data.image}, and there is none here", given=self.id)
        prompt = _prompt(data, place)
        answer = getattr(data, "answer", None)
        columns = {
            TASKSET: self.id,
            CONFIG: dict(self.config),
            TASK: data.model_dump(mode="json", exclude_defaults=True),
        }
        return PromptTask(prompt, None if answer is None else str(answer), columns)


async def judged(
    taskset: Taskset,
    data: Mapping[str, Any],
    opening: str | Sequence[Message],
    turns: Sequence[Mapping[str, Any]],
    state: Any,
) -> float | None:
    """The weighted sum of the rewards of a task, as verifiers sums them; None where it has none.

    Args:
        data: the task's, from its row.
        opening: the prompt.
        turns: what came after it, in TRL's form (`role`, `content`, `tool_calls`).
        state: of the rollout, as its tools left it.

    Raises:
        Exception: what a reward raises, in verifiers' `TaskError`.
    """
    import verifiers.v1 as vf

    task = taskset.task(data)
    asked: Any = [{"role": "user", "content": opening}] if isinstance(opening, str) else opening
    given, sampled = _typed([dict(message) for message in asked]), _typed(turns)
    nodes = [
        vf.MessageNode(
            parent=place - 1 if place else None,
            message=message,
            sampled=place >= len(given) and isinstance(message, vf.AssistantMessage),
        )
        for place, message in enumerate([*given, *sampled])
    ]
    trace: Any = vf.Trace(
        task=vf.TraceTask(type=type(task).__name__, data=task.data),
        agent=vf.AgentInfo(config=vf.AgentConfig()),
        nodes=nodes,
        state=state,
        is_completed=True,
        ok=True,
    )
    trace.state, trace.task.data = state, task.data  # validation may have copied them as their base classes
    await task.score(trace)
    return trace.reward if trace.rewards else None


def on_loop(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine of the package to its end, on one event loop for all: what its tools open belongs to a loop."""
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


@contextmanager
def theirs(phrase: str, kind: type[RlllmError] = ConfigError, given: object = None) -> Iterator[None]:
    """Turn an exception of the package, or of a taskset, into an error that names verifiers."""
    try:
        yield
    except RlllmError:
        raise
    except Exception as error:
        raise kind(f"verifiers: {phrase}: {describe(error)}", given=given) from error


@cache
def _loaded(name: str, config: str) -> Taskset:
    try:
        import verifiers.v1 as vf
    except ImportError as error:
        raise ConfigError(
            f"tasksets of verifiers need its package: {describe(error)}",
            given=f"verifiers:{name}",
            hint='pip install "rlllm[verifiers]"',
        ) from error
    if not name:
        raise ConfigError("verifiers needs the id of a taskset", hint="data: verifiers:ID, environment.id=ID")
    settings = json.loads(config)
    try:
        module = vf.import_taskset(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"no such taskset of verifiers: {describe(error)}", given=name, hint="pip install the package that has it"
        ) from error
    with theirs(f"the taskset {name} does not load", given=f"{name} {settings}"):
        its = vf.load_taskset(vf.taskset_config_type(name).model_validate({**settings, "id": name}))
        reason = _unfit(vf, name, module, type(its).task_type())
    if reason:
        raise ConfigError(
            f"the taskset {name} of verifiers cannot be played here: {reason}",
            given=name,
            hint="tasksets with prompts, tools and rewards can; for others, run vf-eval of verifiers against this model",
        )
    return Taskset(name, settings, its)


def _unfit(vf: Any, name: str, module: Any, task: Any) -> str | None:
    """Why a taskset cannot be played by a tool loop; None where it can."""
    if vf.environment_class(name) is not vf.SingleAgentEnv:
        return f"its class {vf.environment_class(name).__name__} leads the rollout"
    if any(_is_harness(vf, getattr(module, public, None)) for public in getattr(module, "__all__", ())):
        return "it brings a program of its own that calls the model"
    own = [hook for hook in ("setup", "finalize") if getattr(task, hook) is not getattr(vf.Task, hook)]
    if own:
        return f"{own[0]} of {task.__name__} works in a container"
    needy = [
        hook.__name__
        for _, hook in inspect.getmembers(task, callable)
        if getattr(hook, "reward", False) is True and _needs_runtime(hook)
    ]
    return f"the reward {needy[0]} looks into a container" if needy else None


def _is_harness(vf: Any, exported: Any) -> bool:
    return inspect.isclass(exported) and issubclass(exported, vf.Harness)


def _needs_runtime(hook: Any) -> bool:
    """As verifiers tells: a parameter `runtime` without a default. It leaves such a reward out where there is no container."""
    parameter = inspect.signature(hook).parameters.get("runtime")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def _prompt(data: Any, place: str) -> str | list[Message]:
    """The prompt as a row has it: text, or messages where there is more than one user's turn to say."""
    if isinstance(data.prompt, str) and not data.system_prompt:
        return data.prompt
    asked = [{"role": "user", "content": data.prompt}] if isinstance(data.prompt, str) else []
    asked = asked or [message.model_dump(exclude_none=True) for message in data.prompt]
    if any(not isinstance(message.get("content"), str) for message in asked):
        raise DataError(f"{place} has a prompt that is not text", given=place)
    system = [{"role": "system", "content": data.system_prompt}] if data.system_prompt else []
    messages: Any = [*system, *asked]
    return messages


def _typed(messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Messages in the classes of verifiers: calls get numbers, and results those of their calls."""
    from pydantic import TypeAdapter
    from verifiers.v1.types import Messages

    written: list[dict[str, Any]] = []
    waiting: list[str] = []
    for message in messages:
        turn = {"role": message["role"], "content": message.get("content") or ""}
        if message.get("tool_calls"):
            names = [f"call_{len(written)}_{place}" for place, _ in enumerate(message["tool_calls"])]
            waiting = list(names)
            turn["tool_calls"] = [
                {"id": name, **_call(call)} for name, call in zip(names, message["tool_calls"], strict=True)
            ]
        if message["role"] == "tool":
            turn |= {"name": message.get("name"), "tool_call_id": waiting.pop(0) if waiting else "call"}
        written.append(turn)
    return TypeAdapter(Messages).validate_python(written)


def _call(call: Mapping[str, Any]) -> dict[str, str]:
    function = call.get("function", call)
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return {"name": str(function["name"]), "arguments": text}


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="rlllm-verifiers", daemon=True).start()
    return loop
