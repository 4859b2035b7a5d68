"""Bradley-Terry reward models: a scalar score learned from preference pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlllm.core.errors import DataError
from rlllm.core.events import NullProgress
from rlllm.core.runs import Run
from rlllm.training.flow import Job, Parts, train
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import Plan
from rlllm.training.rm_cards import add_card

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured


def run(plan: Plan, **options: Any) -> Run:
    """Train on pairs; measures held-out pair accuracy before and after, and writes the model's card.

    Raises:
        DataError: some pairs have a margin and some have none, which no loss can use.
    """
    check(plan)
    run = train(plan, Parts(load_scorer, build, _measure, expect=note_pairs), **options)
    if run.ok:
        from rlllm.rewards.models.reward_model import RewardModel

        listener = options.get("listener") or NullProgress()
        add_card(run, RewardModel(str(run.model)), plan.measured_on, seed=plan.config.seed, listener=listener)
    return run


def load_scorer(source: Any, tokenizer: Any, hardware: Any) -> Any:
    """A sequence classifier with one score."""
    from rlllm.policies.loading import load_classifier

    return load_classifier(source, tokenizer, bf16=hardware.bf16)


def build(job: Job, callbacks: list[Any]) -> Any:
    from rlllm.algorithms import to_trl_dataset
    from rlllm.algorithms.trainers import PairwiseReward

    arguments = job.arguments("RewardConfig")
    trainer = PairwiseReward(
        model=job.model,
        args=arguments,
        train_dataset=to_trl_dataset.pairs(job.plan.loaded.train, job.tokenizer, margins=True),
        processing_class=job.tokenizer,
        peft_config=job.adapters("SEQ_CLS"),
        callbacks=callbacks,
    )
    total = len(job.plan.loaded.train)
    left = total - len(trainer.train_dataset)
    if left:  # TRL leaves them out without a word
        job.listener.note(f"{left} of {total} pairs are left out: longer than {arguments.max_length} tokens")
    return trainer


def _measure(job: Job, model: Any) -> list[Measured]:
    from rlllm.evals.before_after import measure_pairs
    from rlllm.rewards.models.reward_model import RewardModel

    # A model that diverged scores NaN: that is the verdict's to say, and no held-out row can be blamed for it.
    held_out = [] if job.diagnostics.non_finite_steps else job.plan.measured_on
    return [measure_pairs(RewardModel.of(model, job.tokenizer), held_out)] if held_out else []


def check(plan: Plan) -> None:
    """Raise DataError unless all pairs have a margin, or none has."""
    pairs = plan.loaded.train
    without = sum(pair.margin is None for pair in pairs)
    if 0 < without < len(pairs):
        raise DataError(
            "some preference pairs have a margin and some have none",
            given=f"{without:,} of {len(pairs):,} pairs have none",
            hint="give every row a margin (0 for none), or none at all",
        )
