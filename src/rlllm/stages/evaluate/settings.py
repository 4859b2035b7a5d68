"""Settings of `rlllm eval`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from rlllm.algorithms.components import SlotSpec
from rlllm.core.config import Section, StageConfig
from rlllm.core.errors import ConfigError
from rlllm.core.registry import Registry
from rlllm.data.config import DataConfig
from rlllm.data.registry import DATASETS
from rlllm.evals.harness.tasks import HARNESS, PREFIX, HarnessConfig
from rlllm.evals.image_ablation import Ablation
from rlllm.evals.metrics.base import Metric
from rlllm.evals.registry import DEFAULT_METRIC, METRICS
from rlllm.rewards.config import RewardSpec, SandboxPlace
from rlllm.rollouts.config import SamplingConfig
from rlllm.training.environment import EnvironmentSpec

_NAMED_IN_CODE = Registry("task", METRICS.group, {})
"""Loads what a word such as `mine.py:NAME` refers to, which may be a metric or a data set."""


def _swapped() -> list[Ablation]:
    return ["swapped"]


class TaskSpec(Section):
    """One task: a metric on data. `arithmetic` is short for `{metric: pass, data: arithmetic}`."""

    metric: str = DEFAULT_METRIC
    """A name that `rlllm metrics ls` shows, `path/to/file.py:METRIC`, or `package.module:METRIC`."""
    data: DataConfig | None = None
    """What to evaluate on; default: the stage's `data`."""
    rewards: list[RewardSpec] = Field(default_factory=list)
    """What a completion is worth; default: the stage's `rewards`, else the data source's own."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the metric; for `lm-eval`, `task`."""
    environment: EnvironmentSpec | None = None
    """What the model may act on before it answers, in several turns; default: the stage's `environment`."""
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
        return {"metric": value} if value in METRICS or _is_metric(value) else {"data": value}


class EvalSettings(StageConfig):
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
    """Data of the tasks that name none; what else is set here (`data.level=3`) holds for every task that does not set it."""
    rewards: list[RewardSpec] = Field(default_factory=list)
    """Rewards of the tasks that name none."""
    environment: EnvironmentSpec | None = None
    """Environment of the tasks that name none: rollouts have several turns, as in `rlllm reason`."""
    dialogue: SlotSpec | None = None
    """Roles that work on each problem in turns, by what is stored with the model (`dialogue.json`); the last solution is the
    answer."""
    sandbox: SandboxPlace = "full"
    """How rewards isolate programs that the model wrote. `none` runs them as you, with your files and your network; a URL has
    them run by a server of SandboxFusion's protocol."""
    baseline: str | None = None
    """Model to win against, for metrics that compare two; or an earlier evaluation of the same tasks, to compare with."""
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
    """Of the metric `pass`: also the model's entropy along its completions, in nats per token, by one more pass over them."""
    image_ablation: list[Ablation] = Field(default_factory=_swapped)
    """Of the metric `pass`, where problems have images: also answer them with the images of another problem (`swapped`) or
    without (`removed`). Who answers as well did not look. Each asks every problem once more; [] leaves the control out."""
    cache: bool = True
    """Take completions that were sampled before from the user's cache, and keep new ones there."""
    stop_width: float | None = Field(None, gt=0, lt=1)
    """Stop once the interval of pass@1 is no wider than this; `rows` is then the most that is used."""
    harness: HarnessConfig = HarnessConfig()
    """How tasks of lm-evaluation-harness are asked."""

    @field_validator("image_ablation", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """`swapped,removed` as a list, as it is typed."""
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _enough_samples(self) -> EvalSettings:
        if self.ks and min(self.ks) < 1:
            raise ConfigError("pass@k is for k from 1 on", given=f"ks={self.ks}")
        if self.ks and max(self.ks) > self.samples:
            raise ConfigError(
                f"pass@{max(self.ks)} needs at least {max(self.ks)} samples",
                given=f"samples={self.samples}",
                hint=f"samples={max(self.ks)}",
            )
        return self


def _is_metric(word: str) -> bool:
    """Whether a word names a metric in a file or module; other words name data.

    Raises:
        ConfigError: the file or module does not import, or lacks the attribute.
    """
    place, _, attribute = word.partition(":")
    if not attribute.isidentifier() or place in DATASETS or "." not in place:
        return False
    return isinstance(_NAMED_IN_CODE.load(word), Metric)
