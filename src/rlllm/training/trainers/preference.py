"""Methods that learn from recorded preferences (pairs, labels, triples): one flow, the trainer by family.

What cannot work is refused before anything is loaded: `check` needs no torch. The reference model is a copy of the weights
in memory; TRL would load the folder they came from once more, which need not hold the same by then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from rlllm.core import trl_fields
from rlllm.core.errors import ConfigError, DataError, unknown
from rlllm.core.records import LabelledCompletion, fingerprint
from rlllm.core.runs import Run
from rlllm.core.verdict import Diagnostics
from rlllm.training.before_after import measure_alignment
from rlllm.training.flow import Job, Parts, load_causal_model, train
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import Plan
from rlllm.training.truncation import note_truncated_rows

_CONTRASTIVE = ("sigmoid", "hinge", "ipo")
LOSSES: dict[str, tuple[str, ...]] = {
    "dpo": (
        *_CONTRASTIVE,
        *("exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down"),
        *("discopop", "sft", "sigmoid_norm"),
    ),
    "kto": ("kto", "apo_zero_unpaired"),
    "cpo": (*_CONTRASTIVE, "simpo", "alphapo"),
    "tpo": (*_CONTRASTIVE, "tpo-l"),
}
"""Family to the values of `loss_type` its trainer knows. TRL finds out about others at the first step only."""
NOT_RANKED_BY = ("loss_type", "beta", "label_smoothing", "simpo_gamma", "alpha")
"""Settings of TRL's CPOConfig that the ranking loss has no use for."""


def run(plan: Plan, **options: Any) -> Run:
    """Train on recorded preferences; measures the model on held-out prompts before and after.

    Raises:
        ConfigError, DataError: see `check`.
        ModelError: the installed TRL does not have this method's trainer.
    """
    from rlllm.algorithms.offline import TRAINERS, check_trainer

    check(plan)
    check_trainer(TRAINERS[plan.family.name], plan.method.name)
    return train(plan, Parts(load_causal_model, build, measure_alignment, expect=_expect), **options)


def check(plan: Plan) -> None:
    """Refuse settings and data from which this method cannot learn.

    Raises:
        ConfigError: an unknown loss, a batch or a setting the loss cannot be computed with, or one it would ignore.
        DataError: labels of one kind only; a triple without its third completion.
    """
    _check_losses(plan)
    if plan.family.name in _CHECKS:
        _CHECKS[plan.family.name](plan)


def _check_losses(plan: Plan) -> None:
    given = plan.settings.get("loss_type", [])
    for loss in given if isinstance(given, list) else [given]:
        if plan.family.name in LOSSES and loss not in LOSSES[plan.family.name]:
            raise unknown(f"loss of method {plan.method.name}", str(loss), LOSSES[plan.family.name])


def _check_pairs(plan: Plan) -> None:
    rate = plan.settings.get("label_smoothing", 0.0)
    if "robust" in plan.settings.get("loss_type", ()) and not 0 <= rate < 0.5:
        raise ConfigError(
            "label_smoothing of the robust loss is the rate of flipped labels: at least 0 and below 0.5",
            given=f"label_smoothing={rate}",
        )


def _check_labels(plan: Plan) -> None:
    _check_contrast(plan.loaded.train, plan.loaded.source)
    if plan.settings.get("loss_type", "kto") != "kto":
        return
    for name, fits, wanted in (
        ("per_device_train_batch_size", lambda size: size > 1, "2 or more"),
        ("train_sampling_strategy", lambda strategy: strategy == "sequential", "sequential"),
    ):
        value = plan.settings.get(name, trl_fields.table("KTOConfig")[name]["default"])
        if not fits(value):
            raise ConfigError(
                f"the KTO loss needs {name} to be {wanted}: it estimates the KL from neighbours within a batch",
                given=f"{name}={value}",
                hint="or take loss_type=apo_zero_unpaired, which has no KL term",
            )


def _check_contrast(rows: list[LabelledCompletion], source: str) -> None:
    labels: dict[str, set[bool]] = defaultdict(set)
    for row in rows:
        labels[fingerprint([row.prompt, row.completion])].add(row.label)
    kinds = set().union(*labels.values()) if labels else {True, False}
    if len(kinds) == 1:
        raise DataError(
            f"all {len(rows):,} completions are labelled {str(kinds.pop()).lower()}: there is no contrast to learn from",
            given=source,
            hint="labels of both kinds are needed; to imitate good completions alone, use: rlllm sft",
        )
    if labels and all(len(both) == 2 for both in labels.values()):
        raise DataError(
            "every completion is labelled both true and false: there is no contrast to learn from",
            given=source,
            hint="check which columns are mapped to completion and label",
        )


def _check_triples(plan: Plan) -> None:
    rows = plan.loaded.train
    lacking = [row for row in rows if not _is_text(row.meta.get("reference"))]
    if lacking:
        raise DataError(
            f"method {plan.method.name} needs a third completion of each pair as text, in a column reference: "
            f"{len(lacking):,} of {len(rows):,} rows have none",
            given=plan.loaded.source,
            exists=sorted(lacking[0].meta),
            hint="name the column of gold completions reference; built-in tasks make one with data.params.reference=true",
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _check_ranking(plan: Plan) -> None:
    ignored = [name for name in NOT_RANKED_BY if name in plan.config.trainer]
    if ignored:
        raise ConfigError(
            f"{ignored[0]} means nothing for method {plan.method.name}: it ranks by log-probability per token",
            given=f"{ignored[0]}={plan.config.trainer[ignored[0]]}",
            hint=f"leave out {' and '.join(ignored)}; cpo_alpha weighs imitation against ranking",
        )


_CHECKS: dict[str, Callable[[Plan], None]] = {
    "dpo": _check_pairs,
    "kto": _check_labels,
    "tpo": _check_triples,
    "rrhf": _check_ranking,
}


def _expect(plan: Plan, diagnostics: Diagnostics) -> None:
    if plan.family.record is not LabelledCompletion:
        note_pairs(plan, diagnostics)


def build(job: Job, callbacks: list[Any]) -> Any:
    from rlllm.algorithms.offline import TRAINERS, trainer_class

    trainer = TRAINERS[job.plan.family.name]
    make = trainer_class(trainer, job.plan.method.name)
    args = job.arguments(job.plan.family.config)
    dataset = _rows(job)
    try:
        made = make(
            model=job.model,
            args=args,
            train_dataset=dataset,
            processing_class=job.tokenizer,
            peft_config=job.adapters(),
            callbacks=callbacks,
            **({"ref_model": reference_of(job, args)} if trainer.reference else {}),
        )
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"TRL refuses these settings: {error}", given=dict(job.plan.settings)) from error
    return note_truncated_rows(job, made)


def reference_of(job: Job, args: Any) -> Any:
    """A copy of the model as it is now; None where the model itself, its adapters off or before it is trained, serves.

    To be made before a trainer has touched the model: TRL replaces `forward` by a function that is bound to this instance.
    """
    from copy import deepcopy

    return None if job.config.lora or args.precompute_ref_log_probs else deepcopy(job.model)


def _rows(job: Job) -> Any:
    from rlllm.algorithms import to_trl_dataset

    records = job.plan.loaded.train
    if job.plan.family.record is LabelledCompletion:
        return to_trl_dataset.labelled(records, job.tokenizer, seed=job.config.seed)
    return (to_trl_dataset.triples if job.plan.family.name == "tpo" else to_trl_dataset.pairs)(records, job.tokenizer)
