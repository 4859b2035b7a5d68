"""`rlllm eval`: measure a model on tasks, with intervals; a run directory of its own, so that evaluations can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from pydantic import Field, model_validator

from rlllm.core.builtins import DATASETS, EVALS
from rlllm.core.config import Section, StageConfig
from rlllm.core.errors import ConfigError, unknown
from rlllm.core.events import Listener
from rlllm.core.hardware import Hardware
from rlllm.core.records import PreferencePair, PromptTask, Record, StepwiseSolution, fingerprint, record_hash
from rlllm.core.runs import Run, append_jsonl, write_json
from rlllm.core.verdict import Facts
from rlllm.data.config import DataConfig
from rlllm.data.load import Loaded, load
from rlllm.policies.sources import ModelSource, resolve_model
from rlllm.rewards.compose import Composition
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.local_judge import LocalJudge
from rlllm.rewards.model import RewardModel
from rlllm.rewards.process import ProcessModel
from rlllm.rewards.sandbox.jobs import Isolation
from rlllm.rollouts.config import SamplingConfig
from rlllm.stages.plan import resolve_rewards
from rlllm.stages.training import to_verdict

RECORDS: dict[str, type[Record]] = {
    **dict.fromkeys(("rm", "gold", "judge"), PreferencePair),
    "steps": StepwiseSolution,
}
"""Record type a metric works on, where it is not PromptTask."""
MODEL_METRICS: dict[str, Callable[[str], Any]] = {"rm": RewardModel, "steps": ProcessModel, "judge": LocalJudge}
"""Metrics of models that judge, with what refuses a folder that holds no such model; they take no reward."""


class TaskSpec(Section):
    """One task: a metric on data. `arithmetic` is short for `{metric: pass, data: arithmetic}`."""

    metric: str = "pass"
    """`pass`, `rm`, `gold`, `steps`, `best-of`, or a plugin's."""
    data: DataConfig | None = None
    """What to evaluate on; default: the stage's `data`."""
    rewards: list[RewardSpec] = Field(default_factory=list)
    """What a completion is worth; default: the stage's `rewards`, else the data source's own."""
    name: str | None = None
    """Label in results."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
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

    tasks: list[TaskSpec] = Field(default_factory=lambda: [TaskSpec()])
    """What to measure: names of metrics or data sets, or sections."""
    data: DataConfig = DataConfig()
    """Data of the tasks that name none."""
    rewards: list[RewardSpec] = Field(default_factory=list)
    """Rewards of the tasks that name none."""
    sandbox: Isolation = "full"
    """How rewards isolate programs that the model wrote. `none` runs them as you, with your files and your network."""
    baseline: str | None = None
    """Model to win against, for the gold task."""
    rows: int = Field(256, ge=1)
    """Problems for each task; from the held-out part where the data has one."""
    samples: int = Field(4, ge=1)
    """Completions sampled for each problem."""
    ks: list[int] = Field(default_factory=list)
    """Which pass@k to report; default pass@1 and pass@samples."""
    sampling: SamplingConfig = SamplingConfig()
    """How completions are sampled."""

    @model_validator(mode="after")
    def _enough_samples(self) -> EvalStage:
        if self.ks and max(self.ks) > self.samples:
            raise ConfigError(
                f"pass@{max(self.ks)} needs at least {max(self.ks)} samples",
                given=f"samples={self.samples}",
                hint=f"samples={max(self.ks)}",
            )
        return self

    def plan(self) -> EvalPlan:
        source = resolve_model(self.model, ensembles=all(task.metric == "rm" for task in self.tasks))
        baseline = resolve_model(self.baseline) if self.baseline else None
        tasks = [_plan_task(self, spec) for spec in self.tasks]
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            raise ConfigError("two tasks have the same name", given=", ".join(names), hint="give each a name")
        for metric in MODEL_METRICS.keys() & {task.metric for task in tasks}:
            MODEL_METRICS[metric](source.path)
        if self.samples < 2 and any(task.metric == "best-of" for task in tasks):
            raise ConfigError(
                "best-of needs at least 2 samples to choose from", given=f"samples={self.samples}", hint="samples=8"
            )
        if baseline is None and any(task.metric == "gold" for task in tasks):
            raise ConfigError("the gold task compares two models", hint="say against which with --baseline MODEL")
        return EvalPlan(self, source, baseline, tasks)


@dataclass(frozen=True)
class PlannedTask:
    """A task with its rows at hand."""

    name: str
    metric: str
    records: list[Record]
    source: str
    rewards: Composition | None

    def hash(self, config: EvalStage) -> str:
        """Identity of what is measured: problems, rewards and sampling. Evaluations compare only where it is equal."""
        return fingerprint(
            [
                self.metric,
                [record_hash(record) for record in self.records],
                self.rewards.fingerprint() if self.rewards else None,
                config.sampling.model_dump(exclude={"batch_size", "engine"}),
            ]
        )


@dataclass(frozen=True)
class EvalPlan:
    """What an evaluation will do."""

    config: EvalStage
    source: ModelSource
    baseline: ModelSource | None
    tasks: list[PlannedTask]

    def lines(self) -> list[tuple[str, str]]:
        rows = [("stage", "eval"), ("model", f"{self.source.name} ({self.source.kind}) {self.source.path}")]
        if self.baseline:
            rows.append(("baseline", f"{self.baseline.name} ({self.baseline.kind})"))
        for task in self.tasks:
            rewards = f", scored by {', '.join(task.rewards.names)}" if task.rewards else ""
            rows.append(("task", f"{task.name}: {task.metric} on {len(task.records)} rows of {task.source}{rewards}"))
        sampling = self.config.sampling
        rows.append(("samples", f"{self.config.samples} a problem at temperature {sampling.temperature:g}"))
        return rows

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": "eval",
            "model": {"name": self.source.name, "kind": self.source.kind, "path": self.source.path},
            "tasks": [
                {"name": task.name, "metric": task.metric, "rows": len(task.records), "hash": task.hash(self.config)}
                for task in self.tasks
            ],
        }


def run(config: EvalStage, **options: Any) -> Run:
    """Evaluate a model on every task; results in `results.json`, one row for each problem in `items.jsonl`.

    Options are those of `stages.training.to_verdict`.

    Raises:
        RlllmError: the settings, the data or the model are wrong.
    """
    plan = config.plan()
    facts = Facts(steps_requested=len(plan.tasks), rows=sum(len(task.records) for task in plan.tasks))

    def work(run: Run, listener: Listener, resume: bool) -> None:
        listener.started("eval", len(plan.tasks), run.path)
        (run.path / "items.jsonl").unlink(missing_ok=True)
        write_json(run.path / "results.json", _evaluate(plan, run, listener))
        facts.steps_done = len(plan.tasks)

    return to_verdict(config, facts, work, **options)


def _evaluate(plan: EvalPlan, run: Run, listener: Listener) -> dict[str, Any]:
    listener.phase("loading")
    from rlllm.evals.request import EvalRequest
    from rlllm.launch import local

    hardware = local.prepare()
    write_json(run.path / "env.json", local.environment(hardware))
    config, models, tasks = plan.config, _Models(hardware), {}
    for number, task in enumerate(plan.tasks, 1):
        listener.phase(task.name)
        request = EvalRequest(
            path=plan.source.path,
            policy=models.loader(plan.source),
            records=task.records,
            rewards=task.rewards,
            sampling=config.sampling,
            samples=config.samples,
            ks=config.ks,
            seed=config.seed,
            baseline=models.loader(plan.baseline) if plan.baseline else None,
        )
        result = EVALS.load(task.metric)(request)
        append_jsonl(run.path / "items.jsonl", [{"task": task.name, **item} for item in result.items])
        tasks[task.name] = {
            "hash": task.hash(config),
            "metric": task.metric,
            "items": len(result.items),
            "samples": config.samples,
            "values": {name: interval.to_json() for name, interval in result.values.items()},
            **result.extra,
        }
        listener.step(number, {name: interval.estimate for name, interval in result.values.items()})
    return {"tasks": tasks, "model": plan.source.name, "baseline": plan.baseline.name if plan.baseline else None}


class _Models:
    """Policies of an evaluation, each loaded once, when first asked for."""

    def __init__(self, hardware: Hardware) -> None:
        self.hardware = hardware
        self.loaded: dict[str, tuple[Any, Any]] = {}

    def loader(self, source: ModelSource) -> Callable[[], tuple[Any, Any]]:
        return partial(self._get, source)

    def _get(self, source: ModelSource) -> tuple[Any, Any]:
        from rlllm.policies.loading import load_policy, load_tokenizer

        if source.path not in self.loaded:
            model = load_policy(source, bf16=self.hardware.bf16)
            self.loaded[source.path] = (model.to(self.hardware.device), load_tokenizer(source))
        return self.loaded[source.path]


def _plan_task(config: EvalStage, spec: TaskSpec) -> PlannedTask:
    if ":" not in spec.metric and spec.metric not in EVALS:
        raise unknown("metric", spec.metric, EVALS.names())
    data = spec.data or config.data
    kind = RECORDS.get(spec.metric, PromptTask)
    loaded = _load_rows(data, kind, config.rows)
    records = (loaded.holdout or loaded.train)[: config.rows]
    specs = list(spec.rewards or config.rewards)
    if spec.metric == "gold" and not specs:
        specs = [RewardSpec(name="gold")]
    rewards = None if spec.metric in MODEL_METRICS else resolve_rewards(specs, loaded, sandbox=config.sandbox)
    name = spec.name or (data.name if spec.metric == "pass" else f"{spec.metric}:{data.name}")
    return PlannedTask(name, spec.metric, list(records), loaded.source, rewards)


def _load_rows(data: DataConfig, kind: type[Record], rows: int) -> Loaded:
    """The rows of a task. A generator makes just the held-out rows that are wanted, and no training rows to speak of."""
    if data.holdout is None and data.name.partition(":")[0] in DATASETS:
        wanted = rows if data.rows is None else min(rows, data.rows)
        data = data.model_copy(update={"rows": 1, "holdout": wanted})
    return load(data, kind)
