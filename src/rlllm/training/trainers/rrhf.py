"""RRHF: ranks the two sides of a pair by their log-probability per token, and imitates the better one."""

from __future__ import annotations

from typing import Any, ClassVar

from rlllm.algorithms.tokenized_preview import tokens_by_side
from rlllm.core.errors import ConfigError
from rlllm.core.records import PreferencePair
from rlllm.training.before_after import measure_alignment
from rlllm.training.flow import Job
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import Plan
from rlllm.training.settings import PreferenceSettings
from rlllm.training.trainers import preference
from rlllm.training.trainers.base import Trainer

_NOT_READ = ("loss_type", "beta", "label_smoothing", "simpo_gamma", "alpha")
"""Settings of TRL's CPOConfig that the ranking loss does not read."""


class RRHFSettings(PreferenceSettings):
    """Settings of `rlllm align` with the trainer rrhf."""

    trl_configs: ClassVar[tuple[str, ...]] = ("CPOConfig",)


def _check(plan: Plan[RRHFSettings]) -> None:
    ignored = [name for name in _NOT_READ if name in plan.config.trainer]
    if ignored:
        raise ConfigError(
            f"{ignored[0]} means nothing for method {plan.method.name}: it ranks by log-probability per token",
            given=f"{ignored[0]}={plan.config.trainer[ignored[0]]}",
            hint=f"leave out {' and '.join(ignored)}; cpo_alpha weighs imitation against ranking",
        )


def _build(job: Job[Plan[RRHFSettings]], callbacks: list[Any]) -> Any:
    from rlllm.algorithms.offline import RankingHinge

    return preference.build(job, callbacks, "CPOTrainer", preference.pair_rows(job), mixins=(RankingHinge,))


TRAINER = Trainer(
    name="rrhf",
    record=PreferencePair,
    settings={"align": RRHFSettings},
    plan=preference.plan,
    run=preference.run_with("CPOTrainer"),
    check=_check,
    build=_build,
    measure=measure_alignment,
    expect=note_pairs,
    batch_tokens=tokens_by_side,
)
