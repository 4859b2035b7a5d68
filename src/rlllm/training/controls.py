"""Controls and repeated seeds of `reason` and `pretrain`: one run made of whole runs that differ in reward, or in seed.

    RUN/true-0/    the recipe as given           RUN/random-0/   the same with another reward, and so on
    RUN/model      the first true run's model    RUN/results.json   what the true reward added over each control

Every child run has the same data, seed, steps and batch, so all of them are given equal completions to learn from; how long
these get is the policy's own doing. In every child the true first reward is scored, with weight 0 where it does not train, so
that one and the same reward decides what passes. A control that finds nothing to learn, or gets worse, is a result and
no failure.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlllm.algorithms.components import SlotSpec, takes
from rlllm.core.errors import ConfigError
from rlllm.core.runs import Run, RunOptions
from rlllm.core.verdict import Diagnostics
from rlllm.evals.monitors.dynamics.registry import ALL
from rlllm.launch import process_group
from rlllm.rewards.config import RewardSpec
from rlllm.training.child_runs import like_first, record_like, train_child
from rlllm.training.control_rewards import CONTROLS, TRUE, Control, Specs
from rlllm.training.flow import Job, judged_run
from rlllm.training.plan import ExperimentPlan, Plan, RLPlan
from rlllm.training.rl_plan import plan_rl
from rlllm.training.trainers.base import Trainer
from rlllm.training.trainers.rl import ControlledSettings

_FAIR = 0.5
"""Hit rate of the random reward where the true one's is not known yet."""
_RAREST = 0.1
"""A random reward that is always or never paid is no signal: its hit rate stays this far from 0 and from 1."""

_OTHER_NUMBERS = 1_000_003
"""From a seed to one that no run of the same experiment has."""


def expand(plan: RLPlan[ControlledSettings]) -> RLPlan[ControlledSettings]:
    """An experiment's plan where controls or several seeds are asked for, else the plan itself. Each child is planned once.

    Raises:
        ConfigError: nothing is held out to compare on, the first reward does not train, or a reward that
            the method cannot do without.
    """
    config = plan.config
    if not config.controls and config.seeds == 1:
        return plan
    if not plan.measured_on:
        raise ConfigError(
            "controls and seeds are compared on held-out prompts, and there are none",
            given=f"eval.rows={config.eval.rows}, {len(plan.loaded.holdout)} rows held out",
            hint="data.holdout=128 eval.rows=128",
        )
    if config.controls and not _true_specs(plan)[0].weight > 0:
        raise ConfigError(
            "the first reward decides what passes, and it has to train the run that controls are compared with",
            given=f"{_true_specs(plan)[0].name} with weight {_true_specs(plan)[0].weight:g}",
            hint="put first a reward whose weight is above 0",
        )
    for name in config.controls:
        child_plan(plan, name, config.seed, Path(name), _FAIR)
    runs = tuple(_folder_of(config, name, seed) for seed, name in _children_of(config))
    return ExperimentPlan(**vars(plan), runs=runs)


def _children_of(config: ControlledSettings) -> list[tuple[int, str]]:
    """(seed, name of the control or `true`) of every child run, in the order they are made."""
    seeds = range(config.seed, config.seed + config.seeds)
    return [(seed, name) for seed in seeds for name in (TRUE, *config.controls)]


def _folder_of(config: ControlledSettings, name: str, seed: int) -> str:
    """Name of a child run's directory."""
    return f"{name if config.controls else 'seed'}-{seed}"


def _true_specs(plan: RLPlan[ControlledSettings]) -> Specs:
    """The rewards as given, or those that the plan found where none are."""
    return list(plan.config.rewards) or [RewardSpec(name=name) for name in plan.rewards.names]


def child_plan(
    plan: RLPlan[ControlledSettings], name: str, seed: int, folder: Path, hit_rate: float
) -> RLPlan[ControlledSettings]:
    """The plan of one child run: a control, or the recipe itself (`true`).

    Args:
        plan: of the experiment.
        name: of the control, or `true`.
        seed: of the child.
        folder: its output directory.
        hit_rate: share of completions that the true reward passes; for the random reward.
    """
    config, control = plan.config, CONTROLS.get(name)
    changed: dict[str, Any] = {"seed": seed, "output_dir": folder, "controls": [], "seeds": 1, "fail_on": []}
    settings, specs, trainer = dict(plan.settings), _true_specs(plan), plan.trainer
    if control is not None:
        specs = changed["rewards"] = control.rewards(specs, hit_rate, seed)
        changed["trainer"] = {**config.trainer, **control.trainer}
        if specs != _true_specs(plan):
            changed["sampler"] = _without_reward(config.sampler)
        if control.advantage:
            changed["advantage"] = _with_fields(plan.slots["advantage"], name, control)
        changed["stop_when_flat"] = 0  # a control that stopped early would have had fewer completions
        changed["allow"] = [ALL]
        settings |= control.trainer
        trainer = _lenient(trainer, control)
    start = Plan(
        config=config.model_copy(update=changed),
        method=plan.method,
        trainer=trainer,
        source=plan.source,
        loaded=plan.loaded,
        settings=settings,
        sizes=plan.sizes,
        given=plan.given,
    )
    return replace(plan_rl(start, specs), environment=plan.environment, cards=plan.cards)


