"""Pairs without a reference model: CPO with SimPO and AlphaPO, ORPO, RRHF. Each has a TRL config and a trainer of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rlllm.algorithms.tokenized_preview import PreviewSequence, tokens_by_mask
from rlllm.core.records import PreferencePair
from rlllm.training.before_after import measure_alignment
from rlllm.training.flow import Job, train
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import Plan
from rlllm.training.settings import PreferenceSettings
from rlllm.training.trainers import preference
from rlllm.training.trainers.base import Trainer


class CPOSettings(PreferenceSettings):
    """Settings of `rlllm align` with the trainer cpo."""

    trl_configs: ClassVar[tuple[str, ...]] = ("CPOConfig",)


class ORPOSettings(PreferenceSettings):
    """Settings of `rlllm align` with the trainer orpo."""

    trl_configs: ClassVar[tuple[str, ...]] = ("ORPOConfig",)


class RRHFSettings(PreferenceSettings):
    """Settings of `rlllm align` with the trainer rrhf."""

    trl_configs: ClassVar[tuple[str, ...]] = ("RRHFConfig",)


def _cpo_trainer() -> Any:
    from rlllm.algorithms.preference.cpo import CPOTrainer

    return CPOTrainer


def _orpo_trainer() -> Any:
    from rlllm.algorithms.preference.orpo import ORPOTrainer

    return ORPOTrainer


def _rrhf_trainer() -> Any:
    from rlllm.algorithms.preference.rrhf import RRHFTrainer

    return RRHFTrainer


def _with_imitated_prompt(batch: Mapping[str, Any]) -> list[PreviewSequence]:
    """Of ORPO's chosen side every token trains but the first, which nothing predicts: the prompt is imitated as well."""
    chosen, rejected = tokens_by_mask(batch)
    return [replace(chosen, trains=[False] + [True] * (len(chosen.ids) - 1)), rejected]


def _trainer(name: str, settings: type[PreferenceSettings], trainer_class: Callable[[], Any], **fields: Any) -> Trainer:
    def build(job: Job[Plan[Any]], callbacks: list[Any]) -> Any:
        rows = preference.pair_rows(job)
        return preference.build_trainer(job, callbacks, trainer_class(), rows, loss=preference.loss_of(job.plan))

    shared: dict[str, Any] = {"batch_tokens": tokens_by_mask, "size_defaults": "preferences with imitation", **fields}
    return Trainer(
        name=name,
        record=PreferencePair,
        settings={"align": settings},
        plan=preference.plan_preferences,
        run=train,
        check=preference.check_loss,
        build=build,
        measure=measure_alignment,
        expect=note_pairs,
        **shared,
    )


CPO = _trainer("cpo", CPOSettings, _cpo_trainer, size_defaults="preferences")
ORPO = _trainer("orpo", ORPOSettings, _orpo_trainer, batch_tokens=_with_imitated_prompt)
RRHF = _trainer("rrhf", RRHFSettings, _rrhf_trainer)
