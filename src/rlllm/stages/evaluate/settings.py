"""`rlllm eval`: measure a model on tasks, with intervals; a run directory of its own, so that evaluations can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import Field, model_validator

from rlllm.core.config import Section, StageConfig
from rlllm.core.errors import ConfigError, unknown
from rlllm.core.events import ProgressCallback
from rlllm.core.records import PreferencePair, PromptTask, Record, StepwiseSolution, fingerprint, record_hash
from rlllm.core.runs import Run, write_json
from rlllm.core.verdict import Diagnostics
from rlllm.data.config import DataConfig
from rlllm.data.load import Loaded, load
from rlllm.data.registry import DATASETS
from rlllm.evals.groups import group_of
from rlllm.evals.harness.tasks import HARNESS, PREFIX, HarnessConfig, check_task, task_identity
from rlllm.evals.registry import EVALS
from rlllm.policies.sources import ModelSource, resolve_model
from rlllm.rewards.compose import Composition
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.isolation.sandbox.jobs import Isolation
from rlllm.rewards.judges.local import LocalJudge
from rlllm.rewards.models.process import ProcessModel
from rlllm.rewards.models.scalar import RewardModel
from rlllm.rollouts.config import SamplingConfig
from rlllm.stages.evaluate.baseline import Against, against, earlier_evaluation, model_of
from rlllm.training.flow import run_to_verdict
from rlllm.training.plan import resolve_rewards

RECORDS: dict[str, type[Record]] = {
    **dict.fromkeys(("rm", "gold", "judge"), PreferencePair),
    "steps": StepwiseSolution,
}
"""Record type a metric works on, where it is not PromptTask."""
MODEL_METRICS: dict[str, Callable[[str], Any]] = {"rm": RewardModel, "steps": ProcessModel, "judge": LocalJudge}
"""Metrics of models that judge, with what refuses a folder that holds no such model; they take no reward."""
CONTESTS = ("gold", "win-rate")
"""Metrics of a model against a baseline."""
STOPPABLE = ("pass", "best-of")
"""Metrics with a pass@1, whose interval can end an evaluation."""


class TaskSpec(Section):
    """One task: a metric on data. `arithmetic` is short for `{metric: pass, data: arithmetic}`."""

    metric: str = "pass"
    """`pass`, `rm`, `gold`, `win-rate`, `steps`, `best-of`, `safety`, `lm-eval`, or a plugin's."""
    data: DataConfig | None = None
    """What to evaluate on; default: the stage's `data`."""
    rewards: list[RewardSpec] = Field(default_factory=list)
    """What a completion is worth; default: the stage's `rewards`, else the data source's own."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the metric; for `lm-eval`, `task`."""
    by: str | None = None
    """Column whose values are groups, such as `level`: each gets a value of its own, and so does their mean; default: the
    stage's `by`."""
    name: str | None = None
    """Label in results."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.startswith(PREFIX):
            return {"metric": HARNESS, "params": {"task": value.removeprefix(PREFIX)}}
        return {"metric": value} if value in EVALS else {"data": value}


class EvalStage(StageConfig):
    """Settings of `rlllm eval`."""

    stage: ClassVar[str] = "eval"
    aliases: ClassVar[Mapping[str, str]] = {
        "max_new_tokens": "sampling.max_new_tokens",
        "temperature": "sampling.temperature",
        "top_p": "sampling.top_p",
        "limit": "rows",
        "task": "tasks",
        "reward": "rewards",
        "output_path": "output_dir",
    }

    tasks: list[TaskSpec] = Field(default_factory=lambda: [TaskSpec()], min_length=1)
    """What to measure: names of metrics or data sets, or sections."""
    data: DataConfig = DataConfig()
    """Data of the tasks that name none."""
    rewards: list[RewardSpec] = Field(default_factory=list)
    """Rewards of the tasks that name none."""
    sandbox: Isolation = "full"
    """How rewards isolate programs that the model wrote. `none` runs them as you, with your files and your network."""
    baseline: str | None = None
    """Model to win against, for the gold task; or an earlier evaluation of the same tasks, to compare with."""
    rows: int = Field(256, ge=1)
    """Problems for each task; from the held-out part where the data has one."""
    samples: int = Field(4, ge=1)
    """Completions sampled for each problem."""
    by: str | None = None
    """Column to group by, of the tasks that name none."""
    ks: list[int] = Field(default_factory=list)
    """Which pass@k to report; default pass@1 and pass@samples."""
    sampling: SamplingConfig = SamplingConfig()
    """How completions are sampled."""
    entropy: bool = False
    """Of the metric `pass`: also the model's entropy along its completions, in nats a token, by one more pass over them."""
    cache: bool = True
    """Take completions that were sampled before from the user's cache, and keep new ones there."""
    stop_width: float | None = Field(None, gt=0, lt=1)
    """Stop once the interval of pass@1 is no wider than this; `rows` is then the most that is used."""
    harness: HarnessConfig = HarnessConfig()
    """How tasks of lm-evaluation-harness are asked."""

    @model_validator(mode="after")
    def _enough_samples(self) -> EvalStage:
        if self.ks and min(self.ks) < 1:
            raise ConfigError("pass@k is for k from 1 on", given=f"ks={self.ks}")
        if self.ks and max(self.ks) > self.samples:
            raise ConfigError(
                f"pass@{max(self.ks)} needs at least {max(self.ks)} samples",
                given=f"samples={self.samples}",
                hint=f"samples={max(self.ks)}",
            )
        return self

    def plan(self) -> EvalPlan:
        source = resolve_model(self.model, ensembles=all(task.metric == "rm" for task in self.tasks))
        earlier = earlier_evaluation(self.baseline) if self.baseline else None
        baseline = resolve_model(self.baseline) if self.baseline and not earlier else None
        tasks = [_plan_task(self, spec) for spec in self.tasks]
        metrics = {task.metric for task in tasks}
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            raise ConfigError("two tasks have the same name", given=", ".join(names), hint="give each a name")
        for metric in MODEL_METRICS.keys() & metrics:
            MODEL_METRICS[metric](source.path)
        if earlier and metrics & set(CONTESTS):
            baseline = resolve_model(model_of(earlier))
        self._check(metrics, baseline)
        compared = against(earlier, {task.name: task.hash(self) for task in tasks}) if earlier else None
        return EvalPlan(self, source, baseline, tasks, compared)

    def _check(self, metrics: set[str], baseline: ModelSource | None) -> None:
        """Refuse settings that a metric cannot work with."""
        if self.samples < 2 and "best-of" in metrics:
            raise ConfigError(
                "best-of needs at least 2 samples to choose from", given=f"samples={self.samples}", hint="samples=8"
            )
        if baseline is None and (contests := sorted(metrics & set(CONTESTS))):
            raise ConfigError(
                f"the {contests[0]} task compares two models", hint="say against which with --baseline MODEL"
            )
        if self.entropy and "pass" not in metrics:
            raise ConfigError(
                "entropy is measured by the metric pass alone",
                given=", ".join(sorted(metrics)),
                hint="leave entropy out",
            )
        if self.stop_width is not None and not metrics <= set(STOPPABLE):
            raise ConfigError(
                "stop_width watches pass@1, which not all tasks have",
                given=", ".join(sorted(metrics - set(STOPPABLE))),
                exists=STOPPABLE,
                hint="evaluate these tasks without it",
            )


