"""What a metric declares decides how it is evaluated; a plugin's metric is called once while the evaluation is planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlllm.core.config import resolve
from rlllm.core.errors import ConfigError, PluginError, RlllmError
from rlllm.evals.metrics.base import Metric
from rlllm.evals.metrics.plugin_dry_run import measure
from rlllm.evals.registry import METRICS, metric_for_reward_model
from rlllm.evals.request import EvalRequest
from rlllm.rollouts.config import SamplingConfig
from rlllm.stages.evaluate.plan import EvalPlan, plan_evaluation
from rlllm.stages.evaluate.settings import EvalSettings

HEAD = """
from rlllm.plugins import EvalRequest, Evaluation, Metric, PreferencePair, mean_interval, sampled_row, record_row

def of_prompts(request):
    rows = request.draw(request.records)
    scores = request.required_rewards().score([sample for row in rows for sample in row]).values[0]
    items = [sampled_row(row, [1.0] * len(row)) for row in rows]
    return Evaluation(items, {"mean": mean_interval([[score] for score in scores], request.seed)})

def of_model(request):
    model, tokenizer = request.policy()
    return model.no_such_method()

def against(request):
    pairs = zip(request.draw(request.records), request.draw(request.records, "baseline"))
    scores = [[float(len(ours[0].completion) > len(theirs[0].completion))] for ours, theirs in pairs]
    return Evaluation([], {"longer": mean_interval(scores)})
