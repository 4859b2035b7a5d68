"""Monitors of training dynamics that ship with rlllm, by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rlllm.core.errors import ConfigError, unknown
from rlllm.core.plugin_errors import plugin_boundary
from rlllm.core.registry import Builtin, Registry
from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, TrainingFacts

ALL = "all"
"""In the setting `allow`: no monitor ends the run."""

MONITORS = Registry(
    "monitor",
    "rlllm.monitors",
    {
        "clip_saturation": Builtin("rlllm.evals.monitors.dynamics.clip_saturation:ClipSaturation"),
        "diverging_loss": Builtin("rlllm.evals.monitors.dynamics.diverging_loss:DivergingLoss"),
        "entropy_collapse": Builtin("rlllm.evals.monitors.dynamics.entropy_collapse:EntropyCollapse"),
        "entropy_explosion": Builtin("rlllm.evals.monitors.dynamics.entropy_explosion:EntropyExplosion"),
        "gradient_spikes": Builtin("rlllm.evals.monitors.dynamics.gradient_spikes:GradientSpikes"),
        "kl_blowup": Builtin("rlllm.evals.monitors.dynamics.kl_blowup:KLBlowup"),
        "kl_dominates": Builtin("rlllm.evals.monitors.dynamics.kl_dominates:KLDominates"),
        "length_bias": Builtin("rlllm.evals.monitors.dynamics.length_bias:LengthBias"),
        "length_collapse": Builtin("rlllm.evals.monitors.dynamics.length_collapse:LengthCollapse"),
        "length_explosion": Builtin("rlllm.evals.monitors.dynamics.length_explosion:LengthExplosion"),
        "measure_regression": Builtin("rlllm.evals.monitors.dynamics.measure_regression:MeasureRegression"),
        "memorisation": Builtin("rlllm.evals.monitors.dynamics.memorisation:Memorisation"),
        "missing_eos": Builtin("rlllm.evals.monitors.dynamics.missing_eos:MissingEos"),
        "no_movement": Builtin("rlllm.evals.monitors.dynamics.no_movement:NoMovement"),
        "no_signal": Builtin("rlllm.evals.monitors.dynamics.no_signal:NoSignal"),
        "plateau": Builtin("rlllm.evals.monitors.dynamics.plateau:Plateau"),
        "policy_collapse": Builtin("rlllm.evals.monitors.dynamics.policy_collapse:PolicyCollapse"),
        "repetition": Builtin("rlllm.evals.monitors.dynamics.repetition:Repetition"),
        "reward_composition": Builtin("rlllm.evals.monitors.dynamics.reward_composition:RewardComposition"),
        "reward_regression": Builtin("rlllm.evals.monitors.dynamics.reward_regression:RewardRegression"),
        "truncation": Builtin("rlllm.evals.monitors.dynamics.truncation:Truncation"),
        "zero_variance_groups": Builtin("rlllm.evals.monitors.dynamics.zero_variance_groups:ZeroVarianceGroups"),
    },
    list_command="rlllm monitors ls",
)


def own_monitors(names: Sequence[str]) -> list[type[Monitor]]:
    """The monitors that a user named beside those that are built in.

    Raises:
        ConfigError: there is no such monitor, or it is no subclass of `Monitor` with a name.
        PluginError: an installed plugin is broken.
    """
    found = []
    for name in names:
        target = MONITORS.load(name)
        if not (
            isinstance(target, type) and issubclass(target, Monitor) and isinstance(getattr(target, "name", None), str)
        ):
            raise ConfigError(
                f"{name} is no monitor",
                given=repr(target),
                hint="name a subclass of rlllm.plugins.Monitor that has a `name`; see docs/guides/plugins/monitor.md",
            )
        found.append(target)
    return found


def check_allowed(allowed: Collection[str], monitors: Sequence[type[Monitor]]) -> None:
    """Raise UnknownNameError for an allowed finding that no monitor of the run makes."""
    known = [*sorted(MONITORS.builtins), *(monitor.name for monitor in monitors)]
    for name in allowed:
        if name != ALL and name not in known:
            raise unknown("monitor", name, known, list_command=MONITORS.list_command)


def all_monitors(names: Sequence[str], facts: TrainingFacts) -> list[Monitor]:
    """The monitors of a run: those built in, and the user's own."""
    classes = [MONITORS.load(name) for name in sorted(MONITORS.builtins)]
    made: list[Monitor] = [kind(facts) for kind in classes]
    for name, kind in zip(names, own_monitors(names), strict=True):
        with plugin_boundary("monitor", name, kind):
            made.append(kind(facts))
    return made


def ask(monitor: Monitor, step: LoggedStep) -> Finding | None:
    """What a monitor says of a step.

    Raises:
        PluginError: a monitor that is not built in raised an exception, or returned something else than a finding.
    """
    with plugin_boundary("monitor", monitor.name, monitor):
        finding = monitor.observe(step)
        if finding is not None and not isinstance(finding, Finding):
            raise TypeError(f"observe returned a {type(finding).__name__} where a Finding or None belongs")
    return finding
