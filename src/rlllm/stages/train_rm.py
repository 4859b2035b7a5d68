"""`rlllm train-rm`: a reward model of any kind. Settings and plan here; each kind trains in its own module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from rlllm.core.errors import ConfigError
from rlllm.core.runs import Run
from rlllm.training.families import configs_of
from rlllm.training.plan import Plan, plan_training
from rlllm.training.rl_settings import LoopSettings
from rlllm.training.settings import HoldoutConfig
from rlllm.training.trainers import generative_rm


class TrainRMStage(LoopSettings):
    """Settings of `rlllm train-rm`."""

    stage: ClassVar[str] = "train-rm"
    trl_configs: ClassVar[tuple[str, ...]] = configs_of("bt", "ensemble", "process", "generative")
    aliases: ClassVar[Mapping[str, str]] = {**LoopSettings.loop_aliases, "kind": "method"}

    method: str = "bt"
    """Kind of reward model; see `rlllm methods ls --stage train-rm`."""
    members: int = Field(3, ge=2)
    """Reward models in an ensemble; of the kind `ensemble` only."""
    eval: HoldoutConfig = HoldoutConfig(rows=512)
    """Measurement before and after, on held-out rows."""
    rubric: str = ""
    """What a generative judge judges by: text, or a .txt or .md file."""

    def plan(self) -> Plan:
        plan = plan_training(self, self.method)
        if plan.family.name != "generative":
            self._refuse_loop_settings()
        plan.family.check(plan)
        return generative_rm.prepare(plan) if plan.family.name == "generative" else plan

    def _refuse_loop_settings(self) -> None:
        for name in sorted({"rewards", "rollout"} & self.model_fields_set):
            raise ConfigError(
                f"method {self.method} does not read {name}: it learns from recorded data",
                given=name,
                hint="leave it out; it is for generative reward models",
            )


def run(config: TrainRMStage, **options: Any) -> Run:
    """Train a reward model; measures it on held-out rows before and after.

    Options are those of `training.flow.run_to_verdict`: listener, resume, overwrite, recipe, command.
    """
    plan = config.plan()
    return plan.family.run(plan, **options)
