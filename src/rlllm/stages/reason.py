"""`rlllm reason`: reinforcement learning from verifiable rewards, in the six-slot loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rlllm.core.runs import Run
from rlllm.stages import online
from rlllm.stages.families import configs_of
from rlllm.stages.loop_settings import LoopSettings, plan_loop
from rlllm.stages.plan import Plan, plan_training
from rlllm.stages.training import Job

if TYPE_CHECKING:
    from rlllm.evals.measures import Measured


class ReasonStage(LoopSettings):
    """Settings of `rlllm reason`. Of its rewards the first decides what passes; by default they are the data source's own."""

    stage: ClassVar[str] = "reason"
    trl_configs: ClassVar[tuple[str, ...]] = configs_of("loop")
    aliases: ClassVar[Mapping[str, str]] = {**LoopSettings.loop_aliases, "loss": "trainer.loss_type"}

    method: str = "grpo"
    """Preset of the slots; see `rlllm methods ls --stage reason`."""

    def plan(self) -> Plan:
        plan = plan_training(self, self.method)
        return plan_loop(plan, self.rewards)


def run(config: ReasonStage, **options: Any) -> Run:
    """Reinforce with verifiable rewards; measures pass@1 on held-out prompts before and after.

    Options are those of `stages.training.to_verdict`: listener, resume, overwrite, recipe, command.
    """
    return online.run(config.plan(), measure=_measure, **options)


def _measure(job: Job, model: Any) -> list[Measured]:
    from rlllm.evals.measures import measure_pass

    assert job.plan.rewards is not None
    held_out = job.plan.measured_on
    if not held_out:
        return []
    return [
        measure_pass(
            model,
            job.tokenizer,
            held_out,
            job.plan.rewards,
            online.sampling(job),
            samples=job.config.eval.samples,
            seed=job.config.seed,
        )
    ]