"""


@pytest.fixture
def plan(tmp_path: Path, tiny_model: str) -> Any:
    def planned(measure: str, fields: str = "", **settings: Any) -> EvalPlan:
        source = f'{HEAD}\nMETRIC = Metric(name="mine", summary="mine", measure={measure}, {fields})\n'
        path = tmp_path / f"metric_{abs(hash(source))}.py"
        path.write_text(source)
        defaults = {"model": tiny_model, "rows": 6, "samples": 2, "tasks": f"{path}:METRIC"}
        return plan_evaluation(resolve(EvalSettings, {**defaults, **settings}))

    return planned


@pytest.mark.parametrize("name", METRICS.builtins)
def test_a_metric_is_registered_under_its_own_name(name: str) -> None:
    metric = METRICS.load(name)
    assert isinstance(metric, Metric)
    assert (metric.name, bool(metric.summary)) == (name, True)


@pytest.mark.parametrize(
    ("method", "metric"),
    [("bt", "rm"), ("ensemble", "rm"), ("process", "prm-steps"), ("generative", "judge"), ("", "rm")],
)
def test_every_kind_of_reward_model_has_its_metric(method: str, metric: str) -> None:
    assert metric_for_reward_model(method) == metric


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"record": int}, "declares record=int"),
        ({"needs_model": "police"}, "exists: none, policy, scorer"),
        ({"reads": ("entropi",)}, "exists: ks, entropy, stop_width"),
        ({"record": None}, "either record or external"),
        ({"min_samples": 2}, "completions are drawn of needs_model='policy'"),
        ({"needs_baseline": True}, "a baseline is compared with needs_model='policy'"),
        ({"default_rewards": ("gold",)}, "go with needs_reward=True"),
        ({"measure": 3}, "measure is a function"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(fields: dict[str, Any], words: str) -> None:
    declared: dict[str, Any] = {"name": "mine", "summary": "", "measure": len, **fields}
    with pytest.raises(ConfigError) as caught:
        Metric(**declared)
    assert words in str(caught.value)


PLANNED = [
    ("of_prompts", 'needs_reward=True, needs_model="policy", min_samples=1', {}),
    ("of_model", 'needs_model="policy"', {}),
    ("against", 'needs_model="policy", min_samples=1, needs_baseline=True', {"baseline": "nano"}),
    ("of_prompts", 'needs_reward=True, needs_model="policy", min_samples=1, reads=("ks",)', {"ks": [2]}),
]


@pytest.mark.parametrize(("measure", "fields", "settings"), PLANNED)
def test_a_metric_gets_what_it_declares(plan: Any, measure: str, fields: str, settings: dict[str, Any]) -> None:
    planned = plan(measure, fields, **settings)
    task = planned.tasks[0]
    assert task.name == "mine:arithmetic"
    assert (task.rewards is not None) == task.metric.needs_reward
    assert planned.completions == 6 * 2 * task.metric.samples * (1 + task.metric.needs_baseline)


REFUSED: list[tuple[str, str, dict[str, Any], type[RlllmError], str]] = [
    ("of_prompts", 'needs_model="policy", min_samples=1', {}, ConfigError, "needs a reward"),
    ("of_prompts", "needs_reward=True", {}, PluginError, "asks for a model, and declares that it needs none"),
    ("lambda request: 3", "", {}, PluginError, "returned no Evaluation\ngiven: int"),
    (
        'lambda request: Evaluation([], {"a": 1.0})',
        "",
        {},
        PluginError,
        "the value a of the metric mine is no Interval",
    ),
    ('lambda request: Evaluation([{"id": "a"}], {})', "", {}, PluginError, "has no scores\ngiven: id"),
    ("lambda request: request.promts", "", {}, PluginError, "exists: path, policy, records"),
    ("of_model", "recrod=PreferencePair", {}, ConfigError, "field of Metric: recrod hint: did you mean record?"),
    ("of_model", "", {"ks": [1]}, ConfigError, "ks is read by no task\ngiven: mine\nexists: pass"),
    ("of_model", "", {"entropy": True}, ConfigError, "entropy is read by no task"),
    ("of_model", "", {"rewards": "exact"}, ConfigError, "no task takes a reward\ngiven: exact"),
    ("of_model", "", {"stop_width": 0.2}, ConfigError, "exists: best-of, pass"),
    ("against", 'needs_model="policy", min_samples=1, needs_baseline=True', {}, ConfigError, "--baseline MODEL"),
    ("of_prompts", 'needs_reward=True, needs_model="policy", min_samples=3', {}, ConfigError, "at least 3 samples"),
]


@pytest.mark.parametrize(("measure", "fields", "settings", "kind", "words"), REFUSED)
def test_a_metric_that_asks_for_something_else_is_refused_while_planning(
    plan: Any, measure: str, fields: str, settings: dict[str, Any], kind: type[RlllmError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        plan(measure, fields, **settings)
    assert words in str(caught.value)


def test_an_exception_names_the_plugins_file_and_line(plan: Any) -> None:
    with pytest.raises(PluginError, match=r"the metric mine raised ZeroDivisionError: .* \(metric_\d+\.py, line 19\)"):
        plan("lambda request: 1 / 0")


def test_arguments_are_checked_and_a_default_changes_no_hash(tiny_model: str) -> None:
    def task_hash(**params: Any) -> str:
        task = {"metric": "safety", "data": "arithmetic", "rewards": ["refusal"], "params": params}
        config = resolve(EvalSettings, {"model": tiny_model, "rows": 4, "tasks": [task]})
        return plan_evaluation(config).tasks[0].hash(config)

    assert task_hash() == task_hash(column="label") != task_hash(column="kind")
    with pytest.raises(ConfigError, match="safety takes no argument colour\ngiven: colour\nexists: column"):
        task_hash(colour=1)
    with pytest.raises(ConfigError, match="the metric pass takes no arguments"):
        METRICS.load("pass").checked_params({"k": 1})


def test_what_a_plugin_raises_in_a_run_is_named_too() -> None:
    metric = Metric(name="mine", summary="", measure=lambda request: request.records[5])  # type: ignore[arg-type, return-value]
    request = EvalRequest("", lambda: (None, None), [], None, SamplingConfig(), samples=1)
    with pytest.raises(PluginError, match="the metric mine raised IndexError"):
        measure(metric, request)
