"""`rlllm align`: learn from preferences. Direct methods (DPO and its losses) here; PPO joins through the loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rlllm.core.records import PreferencePair, PromptTask
from rlllm.core.runs import Run
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import SamplingConfig
from rlllm.stages.pairs import note_pairs
from rlllm.stages.plan import Plan, plan_training, resolve_rewards
from rlllm.stages.settings import TrainingConfig
from rlllm.stages.training import Job, Parts, load_causal_model, train


class AlignStage(TrainingConfig):
    """Settings of `rlllm align`."""

    stage: ClassVar[str] = "align"
    trl_config: ClassVar[str] = "DPOConfig"
    aliases: ClassVar[Mapping[str, str]] = {
        "max_new_tokens": "sampling.max_new_tokens",
        "temperature": "sampling.temperature",
    }

    method: str = "dpo"
    """How to learn from pairs; see `rlllm methods ls --stage align`."""
    judge: RewardSpec | None = None
    """The reward that judges held-out completions before and after (a name, or `{name: model, path: RUN}`). Pairs of the
    simulated annotator are judged by its gold utility unless another is named."""
    sampling: SamplingConfig = SamplingConfig(max_new_tokens=256)
    """How held-out completions are sampled for the judge."""

    def plan(self) -> Plan:
        plan = plan_training(self, PreferencePair, self.method)
        judge = self.judge or _annotator(plan)
        return replace(plan, rewards=resolve_rewards([judge], plan.loaded)) if judge else plan


def run(config: AlignStage, **options: Any) -> Run:
    """Align a model with preference pairs; measures the judge's win rate against the start, if there is a judge.

    Options are those of `stages.training.train`: listener, resume, overwrite, recipe, command.
    """
    return train(config.plan(), Parts(load_causal_model, _build, _measure, expect=note_pairs), **options)


def _annotator(plan: Plan) -> RewardSpec | None:
    """The gold utility, where the pairs were labelled by the simulated annotator who holds it."""
    pairs = plan.loaded.holdout or plan.loaded.train
    return RewardSpec(name="gold") if pairs and "gold_chosen" in pairs[0].meta else None


def _build(job: Job, callbacks: list[Any]) -> Any:
    from rlllm.algorithms import rows
    from rlllm.algorithms.trainers import Preference

    return Preference(
        model=job.model,
        args=job.arguments("DPOConfig"),
        train_dataset=rows.pairs(job.plan.loaded.train, job.tokenizer),
        processing_class=job.tokenizer,
        peft_config=job.adapters(),
        callbacks=callbacks,
    )


def _measure(job: Job, model: Any) -> Any:
    from rlllm.evals.measures import measure_utility

    config = job.config
    assert isinstance(config, AlignStage)
    held_out = job.plan.loaded.holdout[: config.eval.rows]
    if not held_out or job.plan.rewards is None:
        return None
    tasks = [PromptTask(pair.prompt, pair.meta.get("answer"), pair.meta) for pair in held_out]
    return measure_utility(
        model,
        job.tokenizer,
        tasks,
        job.plan.rewards,
        config.sampling,
        samples=config.eval.samples,
        seed=config.seed,
    )
