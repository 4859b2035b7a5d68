"""Reward functions written for TRL, verl, OpenRLHF, ms-swift and verifiers. They are recognised by the names of their
parameters, and called as their tool calls them.

What these tools hand over is made of a `Sample`: the completion as text, or as one message where the prompt is messages (TRL,
verifiers); the reference under the names that the tool uses for it; the other columns of the row under their own names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import ConfigError, closest
from rlllm.core.records import Sample, Score, prompt_text, reference_text

_ANSWERS = ("answer", "solution", "ground_truth", "label", "target", "final_answer")
"""Column names under which the reference is handed over, where the row has no other column of that name."""
_Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Convention:
    """How one tool calls its reward functions."""

    tool: str
    form: str
    """The signature, as an error shows it."""
    batch: bool
    """Whether a function gets lists, with one item a sample."""
    supplied: Callable[[Sequence[Sample]], _Values]
    """Argument name -> value, of what the tool hands over itself; lists where it gets lists."""
    columns: bool
    """Whether the columns of the rows are arguments as well."""


def _text_or_messages(sample: Sample) -> Any:
    if isinstance(sample.prompt, str):
        return sample.completion
    return [{"role": "assistant", "content": sample.completion}]


def _trl(samples: Sequence[Sample]) -> _Values:
    return {
        "prompts": [sample.prompt for sample in samples],
        "completions": [_text_or_messages(sample) for sample in samples],
        "trainer_state": None,
        "log_extra": _ignored,
        "log_metric": _ignored,
    }


def _ignored(*arguments: Any) -> None:
    """Takes what a function wants to log."""


def _swift(samples: Sequence[Sample]) -> _Values:
    return {"completions": [sample.completion for sample in samples]}


def _openrlhf(samples: Sequence[Sample]) -> _Values:
    prompts = [prompt_text(sample.prompt) for sample in samples]
    return {
        "queries": [prompt + sample.completion for prompt, sample in zip(prompts, samples, strict=True)],
        "prompts": prompts,
        "labels": [_reference(sample) for sample in samples],
    }


def _verl(samples: Sequence[Sample]) -> _Values:
    (sample,) = samples
    return {
        "data_source": sample.meta.get("data_source"),
        "solution_str": sample.completion,
        "ground_truth": _reference(sample),
        "extra_info": sample.meta.get("extra_info", {}),
    }


def _verl_batch(samples: Sequence[Sample]) -> _Values:
    rows = [_verl([sample]) for sample in samples]
    plural = {"data_source": "data_sources", "solution_str": "solution_strs", "ground_truth": "ground_truths"}
    names = {**plural, "extra_info": "extra_infos"}
    return {many: [row[one] for row in rows] for one, many in names.items()}


def _verifiers(samples: Sequence[Sample]) -> _Values:
    (sample,) = samples
    values = {
        "prompt": sample.prompt,
        "completion": _text_or_messages(sample),
        "answer": _reference(sample) or "",
        "task": sample.meta.get("task", "default"),
        "info": sample.meta.get("info", {}),
    }
    return {**values, "state": dict(values)}


def _reference(sample: Sample) -> Any:
    """The reference as the row holds it, which may be a list or an object of which the answer is the text."""
    nested = sample.meta.get("reward_model")
    truths = [sample.meta.get("ground_truth"), nested.get("ground_truth") if isinstance(nested, Mapping) else None]
    if sample.answer is None:
        return next((truth for truth in truths if truth is not None), None)
    wholes = (truth for truth in truths if isinstance(truth, list | Mapping))
    return next((whole for whole in wholes if reference_text(whole) == sample.answer), sample.answer)


TRL = Convention("TRL", "f(completions, solution, **kwargs)", True, _trl, True)
VERL = Convention("verl", "compute_score(data_source, solution_str, ground_truth, extra_info)", False, _verl, False)
VERL_BATCH = Convention(
    "verl", "compute_score(data_sources, solution_strs, ground_truths, extra_infos)", True, _verl_batch, False
)
OPENRLHF = Convention("OpenRLHF", "reward_func(queries, prompts, labels)", True, _openrlhf, False)
SWIFT = Convention("ms-swift", "class with __call__(self, completions, **kwargs)", True, _swift, True)
VERIFIERS = Convention("verifiers", "f(prompt, completion, answer, state, task, info)", False, _verifiers, False)
_CONVENTIONS = (TRL, VERL, VERL_BATCH, OPENRLHF, SWIFT, VERIFIERS)
FORMS = ("rlllm: f(sample)", *(f"{convention.tool}: {convention.form}" for convention in _CONVENTIONS))
"""The signatures that a reward may have."""


def convention_of(target: Any) -> Convention | None:
    """The convention that a function, object or class of rewards is written for; None for rlllm's own."""
    if hasattr(target, "score_batch"):
        return None
    called = target.__call__ if isinstance(target, type) and "__call__" in vars(target) else target
    try:
        parameters = list(inspect.signature(called).parameters.values())
    except (TypeError, ValueError):  # some builtins have none
        return None
    if isinstance(target, type):
        return SWIFT if len(parameters) > 1 and parameters[1].name == "completions" else None
    names = {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
    if {"solution_str", "ground_truth"} <= names:
        return VERL
    if {"solution_strs", "ground_truths"} <= names:
        return VERL_BATCH
    if "queries" in names:
        return OPENRLHF
    if names & {"completions", "completion_ids"} or (parameters and not names):
        return TRL
    if "completion" in names or names == {"state"}:
        return VERIFIERS
    return None


def adapted(name: str, target: Any, convention: Convention, arguments: Mapping[str, Any]) -> Any:
    """The reward as rlllm calls it: an object that scores one sample, or several ones by `score_batch`.

    Args:
        name: of the reward, for messages.
        arguments: those of the recipe; they are handed over with every call, or to a class when it is made.

    Raises:
        ConfigError: an argument that the function does not take, or that its tool hands over itself.
    """
    if isinstance(target, type):
        function, fixed = target(**arguments), {}
    else:
        function, fixed = target, dict(arguments)
    parameters = inspect.signature(function).parameters
    supplied = convention.supplied([Sample("", "")])
    for key in fixed:
        if key in supplied:
            raise ConfigError(f"the reward {name} is given {key} with every call", given=f"{key}: {fixed[key]}")
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in fixed if not takes_all else ():
        if key not in parameters:
            near = closest(key, parameters)
            raise ConfigError(
                f"the reward {name} takes no argument {key}",
                given=f"{key}: {fixed[key]}",
                hint=f"did you mean {near}?" if near else None,
            )
    asynchronous = any(map(inspect.iscoroutinefunction, (function, type(function).__call__)))
    call = _Call(name, function, convention, fixed)
    if convention.batch:
        return _AsyncBatch(call) if asynchronous else _Batch(call)
    return _AsyncSingle(call) if asynchronous else _Single(call)


@dataclass(frozen=True, slots=True)
class _Call:
    """A function of another tool with its fixed arguments."""

    name: str
    function: Callable[..., Any]
    convention: Convention
    fixed: _Values

    def arguments(self, samples: Sequence[Sample]) -> _Values:
        """What the function is called with. Raises ConfigError for a parameter that nothing fills."""
        values = {**(_columns(samples) if self.convention.columns else {}), **self.convention.supplied(samples)}
        values |= self.fixed
        parameters = inspect.signature(self.function).parameters.values()
        taken = (
            values
            if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
            else {parameter.name: values[parameter.name] for parameter in parameters if parameter.name in values}
        )
        lacking = [
            parameter.name
            for parameter in parameters
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            and parameter.name not in values
        ]
        if lacking:
            columns = sorted({str(column) for sample in samples for column in sample.meta})
            raise ConfigError(
                f"the reward {self.name} takes {lacking[0]}, and no column of the rows is called so",
                given=f"{self.convention.tool}: {self.convention.form}",
                exists=[*self.convention.supplied([Sample("", "")]), *columns],
                hint=f"give it in the recipe, as a column of the rows, or a default: {{name: {self.name}, {lacking[0]}: ...}}",
            )
        return taken


def _columns(samples: Sequence[Sample]) -> _Values:
    """Column -> its values; the reference also under the usual names for it."""
    names = dict.fromkeys(str(name) for sample in samples for name in sample.meta)
    values: _Values = {name: [sample.meta.get(name) for sample in samples] for name in names}
    if any(sample.answer is not None for sample in samples):
        references = [sample.answer for sample in samples]
        values = {**dict.fromkeys(_ANSWERS, references), **values}
    return values


class _Single:
    """Scores one sample."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    def __call__(self, sample: Sample) -> Any:
        return _one(self._call.function(**self._call.arguments([sample])))


class _AsyncSingle(_Single):
    """Scores one sample, to be awaited."""

    async def __call__(self, sample: Sample) -> Any:
        return _one(await self._call.function(**self._call.arguments([sample])))


class _Batch:
    """Scores several samples."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    def score_batch(self, samples: Sequence[Sample]) -> Any:
        return _many(self._call.function(**self._call.arguments(samples)))


class _AsyncBatch(_Batch):
    """Scores several samples, to be awaited."""

    async def score_batch(self, samples: Sequence[Sample]) -> Any:
        return _many(await self._call.function(**self._call.arguments(samples)))


def _one(returned: Any) -> Any:
    """A number, or verl's mapping with `score`; its other values are the note."""
    if isinstance(returned, Mapping) and "score" in returned:
        rest = ", ".join(f"{key}={value}" for key, value in returned.items() if key != "score")
        return Score(_number(returned["score"]), note=rest or None)
    return _number(returned)


def _many(returned: Any) -> Any:
    """A list of numbers; a tensor, and OpenRLHF's mapping with `rewards`, as such a list."""
    if isinstance(returned, Mapping) and "rewards" in returned:
        returned = returned["rewards"]
    returned = returned.tolist() if hasattr(returned, "tolist") else returned
    return [_one(value) for value in returned] if isinstance(returned, list | tuple) else returned


def _number(value: Any) -> Any:
    """A tensor with one value as a number."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) in ((), (1,)) else value
