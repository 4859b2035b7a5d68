"""The plan of an evaluation: every task with its metric, rows and rewards, checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.errors import ConfigError, UnknownNameError, unknown
from rlllm.core.records import Record, fingerprint, has_images, images_of, record_hash, task_of
from rlllm.data.config import DataConfig
from rlllm.data.load import Loaded, load
from rlllm.data.registry import DATASETS
from rlllm.evals.by_column import group_of
from rlllm.evals.metrics.base import ExternalTask, Metric
from rlllm.evals.metrics.plugin_dry_run import rehearse
from rlllm.evals.registry import DEFAULT_METRIC, METRICS
from rlllm.evals.request import EvalRequest
from rlllm.policies.model_sources import ModelSource, refuse_scorers, resolve_model, source_of, trusted_code
from rlllm.rewards.composition import Composition
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import OUTSIDE_SETTINGS
from rlllm.rollouts.engines.loading import check_engine
from rlllm.stages.evaluate.baseline import EarlierEvaluation, earlier_evaluation, matching_tasks, model_of
from rlllm.stages.evaluate.settings import EvalSettings, TaskSpec
from rlllm.training.dialogues import PlannedDialogue, planned_dialogue
from rlllm.training.environment import PlannedEnvironment, check_reward, default_rewards, planned_environment
from rlllm.training.images import check_images
from rlllm.training.plan import refuse_several_processes
from rlllm.training.reward_specs import resolve_rewards


@dataclass(frozen=True)
class PlannedTask:
    """A task with its rows at hand."""

    name: str
    metric: Metric
    records: list[Record]
    source: str
    """Where the rows come from, in words."""
    rewards: Composition | None = None
    params: dict[str, Any] = field(default_factory=dict)
    """Arguments of the metric, defaults included."""
    by: str | None = None
    """Column whose values are groups."""
    environment: PlannedEnvironment | None = None
    """What the model may act on before it answers; None for one turn."""
    external: ExternalTask | None = None
    """What the metric says of its own problems, where it brings them."""

    def hash(self, config: EvalSettings) -> str:
        """Identity of what is measured: problems, rewards and sampling. Evaluations compare only where it is equal."""
        if self.external is not None:
            return self.external.hash
        params = self.metric.changed_params(self.params)
        played = {"environment": self.environment.identity} if self.environment else {}
        return fingerprint(
            [
                self.metric.name,
                [record_hash(record) for record in self.records],
                self.rewards.fingerprint() if self.rewards else None,
                config.sampling.model_dump(exclude={"batch_size", *OUTSIDE_SETTINGS}),
                *([params] if params else []),
                *([played] if played else []),
            ]
        )

    @property
    def rows(self) -> int:
        """Problems; at most so many where the metric brings its own, which are not counted before they are loaded."""
        return self.external.rows if self.external else len(self.records)

    def describe(self) -> str:
        rewards = f", scored by {', '.join(self.rewards.names)}" if self.rewards else ""
        most = "at most " if self.external else ""
        played = f", in {self.environment.describe()}" if self.environment else ""
        return f"{self.name}: {self.metric.name} on {most}{self.rows} rows of {self.source}{rewards}{played}"


@dataclass(frozen=True)
class EvalPlan:
    """What an evaluation will do."""

    config: EvalSettings
    source: ModelSource
    baseline: ModelSource | None
    tasks: list[PlannedTask]
    earlier: EarlierEvaluation | None = None
    """The earlier evaluation to compare with."""
    dialogue: PlannedDialogue | None = None
    """How the model answers, where roles work on each problem."""

    def lines(self) -> list[tuple[str, str]]:
        """Label and value rows for a person."""
        rows = [("stage", "eval"), ("model", f"{self.source.name} ({self.source.kind}) {self.source.reference}")]
        rows += [("note", text) for text in trusted_code(self.source)]
        if self.baseline:
            rows.append(("baseline", f"{self.baseline.name} ({self.baseline.kind})"))
        if self.earlier:
            rows.append(("baseline", f"{self.earlier.run.path} (evaluation), for {', '.join(self.earlier.names)}"))
        if self.dialogue:
            rows.append(("dialogue", self.dialogue.describe()))
        return [*rows, *(("task", task.describe()) for task in self.tasks), *self._sampling_lines()]

    @property
    def completions(self) -> int:
        """Completions that the tasks take, cached ones included."""
        prompts = sum(len(task.records) * (1 + task.metric.needs_baseline) for task in self._sampled)
        return (
            prompts + sum(rows * len(self.config.image_ablation) for rows in self._ablated.values())
        ) * self.config.samples

    def detectable(self) -> dict[str, float]:
        """Smallest true difference in pass@1 between two models that each task likely shows; see `evals.statistics.power`."""
        from rlllm.evals.statistics.power import minimum_detectable_effect

        different = self.config.samples if self.config.sampling.temperature else 1
        return {
            task.name: minimum_detectable_effect(len(task.records), different, paired=True)
            for task in self._sampled
            if task.records
        }

    @property
    def _ablated(self) -> dict[str, int]:
        """Name of each task that is also asked with other images or none -> its problems with images."""
        tasks = [task for task in self._sampled if "image_ablation" in task.metric.reads]
        counts = {task.name: sum(bool(images_of(record.prompt)) for record in task.records) for task in tasks}
        return {name: count for name, count in counts.items() if count and self.config.image_ablation}

    @property
    def _sampled(self) -> list[PlannedTask]:
        """Tasks that the model answers with completions."""
        return [task for task in self.tasks if task.metric.samples]

    def _sampling_lines(self) -> Iterator[tuple[str, str]]:
        config, sampling = self.config, self.config.sampling
        if not self.completions:
            return
        yield "samples", f"{config.samples} a problem at temperature {sampling.temperature:g}"
        if config.samples > 1 and not sampling.temperature:
            yield "greedy", f"the {config.samples} completions of a problem are all the same: samples=1 says as much"
        upto = "up to " if config.stop_width is not None else ""
        yield "completions", f"{upto}{self.completions:,} of at most {sampling.max_new_tokens:,} tokens"
        for name, rows in self._ablated.items():
            yield "control", f"{name}: {rows:,} problems again with images {' and '.join(config.image_ablation)}"
        for name, effect in self.detectable().items():
            yield "detects", f"{name}: a difference of {effect:.3f} from a model measured on the same problems"
        if config.stop_width is not None:
            yield "stops", f"when the interval of pass@1 is at most {config.stop_width:g} wide"

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": "eval",
            "model": {"name": self.source.name, "kind": self.source.kind, "path": self.source.reference},
            "tasks": [
                {"name": task.name, "metric": task.metric.name, "rows": task.rows, "hash": task.hash(self.config)}
                for task in self.tasks
            ],
            "completions": self.completions,
            "detects": self.detectable(),
        }


def plan_evaluation(config: EvalSettings) -> EvalPlan:
    """What an evaluation with these settings will do. Raises RlllmError for anything that cannot work."""
    refuse_several_processes("evaluations")
    metrics = [_load_metric(spec.metric) for spec in config.tasks]
    only_scorers = all(metric.needs_model == "scorer" for metric in metrics)
    source = source_of(config.model, ensembles=only_scorers)
    earlier = earlier_evaluation(config.baseline) if config.baseline else None
    baseline = resolve_model(config.baseline) if config.baseline and not earlier else None
    tasks = [_plan_task(config, spec, metric) for spec, metric in zip(config.tasks, metrics, strict=True)]
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise ConfigError("two tasks have the same name", given=", ".join(names), hint="give each a name")
    for metric in metrics:
        if metric.needs_model == "policy":
            refuse_scorers(source)
        if metric.check_model is not None:
            metric.check_model(source.reference)
    if earlier and any(metric.needs_baseline for metric in metrics):
        baseline = resolve_model(model_of(earlier))
    _check_settings(config, metrics, baseline)
    _check_images(config, source, baseline, tasks)
    if any(task.metric.samples for task in tasks):
        check_engine(config.sampling.engine, settings=config.sampling)
    for task in tasks:
        rehearse(task.metric, _small_request(config, task, source))
    compared = matching_tasks(earlier, {task.name: task.hash(config) for task in tasks}) if earlier else None
    dialogue = planned_dialogue(config.dialogue, source.folder) if config.dialogue else None
    if config.dialogue and baseline:
        planned_dialogue(config.dialogue, baseline.folder)
    return EvalPlan(config, source, baseline, tasks, compared, dialogue)


def _check_images(
    config: EvalSettings, source: ModelSource, baseline: ModelSource | None, tasks: Sequence[PlannedTask]
) -> None:
    """Refuse problems with images for a model that reads text, and what answers them in several turns."""
    for task in tasks:
        if not has_images(task.records):
            continue
        if task.metric.needs_model == "policy":
            for model in (source, baseline) if task.metric.needs_baseline else (source,):
                if model is not None:
                    check_images(model, task.metric.name, True, task.records)
        if task.environment or config.dialogue:
            raise ConfigError(
                f"the problems of {task.name} have images, which environments and dialogues do not show",
                hint="leave environment and dialogue out",
            )
        if task.metric.samples:
            check_engine(config.sampling.engine, images=True, settings=config.sampling)


def _load_metric(name: str) -> Metric:
    """A metric by name. Raises ConfigError where the name is unknown, or stands for something else."""
    if ":" not in name and name not in METRICS:
        raise unknown("metric", name, METRICS.names(), list_command=METRICS.list_command)
    metric = METRICS.load(name)
    if not isinstance(metric, Metric):
        raise ConfigError(
            f"{name} is not a metric",
            given=type(metric).__name__,
            hint="a metric is an rlllm.plugins.Metric: METRIC = Metric(name=..., summary=..., measure=your_function)",
        )
    if name not in METRICS.builtins and metric.name in METRICS.builtins:
        raise ConfigError(
            f"the metric {name} has the name of one that ships with rlllm",
            given=f"name={metric.name!r}",
            hint="give it a name of its own: results are compared by it",
        )
    return metric


def _plan_task(config: EvalSettings, spec: TaskSpec, metric: Metric) -> PlannedTask:
    by = spec.by or config.by
    if spec.rewards and not metric.needs_reward:
        raise ConfigError(
            f"the metric {metric.name} takes no reward", given=", ".join(reward.name for reward in spec.rewards)
        )
    if metric.external is not None or metric.record is None:
        return _plan_external(config, spec, metric, by)
    params = metric.checked_params(spec.params)
    data = _data_of(spec, config.data)
    loaded = _load_rows(data, metric.record, config.rows)
    records = (loaded.holdout or loaded.train)[: config.rows]
    environment = planned_environment(spec.environment or config.environment) if metric.samples else None
    specs = list(spec.rewards or config.rewards) or [RewardSpec(name=name) for name in metric.default_rewards]
    specs = specs or default_rewards(environment, loaded)
    rewards = resolve_rewards(specs, loaded, sandbox=config.sandbox) if metric.needs_reward else None
    name = _label(spec, metric.name, data)
    if by is not None:
        group_of(records, by)  # a column that is not there is found before a model is loaded
    check_reward(environment, rewards.names if rewards else ())
    if environment is not None:
        environment.check([task_of(record) for record in records])
    return PlannedTask(name, metric, list(records), loaded.source, rewards, params, by, environment)


def label_of(spec: TaskSpec, config: EvalSettings) -> str:
    """The name of a task in the results, as far as the settings say it: a harness task or a plugin may choose another."""
    return _label(spec, spec.metric, _data_of(spec, config.data))


def _label(spec: TaskSpec, metric: str, data: DataConfig) -> str:
    return spec.name or (data.name if metric == DEFAULT_METRIC else f"{metric}:{data.name}")


def _data_of(spec: TaskSpec, shared: DataConfig) -> DataConfig:
    """A task's data: those of the stage, or its own with what the stage's `data` sets and its own do not."""
    if spec.data is None:
        return shared
    given = shared.model_dump(exclude_unset=True, exclude=set(_WHICH_DATA))
    return DataConfig.checked({**given, **spec.data.model_dump(exclude_unset=True)})


_WHICH_DATA = ("name", "mix")
"""Fields of `DataConfig` that say which data, and not how they are read or made."""


def _plan_external(config: EvalSettings, spec: TaskSpec, metric: Metric, by: str | None) -> PlannedTask:
    """A task whose problems the metric brings itself; the settings of `harness` and `rows` are arguments of it."""
    assert metric.external is not None
    if by is not None:
        raise ConfigError(f"tasks of {metric.name} have no columns to group by", given=f"by={by}")
    system = {"system_prompt": config.data.system_prompt} if config.data.system_prompt else {}
    params = {"limit": config.rows, **config.harness.model_dump(), **system, **spec.params}
    task = metric.external(params)
    return PlannedTask(spec.name or task.name, metric, [], task.source, params=params, external=task)


def _load_rows(data: DataConfig, kind: type[Record], rows: int) -> Loaded:
    """The rows of a task. A generator makes just the held-out rows that are wanted, and no training rows to speak of."""
    if data.holdout is None and data.name.partition(":")[0] in DATASETS:
        wanted = rows if data.rows is None else min(rows, data.rows)
        data = data.model_copy(update={"rows": 1, "holdout": wanted})
    try:
        return load(data, kind)
    except UnknownNameError as error:
        if error.hint and not error.exists:  # a near name was found
            raise
        hint = f"a task of lm-evaluation-harness is written lm-eval:{data.name}"
        raise UnknownNameError(error.what, exists=error.exists, hint=hint) from error


def _check_settings(config: EvalSettings, metrics: list[Metric], baseline: ModelSource | None) -> None:
    """Refuse settings that a metric cannot work with, and those that none of them reads."""
    for metric in metrics:
        if config.samples < metric.min_samples:
            raise ConfigError(
                f"{metric.name} needs at least {metric.min_samples} samples to choose from",
                given=f"samples={config.samples}",
                hint="samples=8",
            )
        if metric.needs_baseline and baseline is None:
            raise ConfigError(
                f"the metric {metric.name} compares two models", hint="say against which with --baseline MODEL"
            )
    _check_shared(config, metrics)
    names = ", ".join(dict.fromkeys(metric.name for metric in metrics))
    _check_environments(config, metrics)
    _check_dialogue(config, metrics)
    for key, given in (("ks", bool(config.ks)), ("entropy", config.entropy)):
        if given and not any(key in metric.reads for metric in metrics):
            raise ConfigError(f"{key} is read by no task", given=names, exists=_readers(key), hint=f"leave {key} out")
    if config.rewards and not any(metric.needs_reward for metric in metrics):
        raise ConfigError(
            "no task takes a reward", given=", ".join(reward.name for reward in config.rewards), hint="leave it out"
        )
    unwatched = dict.fromkeys(metric.name for metric in metrics if "stop_width" not in metric.reads)
    if config.stop_width is not None and unwatched:
        raise ConfigError(
            "stop_width watches pass@1, which not all tasks have",
            given=", ".join(unwatched),
            exists=_readers("stop_width"),
            hint="evaluate these tasks without it",
        )


def _check_environments(config: EvalSettings, metrics: list[Metric]) -> None:
    """Refuse an environment that no task plays in, and entropy beside one: what tools said is not the model's."""
    played = [spec for spec, metric in zip(config.tasks, metrics, strict=True) if metric.samples]
    named = [spec.environment or config.environment for spec in played]
    for spec, metric in zip(config.tasks, metrics, strict=True):
        if spec.environment and not metric.samples:
            raise ConfigError(f"{metric.name} draws no completions", given=f"environment={spec.environment.name}")
    if config.environment and all(spec.environment for spec in played):
        raise ConfigError(
            "environment is read by no task: each of them has its own, or draws no completions",
            given=f"environment={config.environment.name}",
            hint="leave environment out",
        )
    if config.entropy and any(named):
        raise ConfigError("entropy is that of one turn, and an environment has several", hint="leave one of them out")


