"""Controls and repeated seeds of `rlllm reason`: one run made of whole runs that differ in their reward, or in their seed.

    RUN/true-0/    the recipe as given           RUN/random-0/   the same with another reward, and so on
    RUN/model      the first true run's model    RUN/results.json   what the true reward added over each control

Every part has the same data, seed, steps and batch, so all of them are given equal completions to learn from; how long these
get is the policy's own doing. In every part the true first reward is scored, with weight 0 where it does not train, so that one
and the same reward decides what passes. A control that finds nothing to learn is a result, not a failure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.events import ProgressCallback
from rlllm.core.runs import Run, read_json, write_json
from rlllm.core.verdict import Diagnostics
from rlllm.rewards.config import RewardSpec
from rlllm.training.child_runs import add_facts, run_part
from rlllm.training.flow import Job, Parts, run_to_verdict, train
from rlllm.training.plan import Plan, processes
from rlllm.training.rl_settings import plan_loop
from rlllm.training.trainers import rl

FAIR = 0.5
"""Hit rate of the random reward where the true one's is not known yet."""
RAREST = 0.1
"""A random reward that is always or never paid is no signal: its hit rate stays this far from 0 and from 1."""

_OTHER_NUMBERS = 1_000_003
"""From a seed to one that no run of the same experiment has."""

Specs = list[RewardSpec]


@dataclass(frozen=True, slots=True)
class Control:
    """One way to take the sense out of a run.

    Args:
        phrase: what is compared with, as it ends the sentence "the true reward adds ... over".
        rewards: true rewards, hit rate, seed -> the rewards of the control.
        trainer: TRL settings it overrides.
        sampled_afresh: measure the end with other random numbers than the start; the same would show unmoved weights
            without the noise of sampling, which every other run has.
    """

    phrase: str
    rewards: Callable[[Specs, float, int], Specs]
    trainer: Mapping[str, Any] = field(default_factory=dict)
    sampled_afresh: bool = False


def random_rewards(specs: Specs, hit_rate: float, seed: int) -> Specs:
    """A random reward in place of all rewards with a weight (Shao et al. 2025, arXiv 2506.10947)."""
    return [*monitored(specs), RewardSpec(name="random", weight=specs[0].weight, params={"p": hit_rate, "seed": seed})]


def format_reward(specs: Specs, hit_rate: float, seed: int) -> Specs:
    """Only the form pays: the recipe's own format rewards, or one in the first reward's place."""
    own = [spec if spec.name == "format" else muted for spec, muted in zip(specs, monitored(specs), strict=True)]
    own[0] = monitored(specs)[0]
    added = [] if any(spec.weight for spec in own) else [RewardSpec(name="format", weight=specs[0].weight)]
    return own + added


def flipped_reward(specs: Specs, hit_rate: float, seed: int) -> Specs:
    """1 minus the first reward; the others pay as before."""
    true, others = specs[0], specs[1:]
    inner = true.model_dump(exclude={"weight"})
    return [*monitored([true]), RewardSpec(name="flipped", weight=true.weight, params={"reward": inner}), *others]


def true_rewards(specs: Specs, hit_rate: float, seed: int) -> Specs:
    """The rewards as they are."""
    return specs


def monitored(specs: Sequence[RewardSpec]) -> Specs:
    """The rewards with weight 0: scored, but not trained on."""
    return [spec.model_copy(update={"weight": 0.0}) for spec in specs]


CONTROLS = {
    "random": Control("random rewards", random_rewards),
    "format": Control("the format reward alone", format_reward),
    "flipped": Control("flipped rewards", flipped_reward),
    "frozen": Control("frozen weights", true_rewards, {"learning_rate": 0.0}, sampled_afresh=True),
}
"""Name to control, as `--controls` takes them."""
TRUE = "true"


def expand(plan: Plan) -> Plan:
    """The plan with the names of its runs, if it is made of several; each of them was planned once.

    Raises:
        ConfigError: nothing is held out to compare on, the first reward does not train, several processes, or a reward that
            the method cannot do without.
    """
    config = _config(plan)
    if not config.controls and config.seeds == 1:
        return plan
    if not plan.measured_on:
        raise ConfigError(
            "controls and seeds are compared on held-out prompts, and there are none",
            given=f"eval.rows={config.eval.rows}, {len(plan.loaded.holdout)} rows held out",
            hint="data.holdout=128 eval.rows=128",
        )
    if processes() > 1:
        raise ConfigError(
            "controls and seeds run in one process", given=f"{processes()} processes", hint="start without a launcher"
        )
    if config.controls and not true_specs(plan)[0].weight > 0:
        raise ConfigError(
            "the first reward decides what passes, and it has to train the run that controls are compared with",
            given=f"{true_specs(plan)[0].name} with weight {true_specs(plan)[0].weight:g}",
            hint="put first a reward whose weight is above 0",
        )
    for name in config.controls:
        part_plan(plan, name, config.seed, Path(name), FAIR)
    return replace(plan, runs=tuple(folder_of(config, name, seed) for seed, name in parts_of(config)))


def parts_of(config: Any) -> list[tuple[int, str]]:
    """(seed, name of the control or `true`) of every run, in the order they are made."""
    seeds = range(config.seed, config.seed + config.seeds)
    return [(seed, name) for seed in seeds for name in (TRUE, *config.controls)]


def folder_of(config: Any, name: str, seed: int) -> str:
    """Name of a part's directory."""
    return f"{name if config.controls else 'seed'}-{seed}"


