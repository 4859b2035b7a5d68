"""Bradley-Terry reward models: a scalar score learned from preference pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlllm.algorithms.tokenized_preview import scored_sequences
from rlllm.core.errors import DataError
from rlllm.core.records import PreferencePair
from rlllm.core.runs import Run, RunOptions
from rlllm.launch import process_group
from rlllm.training.flow import Job, train
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import Plan, start_plan
from rlllm.training.rm_cards import add_card
from rlllm.training.settings import RewardModelSettings
from rlllm.training.trainers.base import Trainer
from rlllm.training.truncation import note_rows

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured


def _run(plan: Plan[RewardModelSettings], options: RunOptions) -> Run:
    """Train on pairs, and write the card of the model that was saved."""
    run = train(plan, options)
    if run.ok:
        from rlllm.rewards.models.reward_model import RewardModel

        def judge() -> None:
            scorer = RewardModel(str(run.model))
            add_card(run, scorer, plan.measured_on, seed=plan.config.seed, progress=options.progress)

        process_group.on_main(judge)
    return run


def load_scorer(source: Any, tokenizer: Any, hardware: Any) -> Any:
    """`Trainer.load`: a sequence classifier with one score."""
    from rlllm.policies.loading import load_classifier

    return load_classifier(source, tokenizer, bf16=hardware.bf16)


def build(job: Job[Plan[Any]], callbacks: list[Any]) -> Any:
    """`Trainer.build`: TRL's RewardTrainer on the pairs, with their margins where they have them."""
    from rlllm.algorithms import to_trl_dataset
    from rlllm.algorithms.sealed_trainers import PairwiseReward

    arguments = job.arguments()
    trainer = PairwiseReward(
        model=job.model,
        args=arguments,
        train_dataset=to_trl_dataset.pairs(job.plan.loaded.train, job.tokenizer, margins=True),
        processing_class=job.tokenizer,
        peft_config=job.adapters(),
        callbacks=callbacks,
    )
    return note_rows(job, trainer)


def measure_accuracy(job: Job[Plan[Any]], model: Any) -> list[Measured]:
    """`Trainer.measure`: share of held-out pairs whose chosen side scores higher."""
    from rlllm.evals.before_after import measure_pairs
    from rlllm.rewards.models.reward_model import RewardModel

    # A model that diverged scores NaN: that is the verdict's to say, and no held-out row can be blamed for it.
    held_out = [] if job.diagnostics.non_finite_steps else job.plan.measured_on
    return [measure_pairs(RewardModel.of(model, job.tokenizer), held_out)] if held_out else []


def check_margins(plan: Plan[Any]) -> None:
    """`Trainer.check`: raise DataError unless all pairs have a margin, or none has."""
    pairs = plan.loaded.train
    without = sum(pair.margin is None for pair in pairs)
    if 0 < without < len(pairs):
        raise DataError(
            "some preference pairs have a margin and some have none",
            given=f"{without:,} of {len(pairs):,} pairs have none",
            hint="give every row a margin (0 for none), or none at all",
        )


TRAINER = Trainer(
    name="bt",
    record=PreferencePair,
    settings={"train-rm": RewardModelSettings},
    plan=start_plan,
    run=_run,
    check=check_margins,
    task="SEQ_CLS",
    load=load_scorer,
    build=build,
    measure=measure_accuracy,
    expect=note_pairs,
    batch_tokens=scored_sequences,
    size_defaults="reward model",
)