@dataclass(frozen=True)
class PlannedTask:
    """A task with its rows at hand."""

    name: str
    metric: str
    records: list[Record]
    source: str
    rewards: Composition | None
    params: dict[str, Any] = field(default_factory=dict)
    by: str | None = None

    def hash(self, config: EvalStage) -> str:
        """Identity of what is measured: problems, rewards and sampling. Evaluations compare only where it is equal."""
        if self.metric == HARNESS:
            return task_identity(self.params)
        return fingerprint(
            [
                self.metric,
                [record_hash(record) for record in self.records],
                self.rewards.fingerprint() if self.rewards else None,
                config.sampling.model_dump(exclude={"batch_size", "engine"}),
                *([self.params] if self.params else []),
            ]
        )

    @property
    def rows(self) -> int:
        """Problems at most: how many a task of the harness has is not known before it is loaded."""
        return self.params["limit"] if self.metric == HARNESS else len(self.records)

    @property
    def sampled(self) -> bool:
        """Whether its problems are answered by completions of the model, `samples` to each."""
        return self.metric not in (*MODEL_METRICS, HARNESS)


@dataclass(frozen=True)
class EvalPlan:
    """What an evaluation will do."""

    config: EvalStage
    source: ModelSource
    baseline: ModelSource | None
    tasks: list[PlannedTask]
    against: Against | None = None

    def lines(self) -> list[tuple[str, str]]:
        rows = [("stage", "eval"), ("model", f"{self.source.name} ({self.source.kind}) {self.source.path}")]
        if self.baseline:
            rows.append(("baseline", f"{self.baseline.name} ({self.baseline.kind})"))
        if self.against:
            rows.append(("baseline", f"{self.against.run.path} (evaluation), for {', '.join(self.against.names)}"))
        for task in self.tasks:
            rewards = f", scored by {', '.join(task.rewards.names)}" if task.rewards else ""
            most = "at most " if task.metric == HARNESS else ""
            rows.append(("task", f"{task.name}: {task.metric} on {most}{task.rows} rows of {task.source}{rewards}"))
        return [*rows, *self._sampling_lines()]

    @property
    def completions(self) -> int:
        """Completions that the tasks take, cached ones included."""
        models = {task.name: 2 if task.metric in CONTESTS else 1 for task in self.tasks}
        return sum(len(t.records) * self.config.samples * models[t.name] for t in self.tasks if t.sampled)

    def detectable(self) -> dict[str, float]:
        """Smallest true difference in pass@1 between two models that each task likely shows; see `evals.statistics.power`."""
        from rlllm.evals.statistics.power import minimum_detectable_effect

        different = self.config.samples if self.config.sampling.temperature else 1
        return {
            task.name: minimum_detectable_effect(len(task.records), different, paired=True)
            for task in self.tasks
            if task.sampled and task.records
        }

    def _sampling_lines(self) -> Iterator[tuple[str, str]]:
        config, sampling = self.config, self.config.sampling
        if not self.completions:
            return
        yield "samples", f"{config.samples} a problem at temperature {sampling.temperature:g}"
        if config.samples > 1 and not sampling.temperature:
            yield "greedy", f"the {config.samples} completions of a problem are all the same: samples=1 says as much"
        upto = "up to " if config.stop_width is not None else ""
        yield "completions", f"{upto}{self.completions:,} of at most {sampling.max_new_tokens:,} tokens"
        for name, effect in self.detectable().items():
            yield "detects", f"{name}: a difference of {effect:.3f} from a model measured on the same problems"
        if config.stop_width is not None:
            yield "stops", f"when the interval of pass@1 is at most {config.stop_width:g} wide"

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": "eval",
            "model": {"name": self.source.name, "kind": self.source.kind, "path": self.source.path},
            "tasks": [
                {"name": task.name, "metric": task.metric, "rows": task.rows, "hash": task.hash(self.config)}
                for task in self.tasks
            ],
            "completions": self.completions,
            "detects": self.detectable(),
        }


