"""Settings that several trainers share. A trainer's own class adds what only it reads, and nothing it does not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from rlllm.core.config import Section, StageConfig
from rlllm.core.errors import unknown
from rlllm.core.outcome import FAIL_ON
from rlllm.data.config import DataConfig
from rlllm.launch.settings import LaunchConfig
from rlllm.rewards.config import RewardSpec, SandboxPlace
from rlllm.rollouts.config import CompletionConfig


def _as_list(value: Any) -> Any:
    """`no-gain,not-measured` as a list, as it is typed."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _check_outcomes(names: list[str]) -> list[str]:
    for name in names:
        if name not in FAIL_ON:
            raise unknown("value of fail_on", name, FAIL_ON)
    return list(dict.fromkeys(names))


FailOn = Annotated[list[str], BeforeValidator(_as_list), AfterValidator(_check_outcomes)]
"""Keys of `core.outcome.FAIL_ON`, once each."""


Names = Annotated[list[str], BeforeValidator(_as_list)]
"""Names, which may be typed as one word with commas."""


class HoldoutConfig(Section):
    """Measuring the model before, during and after training, on rows it never trains on."""

    rows: int = Field(128, ge=0)
    """Held-out rows to measure on; 0 measures nothing. Without a held-out part (`data.holdout`) nothing is measured."""
    every: int = Field(0, ge=0)
    """Optimizer steps from one evaluation during training to the next (TRL's `eval_steps`); 0 makes none."""
    during_rows: int | None = Field(None, ge=1)
    """Held-out rows of an evaluation during training. Default: as many as `rows`, where there are so many."""
    keep: Literal["last", "best"] = "last"
    """Whose weights become the model: those of the last step, or of the step with the `best` evaluation by the main measure.
    Rows that choose do not report: with `best` or `stop_after`, evaluations during training take other held-out rows than the
    measurement before and after."""
    stop_after: int = Field(0, ge=0)
    """End the run after so many evaluations in a row whose main measure is no better than the best before; 0 never does."""


class SampledHoldoutConfig(HoldoutConfig):
    """Measuring the completions of the model before, during and after training, on rows it never trains on."""

    samples: int = Field(4, ge=1)
    """Completions sampled for each row."""


class LoraConfig(Section):
    """Train low-rank adapters instead of all weights (Hu et al. 2021, arXiv 2106.09685). Needs no second copy as reference."""

    r: int = Field(16, ge=1)
    """Rank."""
    alpha: int = Field(32, ge=1)
    """Scale; the update is multiplied by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter's input."""
    target_modules: Annotated[str | list[str], Field(min_length=1)] = "all-linear"
    """Module names to adapt."""
    use_rslora: bool = False
    """Scale by alpha / sqrt(r) (rank-stabilised LoRA, Kalajdzievski 2023, arXiv 2312.03732)."""
    use_dora: bool = False
    """Train a magnitude for each output beside the low-rank direction (DoRA, Liu et al. 2024, arXiv 2402.09353); slower."""
    merge: bool = False
    """Save the merged model, in the number format of the base's files, and the adapter in `adapter/`. Otherwise `model/` is the
    adapter, and `rlllm export RUN --merge` merges it."""


class TrainingConfig(StageConfig):
    """What every trainer reads."""

    method: str
    """How to train; see `rlllm methods ls --stage STAGE`. It decides which of the other settings there are."""
    data: DataConfig = DataConfig()
    """What to train on; a name, a file, or a section."""
    defaults: Literal["size", "trl"] = "size"
    """What holds where neither the method nor the recipe says anything: `size` takes learning rate, schedule, batch, steps and
    lengths by the model's parameter count (`docs/reference/size-defaults.md`), `trl` takes TRL's."""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """TRL's own settings under TRL's names; everything not given keeps its default (see `defaults`)."""
    eval: HoldoutConfig = HoldoutConfig()
    """Measurement before and after."""
    lora: LoraConfig | None = None
    """Adapters instead of full weights."""
    launch: LaunchConfig = LaunchConfig()
    """What starts the processes that train together (a launcher's name, or a mapping)."""
    grace_period: float = Field(0, ge=0, allow_inf_nan=False)
    """Seconds from a signal (SIGTERM and its like) after which the run ends with what its last checkpoint has, where the step
    at hand has not ended by then; 0 waits for the step. Some seconds less than the platform gives before its SIGKILL."""
    fail_on: FailOn = Field(default_factory=list)
    """Outcomes that fail the run (exit code 1) beside a main measure that got worse: `no-gain` (no measurable change) and
    `not-measured`."""
    monitors: Names = Field(default_factory=list)
    """Monitors of training dynamics beside those that are built in: names of plugins, or `path/to/file.py:Class`."""
    allow: Names = Field(default_factory=list)
    """Monitors whose finding is a warning, where it would otherwise end the run and fail it; `all` allows all of them."""

    @classmethod
    def unread_keys(cls, components: Mapping[str, str]) -> frozenset[str]:
        """Keys that are read only with other components than a method's own; help leaves them out.

        Args:
            components: slot -> component of the method.
        """
        return frozenset()


HOLDOUT_ALIASES: Mapping[str, str] = {"eval_steps": "eval.every"}
"""Names that users of TRL type for evaluations during training."""
SAMPLING_ALIASES: Mapping[str, str] = {
    **HOLDOUT_ALIASES,
    "max_completion_length": "rollout.max_new_tokens",
    "max_new_tokens": "rollout.max_new_tokens",
    "temperature": "rollout.temperature",
    "top_p": "rollout.top_p",
    "top_k": "rollout.top_k",
    "reward": "rewards",
}
"""The same for settings of sampling and rewards as well."""
ROLLOUT_ALIASES: Mapping[str, str] = {**SAMPLING_ALIASES, "num_generations": "rollout.group_size"}
"""The same where groups of completions are sampled."""


class PreferenceSettings(TrainingConfig):
    """Settings of `rlllm align` with a trainer that learns from recorded preferences. Its rewards only measure."""

    stage: ClassVar[str] = "align"
    aliases: ClassVar[Mapping[str, str]] = SAMPLING_ALIASES

    eval: SampledHoldoutConfig = SampledHoldoutConfig()
    """Measurement before and after."""
    eval_reward: RewardSpec | None = None
    """The reward that measures held-out completions before and after (a name, or `{name: model, path: RUN}`). Default: the
    ground-truth utility, for data of the procedural world."""
    rewards: list[RewardSpec] = Field(default_factory=list)
    """More rewards that measure held-out completions: names, reward-model runs, folders or Hub ids."""
    sandbox: SandboxPlace = "full"
    """How rewards isolate programs that the model wrote. `none` runs them as you, with your files and your network; a URL has
    them run by a server of SandboxFusion's protocol."""
    rollout: CompletionConfig = CompletionConfig(max_new_tokens=256)
    """How completions are sampled when the model is measured."""


class RewardModelSettings(TrainingConfig):
    """Settings of `rlllm train-rm` with a trainer that learns from recorded rows."""

    stage: ClassVar[str] = "train-rm"
    aliases: ClassVar[Mapping[str, str]] = {**HOLDOUT_ALIASES, "kind": "method"}
    trl_configs: ClassVar[tuple[str, ...]] = ("RewardConfig",)

    eval: HoldoutConfig = HoldoutConfig(rows=512)
    """Measurement before and after, on held-out rows."""