def _with_fields(spec: SlotSpec, name: str, control: Control) -> SlotSpec:
    """The advantage of a control. Raises ConfigError for an advantage that lacks what the control sets."""
    missing = [field for field in control.advantage if not takes("advantage", spec, field)]
    if missing:
        raise ConfigError(
            f"the control {name} compares with {control.phrase}, and this advantage reads no thoughts",
            given=f"advantage={spec.name}",
            hint="it is a control of: rlllm pretrain --method rlp",
        )
    return spec.model_copy(update={"params": {**spec.params, **control.advantage}})


def _without_reward(sampler: SlotSpec | None) -> SlotSpec | None:
    """The sampler of a control, which judges groups by what trains there; the true reward would choose prompts for it."""
    if sampler is None:
        return None
    return sampler.model_copy(
        update={"params": {key: sampler.params[key] for key in sampler.params if key != "reward"}}
    )


def hit_rate(run: Run) -> float:
    """Share of a true run's completions that passed (first reward at least 1), kept away from 0 and 1 by `_RAREST`."""
    values = [next(iter(row["rewards"].values()))["value"] for row in run.samples()]
    passed = [value >= 1.0 for value in values if value is not None]
    rate = sum(passed) / len(passed) if passed else _FAIR
    return round(min(max(rate, _RAREST), 1 - _RAREST), 4)


def run(plan: ExperimentPlan[ControlledSettings], options: RunOptions) -> Run:
    """Make every child run, one after another, and compare them."""
    from rlllm.training.control_results import compare

    diagnostics = Diagnostics(rows=len(plan.loaded.train), rows_needed=plan.rows_needed)
    with judged_run(plan.config, diagnostics, options) as run:
        if diagnostics.untrainable:
            return run
        children = _run_children(plan, run, diagnostics, options)
        if diagnostics.failure is None and not diagnostics.interrupted:
            _join(run, list(children.values()))
            results = process_group.on_main(lambda: compare(children, seed=plan.config.seed))
            run.write("results.json", results)
            diagnostics.controls = results["controls"]
    return run


def _run_children(
    plan: ExperimentPlan[ControlledSettings], run: Run, diagnostics: Diagnostics, options: RunOptions
) -> dict[tuple[int, str], Run]:
    """The child runs as far as they came; the first that is not carried out is the last."""
    config, rate = plan.config, _FAIR
    children: dict[tuple[int, str], Run] = {}
    planned = _children_of(config)
    for number, (seed, name) in enumerate(planned, start=1):
        folder = _folder_of(config, name, seed)
        options.progress.note(f"run {number} of {len(planned)}: {folder}")
        changed_before = diagnostics.weights_changed
        planned_child = child_plan(plan, name, seed, run.path / folder, rate)
        config_of_child = like_first(planned_child.config, next(iter(children.values()), None))
        child = train_child(replace(planned_child, config=config_of_child), folder, diagnostics, options)
        children[seed, name] = child
        if name == TRUE and config.controls:
            rate = hit_rate(child)
        elif name != TRUE:
            diagnostics.weights_changed = changed_before  # a control whose weights stay is no failure of the run
        if not child.carried_out:
            break
    return children


def _lenient(trainer: Trainer[Any, Any], control: Control) -> Trainer[Any, Any]:
    """The trainer of a control, which does not fail for having nothing to learn."""

    def observe(job: Job[Any], trained: Any) -> None:
        trainer.observe(job, trained)
        diagnostics = job.diagnostics
        diagnostics.control = True
        diagnostics.weights_changed = diagnostics.weights_changed or None
        diagnostics.largest_gradient = diagnostics.largest_gradient or None
        diagnostics.reward_spread = diagnostics.reward_spread or None

    def measure(job: Job[Any], model: Any) -> Any:
        """The start as the trainer measures it, and the end with other random numbers."""
        if not (job.run.path / "measured_before.json").exists():
            return trainer.measure(job, model)
        config = job.plan.config.model_copy(update={"seed": job.plan.config.seed + _OTHER_NUMBERS})
        return trainer.measure(replace(job, plan=replace(job.plan, config=config)), model)

    return replace(trainer, observe=observe, measure=measure if control.sampled_afresh else trainer.measure)


def _join(run: Run, children: Sequence[Run]) -> None:
    """Environment, settings, lineage and model of the experiment: those of its first child."""
    run.write("env.json", children[0].read("env.json"))
    record_like(run, children[0])
    lineage = children[0].read("lineage.json")
    run.write("lineage.json", {**lineage, "parts": [child.path.name for child in children]})
    if run.writes and not run.model.exists():
        os.symlink(Path(children[0].path.name) / "model", run.model)