def _check_dialogue(config: EvalSettings, metrics: list[Metric]) -> None:
    """Refuse a dialogue that no task draws completions by, and what has other turns or another entropy beside it."""
    if config.dialogue is None:
        return
    given = f"dialogue={config.dialogue.name}"
    if not any(metric.samples for metric in metrics):
        raise ConfigError("no task draws completions", given=given, hint="leave dialogue out")
    if config.environment or any(spec.environment for spec in config.tasks):
        raise ConfigError("an environment has turns of its own", given=given, hint="leave one of them out")
    if config.entropy:
        raise ConfigError("entropy is that of one turn, and a dialogue has several", given=given, hint="leave one out")


def _check_shared(config: EvalSettings, metrics: list[Metric]) -> None:
    """Refuse what the stage gives to tasks that name none of their own, where each of them does."""
    data = config.data.mix or config.data.name
    others = [spec.data for spec in config.tasks if spec.data]
    named = bool(config.data.model_fields_set & set(_WHICH_DATA)) and len(others) == len(config.tasks)
    if named and all((other.mix or other.name) != data for other in others):
        raise ConfigError(
            "data is read by no task: each of them names its own",
            given=f"data={config.data.name}, tasks={','.join(other.name for other in others)}",
            hint="name it as a task, or leave it out",
        )
    judged = [spec for spec, metric in zip(config.tasks, metrics, strict=True) if metric.needs_reward]
    for key, given, unread in (
        ("rewards", bool(config.rewards), bool(judged) and all(spec.rewards for spec in judged)),
        ("by", config.by is not None, all(spec.by for spec in config.tasks)),
    ):
        if given and unread:
            raise ConfigError(f"{key} is read by no task: each of them has its own", hint=f"leave {key} out")


def _readers(key: str) -> list[str]:
    """Metrics of rlllm that read a setting."""
    return [name for name in METRICS.builtins if key in METRICS.load(name).reads]


def _small_request(config: EvalSettings, task: PlannedTask, source: ModelSource) -> EvalRequest:
    return EvalRequest(
        path=source.reference,
        policy=lambda: (None, None),
        records=task.records,
        rewards=task.rewards,
        sampling=config.sampling,
        samples=config.samples,
        ks=config.ks,
        seed=config.seed,
        params=task.params,
    )
