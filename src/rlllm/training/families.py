"""Families of methods: what is trained alike. A stage plans with its method's family and hands the plan to it.

The table is torch-free: record types, TRL config names, and the target of the function that runs the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rlllm.core import trl_fields
from rlllm.core.errors import ConfigError, unknown
from rlllm.core.records import Conversation, LabelledCompletion, PreferencePair, PromptTask, Record, StepwiseSolution
from rlllm.core.registry import load_target

if TYPE_CHECKING:
    from rlllm.algorithms.methods.base import Method
    from rlllm.core.runs import Run
    from rlllm.training.plan import Plan


@dataclass(frozen=True, slots=True)
class Family:
    """Methods that share a trainer.

    Args:
        name: as in `Method.trainer`.
        record: the type of record it learns from.
        config: the TRL config whose fields `trainer` takes.
        target: "module:function" of its `run(plan, **options) -> Run`; options as in `training.flow.run_to_verdict`.
        reads: which of the settings in `CONDITIONAL` it uses.
        checks: "module:function" that refuses a plan it cannot run, before anything is loaded; none if empty.
    """

    name: str
    record: type[Record]
    config: str
    target: str
    reads: frozenset[str] = frozenset()
    checks: str = ""

    def run(self, plan: Plan, **options: Any) -> Run:
        """Run a plan of this family to its verdict."""
        return load_target(self.target)(plan, **options)

    def check(self, plan: Plan) -> None:
        """Raise ConfigError or DataError for a finished plan this family cannot run."""
        if self.checks:
            load_target(self.checks)(plan)

    def check_sections(self, method: str, given: Set[str]) -> None:
        """Raise ConfigError for a setting that other methods read, but not this one: a flag read by nothing misleads."""
        for name in sorted((given & CONDITIONAL) - self.reads):
            readers = [family.name for family in FAMILIES.values() if name in family.reads]
            raise ConfigError(
                f"method {method} does not read {name}",
                given=name,
                hint=f"leave it out; it is for methods of the families {', '.join(readers)}",
            )

    def check_settings(self, method: str, settings: Mapping[str, Any]) -> None:
        """Raise ConfigError for a TRL field that another method of the stage takes, but not this one."""
        for key, value in settings.items():
            if key not in trl_fields.table(self.config):
                raise ConfigError(
                    f"{key} is no setting of method {method}: it trains with TRL's {self.config}",
                    given=f"{key}={value}",
                    hint=f"leave out {key}, or choose another method: rlllm methods ls",
                )
            trl_fields.check((self.config,), key, value)


_offline = partial(
    Family, target="rlllm.training.trainers.preference:run", checks="rlllm.training.trainers.preference:check"
)
_rounds = partial(
    Family,
    target="rlllm.training.trainers.iterative:run",
    checks="rlllm.training.trainers.iterative:check",
    reads=frozenset({"rounds"}),
)
_LOOP = frozenset(
    {
        "sampler",
        "advantage",
        "mask",
        "loss",
        "off_policy",
        "kl",
        "critic",
        "max_tokens",
        "stop_when_flat",
        "require_card",
    }
)
CONDITIONAL = _LOOP | {"rounds", "members", "rubric"}
"""Settings of a stage that only some of its methods use."""
_MARGINS = "rlllm.training.trainers.bradley_terry:check"

FAMILIES = {
    family.name: family
    for family in (
        Family("sft", Conversation, "SFTConfig", "rlllm.stages.sft:imitate"),
        _offline("dpo", PreferencePair, "DPOConfig"),
        _offline("kto", LabelledCompletion, "KTOConfig"),
        _offline("orpo", PreferencePair, "ORPOConfig"),
        _offline("cpo", PreferencePair, "CPOConfig"),
        _offline("tpo", PreferencePair, "TPOConfig"),
        _offline("rrhf", PreferencePair, "CPOConfig"),
        _rounds("iterative-dpo", PromptTask, "DPOConfig"),
        _rounds("spin", Conversation, "DPOConfig"),
        Family("rl", PromptTask, "GRPOConfig", "rlllm.training.trainers.rl:run", _LOOP),
        Family("bt", PreferencePair, "RewardConfig", "rlllm.training.trainers.bradley_terry:run", checks=_MARGINS),
        Family(
            "ensemble",
            PreferencePair,
            "RewardConfig",
            "rlllm.training.trainers.rm_ensemble:run",
            frozenset({"members"}),
            checks=_MARGINS,
        ),
        Family(
            "process",
            StepwiseSolution,
            "RewardConfig",
            "rlllm.training.trainers.prm:run",
            checks="rlllm.training.trainers.prm:check",
        ),
        Family(
            "generative", PreferencePair, "GRPOConfig", "rlllm.training.trainers.generative_rm:run", _LOOP | {"rubric"}
        ),
    )
}


def family_of(method: Method) -> Family:
    """The family that trains a method. Raises UnknownNameError for a plugin's that names none of them."""
    name = method.trainer
    if name not in FAMILIES:
        raise unknown("family of methods", name, FAMILIES)
    return FAMILIES[name]


def configs_of(*names: str) -> tuple[str, ...]:
    """The TRL configs of families, each once."""
    return tuple(dict.fromkeys(FAMILIES[name].config for name in names))
