"""Ensembles of Bradley-Terry reward models, as one run made of whole runs.

The members differ by seed alone, which draws the new head and the order of the data. Each is a run of its own under
`members/N`, with verdict, checkpoints and report; `model/ensemble.json` refers to their models. A member that fails ends
the ensemble, and a resumed ensemble keeps every member that is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rlllm.algorithms.tokenized_preview import scored_sequences
from rlllm.core.records import PreferencePair
from rlllm.core.runs import Run, RunOptions
from rlllm.core.verdict import Diagnostics
from rlllm.launch import process_group
from rlllm.training.child_runs import like_first, record_like, train_child
from rlllm.training.flow import judged_run
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import Plan, resolve_method, start_plan
from rlllm.training.rm_cards import add_card
from rlllm.training.settings import RewardModelSettings
from rlllm.training.trainers import bradley_terry
from rlllm.training.trainers.base import Trainer

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured
    from rlllm.rewards.models.reward_model import RewardModel

_CENTRED_ON = 256
"""Pairs, at most, over which a member's mean score is taken."""


class EnsembleSettings(RewardModelSettings):
    """Settings of `rlllm train-rm` with the trainer ensemble."""

    members: int = Field(3, ge=2)
    """Reward models in the ensemble."""


def _run(plan: Plan[EnsembleSettings], options: RunOptions) -> Run:
    """Train the members one after another, and put them together."""
    diagnostics = Diagnostics(rows=len(plan.loaded.train), rows_needed=plan.rows_needed)
    note_pairs(plan, diagnostics)
    with judged_run(plan.config, diagnostics, options) as run:
        if diagnostics.untrainable:
            return run
        members = _train_members(plan, run, diagnostics, options)
        if diagnostics.failure is None and not diagnostics.interrupted:
            process_group.on_main(lambda: _finish(plan, run, members, options))
    return run


def _finish(plan: Plan[EnsembleSettings], run: Run, members: Sequence[Run], options: RunOptions) -> None:
    """Put the members together, and measure what became of them."""
    scorer = _assemble(plan, run, members)
    run.write("results.json", {"measures": _results(plan, members, scorer)})
    add_card(run, scorer, plan.measured_on, seed=plan.config.seed, progress=options.progress)


def member_plan(plan: Plan[EnsembleSettings], number: int, folder: Path) -> Plan[RewardModelSettings]:
    """The plan of member `number` (from 1): Bradley-Terry, and a seed that no ensemble of another seed uses."""
    method = resolve_method("bt", plan.config.stage)
    shared = {name: getattr(plan.config, name) for name in RewardModelSettings.model_fields}
    seed = plan.config.seed * plan.config.members + number - 1
    changed = {"method": method.name, "seed": seed, "output_dir": folder, "fail_on": []}
    return Plan(
        config=RewardModelSettings(**{**shared, **changed}),
        method=method,
        trainer=bradley_terry.TRAINER,
        source=plan.source,
        loaded=plan.loaded,
        settings=plan.settings,
        sizes=plan.sizes,
        given=plan.given,
    )


def _train_members(plan: Plan[EnsembleSettings], run: Run, diagnostics: Diagnostics, options: RunOptions) -> list[Run]:
    """The members' runs, as far as they came; the first that is not carried out is the last."""
    total = plan.config.members
    members: list[Run] = []
    for number in range(1, total + 1):
        label = f"member {number} of {total}"
        options.progress.note(label)
        planned = member_plan(plan, number, run.path / "members" / str(number))
        planned = replace(planned, config=like_first(planned.config, members[0] if members else None))
        members.append(train_child(planned, label, diagnostics, options))
        if not members[-1].carried_out:
            break
    return members


def _assemble(plan: Plan[EnsembleSettings], run: Run, members: Sequence[Run]) -> RewardModel:
    """Write `model/ensemble.json`, lineage and environment; returns the ensemble."""
    from rlllm.rewards.models.ensemble import Member, write_ensemble
    from rlllm.rewards.models.reward_model import RewardModel

    pairs = (plan.loaded.holdout or plan.loaded.train)[:_CENTRED_ON]
    centres = [_centre(member.model, pairs) for member in members]
    write_ensemble(run.model, [Member(m.model, centre) for m, centre in zip(members, centres, strict=True)])
    run.write("env.json", members[0].read("env.json"))
    record_like(run, members[0])
    lineage = members[0].read("lineage.json")
    places = [str(member.path.relative_to(run.path)) for member in members]
    run.write("lineage.json", {**lineage, "members": places})
    return RewardModel(str(run.model))


def _centre(model: Path, pairs: Sequence[PreferencePair]) -> float:
    from rlllm.evals.metrics.rm_accuracy import pair_scores
    from rlllm.rewards.models.reward_model import RewardModel

    return fmean(score for both in pair_scores(RewardModel(str(model)), pairs) for score in both)


def _results(plan: Plan[EnsembleSettings], members: Sequence[Run], scorer: RewardModel) -> list[dict[str, Any]]:
    """The ensemble against its untrained members, and against its trained ones taken alone."""
    from rlllm.evals.before_after import difference, measure_pairs

    held_out = plan.measured_on
    if not held_out:
        return []
    after, seed = measure_pairs(scorer, held_out), plan.config.seed
    alone = replace(_mean_of(members, "after"), name="pair accuracy, one member -> ensemble")
    return [*difference(_mean_of(members, "before"), after, seed=seed), *difference(alone, after, seed=seed)]


def _mean_of(members: Sequence[Run], when: str) -> Measured:
    """Each pair's outcome, averaged over the members: what one of them, drawn at random, is expected to get."""
    from rlllm.evals.before_after import Measured

    measured = [Measured(**member.read(f"measured_{when}.json")[0]) for member in members]
    items = zip(*(member.scores for member in measured), strict=True)
    return Measured(measured[0].name, [[fmean(score for scores in item for score in scores)] for item in items])


TRAINER = Trainer(
    name="ensemble",
    record=PreferencePair,
    settings={"train-rm": EnsembleSettings},
    plan=start_plan,
    run=_run,
    check=bradley_terry.check_margins,
    task="SEQ_CLS",
    load=bradley_terry.load_scorer,
    build=bradley_terry.build,
    measure=bradley_terry.measure_accuracy,
    batch_tokens=scored_sequences,
    size_defaults="reward model",
)
