"""Which simpler method a run equals, and which of its settings do nothing, from what methods and components declare.

Two runs are compared by their forms: the components with their fields, and the TRL settings that they read. While a rollout is
learned from in one optimizer step every importance ratio is 1. Then the form is reduced by what the loss declares
(`PolicyLoss.at_ratio_one`): settings that act on ratios are dropped, and the loss becomes TRL's of the same aggregation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, cast

from rlllm.algorithms.components import SlotSpec, component
from rlllm.algorithms.losses.trl import BY_AGGREGATION, BY_LOSS_TYPE, LOSS_SETTINGS, RATIO_SETTINGS
from rlllm.algorithms.protocols import Advantage, PolicyLoss, Sampler
from rlllm.algorithms.registry import METHODS
from rlllm.core import trl_fields
from rlllm.training.batch_arithmetic import BatchPlan
from rlllm.training.rl_settings import KLConfig, RLSettings

if TYPE_CHECKING:
    from rlllm.algorithms.methods.base import Method

DEFAULT_COMPONENTS = {"sampler": "shuffle", "advantage": "group", "mask": "all", "loss": "grpo"}
"""Slot -> component, where neither the user nor the method says otherwise. The slots `off_policy`, `erase`, `dialogue`
and `reflect` stay empty."""
_OTHER_SETTINGS = (
    "beta",
    "scale_rewards",
    "multi_objective_aggregation",
    "top_entropy_quantile",
    "use_bias_correction_kl",
)
"""TRL settings of the update that every loss reads."""
UPDATE_SETTINGS = LOSS_SETTINGS | {*_OTHER_SETTINGS, "num_iterations"}
"""TRL settings of the update; what is given of them changes a method."""
_MOST_CHANGES = 3
"""Changes beyond which a method is no help as a comparison."""
_PARENT = "grpo"
"""Method that is named where something has to be set on top of it."""
_BY_UPDATES = "with one update a rollout every importance ratio is 1 and no clip acts"
_BY_PARTS = "the same components and settings"
_BY_BATCH = "one micro-batch is the whole rollout"


@dataclass(frozen=True)
class Equality:
    """A method that gives the same update.

    Args:
        method: its name.
        changes: what to set on top of it.
        to_rounding: whether the order of the arithmetic differs, so that the last digits may.
        reason: why, in words.
        by_updates: whether it holds because a rollout has one update.
    """

    method: str
    changes: Mapping[str, Any]
    to_rounding: bool
    reason: str
    by_updates: bool = False

    def __str__(self) -> str:
        changes = (
            " with " + ", ".join(f"{name}={value}" for name, value in self.changes.items()) if self.changes else ""
        )
        rounding = " up to rounding" if self.to_rounding else ""
        return f"equals {self.method}{changes}{rounding}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "changes": dict(self.changes),
            "to_rounding": self.to_rounding,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class _Form:
    """Components and settings of an update."""

    slots: Mapping[str, tuple[str, Mapping[str, Any]]]
    """Slot -> name of the component and its fields."""
    settings: Mapping[str, Any]
    loss: PolicyLoss
    advantage: Advantage
    to_rounding: bool = False
    idle_parts: tuple[str, ...] = ()
    """Components, as they are given, that do what a simpler one does (`Component.same_as`), which stands in their place."""

    def changes_from(self, other: _Form) -> dict[str, Any]:
        """What to set on top of another form to get this one."""
        slots = {
            slot: self.slots.get(slot, ("none", {}))[0]
            for slot in {**other.slots, **self.slots}
            if self.slots.get(slot) != other.slots.get(slot)
        }
        names = {**other.settings, **self.settings}
        return slots | {
            name: self.settings.get(name) for name in names if self.settings.get(name) != other.settings.get(name)
        }


def equal_method(
    config: RLSettings, method: Method, slots: Mapping[str, SlotSpec], settings: Mapping[str, Any], batches: BatchPlan
) -> Equality | None:
    """The method that a run equals under another name, or by the number of its updates; None where there is none.

    Args:
        config: the run's settings.
        method: its preset.
        slots: slot -> specification of its component.
        settings: TRL settings as the trainer gets them.
        batches: of the run.
    """
    whole = _form(slots, settings, config.kl)
    at_one = ratio_is_one(slots, settings, batches)
    form = _reduced(whole, batches, settings) if at_one else whole
    if method.name == _PARENT and not whole.idle_parts and not whole.changes_from(_preset(method)):
        return None  # nothing is simpler; most dry runs end here, and reading all presets takes a tenth of their time
    moved = at_one and (form.slots["loss"] != whole.slots["loss"] or _shares_ratio(whole))
    nearest: tuple[int, str] | None = None
    best: dict[str, Any] = {}
    for name in METHODS.builtins:
        other = METHODS.load(name)
        if other.trainer != method.trainer or other.reward not in ("", method.reward):
            continue
        if other.defaults != method.defaults:
            continue
        preset = _preset(other)
        plain = _reduced(preset, batches, settings) if at_one else preset
        if at_one and (plain.slots["loss"] != preset.slots["loss"] or _shares_ratio(preset)):
            continue  # a method that is reduced itself explains nothing
        changes = form.changes_from(plain)
        if name != _PARENT if changes else name == method.name and not whole.idle_parts:
            continue
        rank = len(changes), name
        if nearest is None or rank < nearest:
            nearest, best = rank, changes
    if nearest is None or len(best) > (_MOST_CHANGES if moved else 0):
        return None
    by_updates = moved and form.loss.aggregation == whole.loss.aggregation
    unmoved = f"{' and '.join(whole.idle_parts)} changes nothing" if whole.idle_parts else _BY_PARTS
    reason = _BY_UPDATES if by_updates else _BY_BATCH if moved else unmoved
    return Equality(nearest[1], best, form.to_rounding, reason, by_updates)


def idle_settings(
    slots: Mapping[str, SlotSpec],
    settings: Mapping[str, Any],
    given: frozenset[str],
    method: Method,
    batches: BatchPlan,
) -> list[str]:
    """Settings that act on importance ratios and do nothing, since every ratio is 1: those given, and a ratio method's own."""
    loss = cast(PolicyLoss, component("loss", slots["loss"]))
    if not ratio_is_one(slots, settings, batches) or not loss.at_ratio_one(trl_values(settings)):
        return []
    chosen = {*given, *(method.settings if method.updates > 1 else ())}
    return sorted(name for name in RATIO_SETTINGS & {*loss.reads_trl} & chosen)