def run(config: EvalStage, **options: Any) -> Run:
    """Evaluate a model on every task; results in `results.json`, one row for each problem in `items.jsonl`.

    Options are those of `training.flow.run_to_verdict`.

    Raises:
        RlllmError: the settings, the data or the model are wrong.
    """
    plan = config.plan()
    diagnostics = Diagnostics(steps_requested=len(plan.tasks), rows=sum(task.rows for task in plan.tasks))

    def work(run: Run, listener: ProgressCallback, resume: bool) -> None:
        from rlllm.stages.evaluate.measure import evaluate

        listener.started("eval", len(plan.tasks), run.path)
        for label, text in plan.lines():
            if label in ("greedy", "completions", "detects"):
                listener.note(f"{label}: {text}")
        write_json(run.path / "results.json", evaluate(plan, run, listener, resume))
        diagnostics.steps_done = len(plan.tasks)

    return run_to_verdict(config, diagnostics, work, **options)


def _plan_task(config: EvalStage, spec: TaskSpec) -> PlannedTask:
    if ":" not in spec.metric and spec.metric not in EVALS:
        raise unknown("metric", spec.metric, EVALS.names())
    by = spec.by or config.by
    if spec.metric == HARNESS:
        if by is not None:
            raise ConfigError("tasks of lm-evaluation-harness have no columns to group by", given=f"by={by}")
        params = {"limit": config.rows, **config.harness.model_dump(), **spec.params}
        label = check_task(params)
        return PlannedTask(spec.name or f"{PREFIX}{label}", HARNESS, [], "lm-evaluation-harness", None, params)
    data = spec.data or config.data
    kind = RECORDS.get(spec.metric, PromptTask)
    loaded = _load_rows(data, kind, config.rows)
    records = (loaded.holdout or loaded.train)[: config.rows]
    specs = list(spec.rewards or config.rewards)
    if spec.metric == "gold" and not specs:
        specs = [RewardSpec(name="gold")]
    rewards = None if spec.metric in MODEL_METRICS else resolve_rewards(specs, loaded, sandbox=config.sandbox)
    name = spec.name or (data.name if spec.metric == "pass" else f"{spec.metric}:{data.name}")
    if by is not None:
        group_of(records, by)  # a column that is not there is found before a model is loaded
    return PlannedTask(name, spec.metric, list(records), loaded.source, rewards, dict(spec.params), by)


def _load_rows(data: DataConfig, kind: type[Record], rows: int) -> Loaded:
    """The rows of a task. A generator makes just the held-out rows that are wanted, and no training rows to speak of."""
    if data.holdout is None and data.name.partition(":")[0] in DATASETS:
        wanted = rows if data.rows is None else min(rows, data.rows)
        data = data.model_copy(update={"rows": 1, "holdout": wanted})
    return load(data, kind)
