"""`rlllm pretrain`: learning from raw text, with thoughts that are paid for what they predict, or plainly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rlllm.core.runs import Run, RunOptions
from rlllm.data.config import DataConfig
from rlllm.data.corpus.documents import Document
from rlllm.stages.evaluate.items import evaluation_items
from rlllm.training import controls, reward_cards
from rlllm.training.plan import ExperimentPlan, Plan, RLPlan
from rlllm.training.registry import plan_run
from rlllm.training.settings import TrainingConfig


def plan(config: TrainingConfig) -> Plan[Any]:
    """The plan of a run, or of several runs and their comparison with `controls` or `seeds`."""
    planned = _searched(plan_run(config))
    return controls.expand(planned) if isinstance(planned, RLPlan) else planned


def run(config: TrainingConfig, options: RunOptions) -> Run:
    """Learn from raw text; measures next-token accuracy on held-out positions before and after.

    With `controls` or `seeds` it is several such runs and their comparison.
    """
    options.progress.phase("reading the text")
    planned = plan(config)
    reward_cards.announce(planned, options.progress)
    if planned.positions and planned.positions.contaminated:
        for line in planned.positions.contamination:
            options.progress.note(f"warning: {line}")
    if isinstance(planned, ExperimentPlan):
        return controls.run(planned, options)
    return planned.trainer.run(planned, options)


def _searched(planned: Plan[Any]) -> Plan[Any]:
    """The plan with what of the evaluation sets stands in the documents that it learns from."""
    names, counts = planned.config.against, planned.positions
    if not names or counts is None:
        return planned
    from rlllm.data.prepare.contamination import Contamination, RowText
    from rlllm.data.prepare.settings import ContaminationRules

    against = [DataConfig(name=name) for name in names]
    search = Contamination(evaluation_items(against), ContaminationRules(against=against))
    read = _documents(planned)
    search.add([RowText(document.text, document.text) for document in read])
    found = search.report()
    held = [
        f"{matched:,} of {total:,} prompts of {source} are in the text"
        for source, (matched, total) in found.by_source().items()
        if matched
    ]
    number = len(set(found.rows.tolist()))
    listed = ", ".join(names)
    first = f"{number:,} of {len(read):,} documents or blocks hold prompts of {listed}"
    none = f"none of {len(read):,} documents or blocks holds a prompt of {listed}"
    lines = (first, *held) if number else (none,)
    return replace(planned, positions=replace(counts, contamination=lines, contaminated=number))


def _documents(planned: Plan[Any]) -> list[Document]:
    """The documents of the training rows."""
    assert planned.positions is not None
    wanted = {row.meta["document"] for row in planned.loaded.train}
    found = []
    for document in planned.positions.params.documents("train"):
        if document.name in wanted:
            found.append(document)
            wanted.discard(document.name)
        if not wanted:
            break
    return found