def ratio_is_one(slots: Mapping[str, SlotSpec], settings: Mapping[str, Any], batches: BatchPlan) -> bool:
    """Whether the policy that learns from a rollout is the one that sampled it, bit for bit, in every update."""
    sampler = cast(Sampler, component("sampler", slots["sampler"]))
    return (
        batches.steps_per_rollout == 1
        and "off_policy" not in slots
        and not settings.get("use_vllm")
        and not sampler.replays
    )


def trl_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The TRL settings of the update, with TRL's defaults."""
    return {name: trl_fields.value("GRPOConfig", settings, name) for name in sorted({*_OTHER_SETTINGS, *LOSS_SETTINGS})}


def _form(slots: Mapping[str, SlotSpec], settings: Mapping[str, Any], kl: KLConfig) -> _Form:
    parts = {slot: component(slot, spec) for slot, spec in slots.items()}
    simpler = {slot: name for slot, part in parts.items() if (name := part.same_as(settings))}
    idle_parts = tuple(f"{slot}={slots[slot].name}" for slot in simpler)
    slots = {**slots, **{slot: SlotSpec(name=name) for slot, name in simpler.items()}}
    parts |= {slot: component(slot, slots[slot]) for slot in simpler}
    loss, advantage = cast(PolicyLoss, parts["loss"]), cast(Advantage, parts["advantage"])
    values = trl_values(settings)
    if values["epsilon_high"] is None:
        values["epsilon_high"] = values["epsilon"]
    read = {name: value for name, value in values.items() if name not in LOSS_SETTINGS or name in loss.reads_trl}
    where = kl.where if read["beta"] else KLConfig().where
    corrected = bool(read["beta"]) and where == "loss" and read["use_bias_correction_kl"]
    read |= {"kl.where": where, "kl.target": kl.target, "use_bias_correction_kl": corrected}
    named = {slot: (spec.name, _fields(parts[slot])) for slot, spec in slots.items()}
    return _Form(named, read, loss, advantage, idle_parts=idle_parts)


def _preset(method: Method) -> _Form:
    """The form of a method as it ships."""
    names = {**DEFAULT_COMPONENTS, **method.components}
    kl = KLConfig.model_validate(method.defaults.get("kl", {}))
    slots = {slot: SlotSpec(name=name) for slot, name in names.items()}
    settings = {"use_bias_correction_kl": False, **method.settings}
    for slot, spec in slots.items():
        settings = {**component(slot, spec).trl_settings, **settings}
    return _form(slots, settings, kl)


def _reduced(form: _Form, batches: BatchPlan, settings: Mapping[str, Any]) -> _Form:
    """The form where every importance ratio is 1; itself where the loss declares no simpler gradient."""
    loss, values = form.loss, {**trl_values({}), **form.settings}
    kind = loss.at_ratio_one(values)
    if not kind or (kind == "completion" and not _may_share(form, values)):
        return form
    aggregation, to_rounding = loss.aggregation, form.slots["loss"][0] != BY_AGGREGATION.get(loss.aggregation)
    one_pass = trl_fields.value("GRPOConfig", settings, "gradient_accumulation_steps") == 1
    if (
        aggregation == "micro-batch-token-mean"
        and one_pass
        and batches.completions_per_step == batches.completions_per_rollout
    ):
        aggregation, to_rounding = "token-mean", True  # the micro-batch is the whole step
    name = BY_AGGREGATION[aggregation]
    plain = BY_LOSS_TYPE[name]()
    kept = {key: value for key, value in form.settings.items() if key not in RATIO_SETTINGS}
    frame = {key: values[key] for key in plain.reads_trl if key not in RATIO_SETTINGS}
    to_rounding = to_rounding or _shares_ratio(form)
    return _Form({**form.slots, "loss": (name, {})}, {**kept, **frame}, plain, form.advantage, to_rounding)


def _may_share(form: _Form, values: Mapping[str, Any]) -> bool:
    """Whether one ratio for the completion gives its tokens the gradients that single ratios would give them."""
    corrected = values["beta"] and values["use_bias_correction_kl"]
    return form.advantage.per_completion and not corrected and values["top_entropy_quantile"] == 1


def _shares_ratio(form: _Form) -> bool:
    return form.loss.at_ratio_one({**trl_values({}), **form.settings}) == "completion"


def _fields(part: Any) -> dict[str, Any]:
    return {field.name: getattr(part, field.name) for field in fields(part) if field.init} if is_dataclass(part) else {}
