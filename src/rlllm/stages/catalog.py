"""The table of verbs: where each one's config class and function live. Read by the command line and the Python API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlllm.core.config import StageConfig
from rlllm.core.errors import unknown
from rlllm.core.registry import load_target


@dataclass(frozen=True, slots=True)
class StageEntry:
    """One verb. `config` and `run` are "module:attribute" targets."""

    verb: str
    config: str
    run: str
    summary: str


STAGES = {
    entry.verb: entry
    for entry in (
        StageEntry("sft", "rlllm.stages.sft:SFTStage", "rlllm.stages.sft:run", "Imitate example completions"),
        StageEntry(
            "train-rm",
            "rlllm.stages.train_rm:TrainRMStage",
            "rlllm.stages.train_rm:run",
            "Train a reward model on pairs",
        ),
        StageEntry(
            "align", "rlllm.stages.align:AlignStage", "rlllm.stages.align:run", "Align a model with preferences (DPO)"
        ),
        StageEntry(
            "reason",
            "rlllm.stages.reason:ReasonStage",
            "rlllm.stages.reason:run",
            "Reinforce reasoning with verifiable rewards (GRPO)",
        ),
        StageEntry(
            "eval",
            "rlllm.stages.evaluate.plan:EvalStage",
            "rlllm.stages.evaluate.run:run",
            "Measure a model, with intervals",
        ),
    )
}


def config_class(verb: str) -> type[StageConfig]:
    """The config class of a verb. Raises UnknownNameError for a verb that does not exist."""
    return load_target(_entry(verb).config)


def stage_function(verb: str) -> Callable[..., Any]:
    """`run(config, *, listener, resume, overwrite, recipe, command) -> Run` of a verb."""
    return load_target(_entry(verb).run)


def _entry(verb: str) -> StageEntry:
    if verb not in STAGES:
        raise unknown("stage", verb, STAGES)
    return STAGES[verb]
