"""The shape of what the files of a run hold: keys, and the types of their values.

A file that is still JSON after its damage may hold a list where an object was, or a number where a text was. `misfit` finds
that when the file is read, so that no reader has to ask for the type of each value. What is not named here is not checked:
settings, for example, are checked by the class of their stage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Required, get_type_hints

from typing_extensions import TypedDict

from rlllm.core.outcome import Outcome
from rlllm.core.verdict import Diagnostics, Reason

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_Object = dict[str, Any]


class _Interval(TypedDict, total=False):
    estimate: Required[float]
    low: Required[float | None]
    high: Required[float | None]
    n: int | None
    method: str
    p_value: float | None


class _Measure(TypedDict, total=False):
    name: Required[str]
    higher_is_better: bool
    before: _Interval | None
    after: _Interval | None
    difference: _Interval | None
    unjudged: int


class _EvaluationMeasure(TypedDict, total=False):
    name: Required[str]
    higher_is_better: bool
    value: Required[_Interval]
    difference: _Interval | None


class _BestEvaluation(TypedDict):
    step: int
    value: _Interval


class _Evaluations(TypedDict, total=False):
    measure: str
    higher_is_better: bool
    rows: int
    evaluations: int
    best: _BestEvaluation | None


class _Task(TypedDict, total=False):
    hash: str
    metric: str
    items: int
    samples: int
    values: dict[str, _Interval]
    remarks: list[str]
    unjudged: int
    truncated: float | None
    mean_tokens: float | None
    curve: list[_Object]
    curve_all_pass: list[_Object]
    tokens_per_correct: _Interval | None
    response_rates: dict[str, _Interval]
    diversity: dict[str, _Interval]
    calibration: _Interval | None
    accuracy_by_length: list[_Object]
    turns: list[_Object]
    stopped: _Object | None
    against: _Object | None


class _Results(TypedDict, total=False):
    measures: list[_Measure]
    evaluations: _Evaluations
    tasks: dict[str, _Task]
    model: str
    baseline: str | None
    arms: dict[str, _Object]
    comparisons: list[_Object]
    controls: list[_Object]
    seeds: list[Any]
    findings: list[str]


class _Status(TypedDict, total=False):
    state: str
    time: str
    stage: str
    seconds: float
    error: str


class _Config(TypedDict, total=False):
    digest: str
    stage: Required[str]
    command: str | None
    given: _Object
    settings: Required[_Object]
    hardware: _Object
    trl: _Object
    processes: _Object
    resumed: list[str]


class _Environment(TypedDict, total=False):
    packages: dict[str, str]
    device: str
    threads: int
    matmul: str
    thread_seconds: dict[str, float]
    matmul_seconds: dict[str, float]
    processes: int


class _ModelLineage(TypedDict, total=False):
    name: str
    path: str
    weights: str | None
    trust_remote_code: str | None


class _RewardLineage(TypedDict, total=False):
    names: list[str]
    hash: str
    each: dict[str, str]


class _Lineage(TypedDict, total=False):
    parents: list[str]
    model: _ModelLineage | None
    data: _Object | str
    rewards: _RewardLineage | None
    template: str | None
    code: dict[str, str]
    members: list[str]


class _Measurement(TypedDict, total=False):
    name: Required[str]
    scores: Required[list[list[float | None]]]
    prompts: list[Any]
    answers: list[Any]
    completions: list[list[str]]
    higher_is_better: bool
    wins: str | None
    from_start: bool


class _RowHashes(TypedDict, total=False):
    train: list[str]
    holdout: list[str]


class _StartValues(TypedDict, total=False):
    values: Required[list[list[float | None]]]


class _RewardCounts(TypedDict, total=False):
    seen: Required[int]
    failed: Required[int]
    grown: Required[int]
    messages: Required[dict[str, int]]
    first: Required[list[Any] | None]


class _Sweep(TypedDict, total=False):
    title: str
    arms: Required[dict[str, _Object]]


class _Metrics(TypedDict, total=False):
    step: int
    time: float
    loss: float | None
    reward: float | None
    learning_rate: float | None
    grad_norm: float | None
    step_time: float | None


class _RewardScore(TypedDict, total=False):
    value: float | None
    note: str


class _Sample(TypedDict, total=False):
    step: int
    row: int
    prompt: str | list[_Object]
    completion: str
    reward: float | None
    rewards: dict[str, _RewardScore]
    advantage: float | None
    truncated: bool
    tokens: int
    transcript: list[_Object]
    dialogue_context: _Object


class _EvaluationRow(TypedDict, total=False):
    step: Required[int]
    rows: int
    seconds: float
    measures: Required[list[_EvaluationMeasure]]
    saved: bool
    reward_counts: dict[str, _RewardCounts]


class _ScoredCompletion(TypedDict, total=False):
    completion: Required[str]
    score: Required[float | None]


class _BeforeAfter(TypedDict, total=False):
    prompt: str | list[_Object]
    before: list[_ScoredCompletion]
    after: list[_ScoredCompletion]


class _Item(TypedDict, total=False):
    task: Required[str]
    id: Required[str]
    scores: Required[list[float | None]]
    prompt: str | list[_Object]
    completions: list[str]
    tokens: list[int]
    truncated: list[bool]
    extracted: list[str | None]
    group: str | None


def _as_written(dataclass: type, **other: Any) -> Any:
    """The shape of a dataclass as it is written, of which a run of an older version may have fewer fields.

    Args:
        dataclass: the class.
        other: types of fields that JSON has in another form.
    """
    return _typed_dict(dataclass.__name__, **{**get_type_hints(dataclass), **other})


def _typed_dict(name: str, **keys: Any) -> Any:
    return TypedDict(name, keys, total=False)  # type: ignore[operator]


_ENDS = dict.fromkeys(("difference", "before", "after"), _Interval | None)
_VERDICT = _typed_dict(
    "Verdict",
    ok=bool,
    carried_out=bool,
    reasons=list[_as_written(Reason)],  # type: ignore[misc]
    outcome=_as_written(Outcome, **_ENDS) | None,
    diagnostics=_as_written(Diagnostics, mean_rewards=list[float] | None),
)

_SHAPES: Mapping[str, Any] = {
    "config.json": _Config,
    "status.json": _Status,
    "verdict.json": _VERDICT,
    "results.json": _Results,
    "env.json": _Environment,
    "lineage.json": _Lineage,
    "data_rows.json": _RowHashes,
    "sweep.json": _Sweep,
    "measured_before.json": list[_Measurement],
    "measured_after.json": list[_Measurement],
    "evaluated_start.json": list[_Measurement],
    "start_values.json": _StartValues,
    "start_values_counts.json": dict[str, _RewardCounts],
    "measured_before_counts.json": dict[str, _RewardCounts],
    "metrics.jsonl": _Metrics,
    "samples.jsonl": _Sample,
    "evaluations.jsonl": _EvaluationRow,
    "before_after.jsonl": _BeforeAfter,
    "items.jsonl": _Item,
}
"""Name of a file -> what it holds, or what each of its lines holds."""
_KINDS = {"dict": "object", "list": "list", "string": "text", "int": "number", "float": "number", "bool": "truth value"}


def misfit(name: str, value: Any) -> str | None:
    """What in a value is not as the run's file of that name has it; None where all is.

    Args:
        name: name of the file, without its folder.
        value: what the file holds, or one of its lines.
    """
    from pydantic import ValidationError

    try:
        _adapter(name).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            return f"{place} is missing"
        given = json.dumps(first["input"], default=str)[:40]
        wanted = _KINDS.get(first["type"].removesuffix("_type"))
        return f"{place or 'it'} is {given}, " + (f"and no {wanted}" if wanted else first["msg"].lower())
    return None


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # here: a command that reads no run starts without it

    return TypeAdapter(_SHAPES.get(name, dict[str, Any]))