def true_specs(plan: Plan) -> Specs:
    """The rewards as given, or those that the plan found where none are."""
    assert plan.rewards is not None
    return list(_config(plan).rewards) or [RewardSpec(name=name) for name in plan.rewards.names]


def part_plan(plan: Plan, name: str, seed: int, folder: Path, hit_rate: float) -> Plan:
    """The plan of one part: a control, or the recipe itself (`true`).

    Args:
        plan: of the whole.
        hit_rate: how often the true reward pays; for the random one.
    """
    config = _config(plan)
    changed: dict[str, Any] = {"seed": seed, "output_dir": folder, "controls": [], "seeds": 1}
    settings, specs = dict(plan.settings), true_specs(plan)
    if name != TRUE:
        control = CONTROLS[name]
        specs = changed["rewards"] = control.rewards(specs, hit_rate, seed)
        changed["trainer"] = {**config.trainer, **control.trainer}
        changed["stop_when_flat"] = 0  # a control that stopped early would have had fewer completions
        settings |= control.trainer
    part = config.model_copy(update=changed)
    return plan_loop(replace(plan, config=part, settings=settings, runs=()), specs)


def hit_rate(run: Run) -> float:
    """Share of a true run's completions that passed (first reward at least 1), kept away from 0 and 1 by `RAREST`."""
    values = [next(iter(row["rewards"].values()))["value"] for row in run.samples()]
    passed = [value >= 1.0 for value in values if value is not None]
    rate = sum(passed) / len(passed) if passed else FAIR
    return round(min(max(rate, RAREST), 1 - RAREST), 4)


def run(plan: Plan, measure: rl.Measure, **options: Any) -> Run:
    """Make every run of an expanded plan, one after another, and compare them.

    Args:
        plan: from `expand`.
        measure: what `rlllm reason` measures.
        options: those of `training.flow.run_to_verdict`.
    """
    diagnostics = Diagnostics(rows=len(plan.loaded.train), rows_needed=plan.rows_needed)

    def work(run: Run, listener: ProgressCallback, resume: bool) -> None:
        from rlllm.training.control_results import compare

        made = _make_parts(plan, measure, run, diagnostics, listener, resume)
        if diagnostics.failure is not None or diagnostics.interrupted:
            return
        _join(run, list(made.values()))
        results = compare(made, seed=_config(plan).seed)
        write_json(run.path / "results.json", results)
        diagnostics.controls = results["controls"]

    return run_to_verdict(plan.config, diagnostics, work, **options)


def _make_parts(
    plan: Plan, measure: rl.Measure, run: Run, diagnostics: Diagnostics, listener: ProgressCallback, resume: bool
) -> dict[tuple[int, str], Run]:
    """The parts' runs as far as they came; the first that does not succeed is the last."""
    config, made, rate = _config(plan), {}, FAIR
    todo = parts_of(config)
    for number, (seed, name) in enumerate(todo, start=1):
        folder = folder_of(config, name, seed)
        listener.note(f"run {number} of {len(todo)}: {folder}")
        planned = part_plan(plan, name, seed, run.path / folder, rate)
        flow = _flow(measure, CONTROLS.get(name))
        part = made[seed, name] = run_part(planned, listener=listener, resume=resume, run=flow)
        moved = diagnostics.weights_changed
        succeeded = add_facts(diagnostics, part, folder)
        if name == TRUE and config.controls:
            rate = hit_rate(part)
        elif name != TRUE:
            diagnostics.weights_changed = moved  # whether a control's weights moved says nothing about the run
        if not succeeded:
            break
    return made


def _flow(measure: rl.Measure, control: Control | None) -> Callable[..., Run]:
    """What runs a part's plan; a control is not blamed for having nothing to learn."""
    parts = rl.parts(_afresh(measure) if control and control.sampled_afresh else measure)
    if control:
        parts = replace(parts, observe=_forgiving(parts))

    def flow(plan: Plan, **options: Any) -> Run:
        return train(plan, parts, **options)

    return flow


def _afresh(measure: rl.Measure) -> rl.Measure:
    """Measures the start as `measure` does, and the end under another seed."""

    def measured(job: Job, model: Any) -> Any:
        if not (job.run.path / "measured_before.json").exists():
            return measure(job, model)
        config = job.config.model_copy(update={"seed": job.config.seed + _OTHER_NUMBERS})
        return measure(replace(job, plan=replace(job.plan, config=config)), model)

    return measured


def _forgiving(parts: Parts) -> Callable[[Job, Any], None]:
    """Observes as `parts` do, then drops the diagnostics by which a run that learned nothing fails."""

    def observe(job: Job, trainer: Any) -> None:
        parts.observe(job, trainer)
        diagnostics = job.diagnostics
        diagnostics.weights_changed = diagnostics.weights_changed or None
        diagnostics.largest_gradient = diagnostics.largest_gradient or None
        diagnostics.reward_spread = diagnostics.reward_spread or None

    return observe


def _join(run: Run, parts: Sequence[Run]) -> None:
    """Environment, lineage and model of the whole: those of its first part."""
    write_json(run.path / "env.json", read_json(parts[0].path / "env.json"))
    lineage = read_json(parts[0].path / "lineage.json")
    write_json(run.path / "lineage.json", {**lineage, "parts": [part.path.name for part in parts]})
    if not run.model.exists():
        os.symlink(Path(parts[0].path.name) / "model", run.model)


def _config(plan: Plan) -> Any:
    return plan.config
