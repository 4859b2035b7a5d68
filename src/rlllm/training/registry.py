"""Trainers that ship with rlllm, by name. A static table, so that listing imports nothing.

Trainers' own modules do not import this one: a plan is given its trainer.
"""

from __future__ import annotations

from typing import Any

from rlllm.algorithms.methods.base import Method
from rlllm.core.errors import PluginError
from rlllm.core.registry import Builtin, Registry
from rlllm.training.engine_limits import check_engine
from rlllm.training.evaluations import check_evaluations
from rlllm.training.plan import Plan, resolve_method
from rlllm.training.settings import TrainingConfig
from rlllm.training.trainers.base import Trainer

TRAINERS = Registry(
    "trainer",
    "rlllm.trainers",
    {
        "sft": Builtin("rlllm.training.trainers.sft:TRAINER", "cross-entropy on example completions"),
        "pretrain": Builtin(
            "rlllm.training.trainers.pretrain:THOUGHT", "thoughts, paid for what they predict of a text"
        ),
        "pretrain-plain": Builtin("rlllm.training.trainers.pretrain:PLAIN", "cross-entropy on positions of a text"),
        "dpo": Builtin("rlllm.training.trainers.dpo:TRAINER", "a contrastive loss on preference pairs"),
        "kto": Builtin("rlllm.training.trainers.kto:TRAINER", "single completions, labelled good or bad"),
        "orpo": Builtin(
            "rlllm.training.trainers.reference_free:ORPO", "imitation and odds ratio, without a reference model"
        ),
        "cpo": Builtin("rlllm.training.trainers.reference_free:CPO", "a contrastive loss without a reference model"),
        "tpo": Builtin("rlllm.training.trainers.tpo:TRAINER", "three completions of a prompt"),
        "rrhf": Builtin("rlllm.training.trainers.reference_free:RRHF", "ranking by log-probability per token"),
        "iterative-dpo": Builtin("rlllm.training.trainers.iterative_dpo:TRAINER", "sampling and DPO in turns"),
        "spin": Builtin("rlllm.training.trainers.spin:TRAINER", "the data against the model's own samples, in turns"),
        "rl": Builtin("rlllm.training.trainers.rl:TRAINER", "sampled completions and their rewards"),
        "bt": Builtin("rlllm.training.trainers.bradley_terry:TRAINER", "a scalar reward model"),
        "ensemble": Builtin("rlllm.training.trainers.rm_ensemble:TRAINER", "several scalar reward models"),
        "process": Builtin("rlllm.training.trainers.prm:TRAINER", "a reward model of single steps"),
        "generative": Builtin("rlllm.training.trainers.generative_rm:TRAINER", "a judge that writes its verdict"),
    },
)


def trainer_of(method: Method) -> Trainer[Any, Any]:
    """The trainer of a method: a built-in or installed name, or `path/to/file.py:TRAINER`.

    Raises:
        UnknownNameError: there is no trainer of this name.
        PluginError: what stands behind the name is not a `Trainer`, or has no settings for a verb of the method.
    """
    trainer = TRAINERS.load(method.trainer)
    if not isinstance(trainer, Trainer):
        raise PluginError(
            f"the trainer of method {method.name} is not a Trainer", given=f"{method.trainer}: {trainer!r}"
        )
    missing = [verb for verb in method.stages if verb not in trainer.settings]
    if missing:
        raise PluginError(
            f"the trainer {trainer.name} has no settings for {missing[0]}",
            given=f"method {method.name}: stages={method.stages}",
            exists=trainer.settings,
        )
    return trainer


def plan_run(config: TrainingConfig) -> Plan[Any]:
    """The plan of a training verb's settings, checked by the method's trainer.

    Raises:
        RlllmError: with exit code 2 for anything that cannot work.
    """
    method = resolve_method(config.method, config.stage)
    trainer = trainer_of(method)
    plan = trainer.plan(config, method, trainer)
    trainer.check(plan)
    check_engine(plan)
    check_evaluations(plan)
    return plan
