"""`rlllm plan`: a planned run with what a probe of its first steps says of its memory, its time and its chances to learn."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from rlllm.core.config import StageConfig
from rlllm.core.errors import ConfigError
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.core.hardware import bytes_text
from rlllm.core.interval_text import interval_text
from rlllm.evals.statistics.intervals import Interval, item_means
from rlllm.evals.statistics.power import AGREEMENT, detectable, minimum_detectable_effect
from rlllm.launch import memory_use
from rlllm.launch.topology import processes_of
from rlllm.stages.catalog import plan as plan_of
from rlllm.tools.planning.learning import Learning, advice_of, learning_of, verdict_of
from rlllm.training.cost import Cost, cost_of, steps_of
from rlllm.training.memory import memory_of
from rlllm.training.plan import ExperimentPlan, Plan, RLPlan
from rlllm.training.probe import Probe, probe
from rlllm.training.row_checks import look_at_templates
from rlllm.training.storage import Room, planned_room

SECONDS = 20.0
"""How long the steps of a probe may take, about."""
_MACHINE = 0.1
"""By how much a machine is slower or faster from one time to the next, as a share; a probe cannot see it."""
_FEWEST = 6
"""Items that have to change, all in one direction, before a sign test says so (2 / 2^6 < 0.05)."""
_SLACK = 1.1
"""Memory is called enough where it holds this much more than is expected."""


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of a whole run; the interval holds 80 % where completions keep their length.

    Args:
        total: all of it.
        step: of one optimizer step.
        phases: name -> seconds of one step: generate, score, train.
        steps: optimizer steps.
        measuring: seconds of all measurements of held-out rows.
        loading: seconds before the first step.
        longest: seconds of the whole run if all completions reach the limit; None where nothing is sampled.
        runs: whole runs, one after another.
    """

    total: Interval
    step: float
    phases: Mapping[str, float]
    steps: int
    measuring: float
    loading: float
    longest: float | None
    runs: int


@dataclass(frozen=True)
class Forecast:
    """A planned run and what is expected of it.

    Args:
        plan: what `--dry-run` shows.
        cost: counts of a run that samples.
        parts: name -> bytes, by arithmetic.
        room: what model and checkpoints take of the disk, by arithmetic.
        probe: the first steps; None where they were not tried.
        unprobed: why not.
        duration: time; None without a probe.
        learning: what the probe's rollouts say; None where nothing is sampled.
        smallest_gain: name of a measure -> the smallest true gain that the run's held-out rows can show.
        findings: what the chat template does to rows.
    """

    plan: Plan[Any]
    cost: Cost | None
    parts: Mapping[str, float] | None
    room: Room | None
    probe: Probe | None
    unprobed: str
    duration: Duration | None
    learning: Learning | None
    smallest_gain: Mapping[str, float]
    findings: Sequence[str]

    @property
    def verdict(self) -> tuple[str, str] | None:
        """Whether the run can learn: `can`, `hardly`, `cannot` or `unknown`, and why; None where nothing is sampled."""
        return verdict_of(self.plan, self.learning) if self.learning and isinstance(self.plan, RLPlan) else None

    @property
    def memory(self) -> int | None:
        """Bytes above those of Python and its libraries at the highest point of the run."""
        if self.probe is not None:
            return self.probe.used
        return round(sum(self.parts.values())) if self.parts else None

    @property
    def fits(self) -> bool | None:
        """Whether it fits into what is free of the device's memory; None if not known."""
        free = self.probe.free if self.probe else None
        return None if free is None or self.memory is None else self.memory * _SLACK <= free

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against starting the run."""
        return (
            self.fits is not False and (self.verdict is None or self.verdict[0] != "cannot") and not self._disk_is_short
        )

    @property
    def _disk_is_short(self) -> bool:
        return self.room is not None and self.room.needed > self.room.free

    def lines(self) -> Iterator[tuple[str, str]]:
        """Label and value rows for a person."""
        yield from self.plan.lines()
        yield from (("warning", text) for text in self.findings)
        yield from self.cost.lines() if self.cost else ()
        yield from self._memory_lines()
        yield from self._time_lines()
        yield from self._learning_lines()
        for name, gain in self.smallest_gain.items():
            yield (
                "smallest gain",
                f"{name}: {self._held_out} show a true difference of {gain:.3g} 4 times in 5, a smaller one more seldom",
            )

    @property
    def _held_out(self) -> str:
        return f"{len(self.plan.measured_on):,} held-out rows"

    def _memory_lines(self) -> Iterator[tuple[str, str]]:
        if self.probe is None:
            if self.parts:
                yield (
                    "expected",
                    f"{bytes_text(self.memory or 0)} in each process ({_sizes(self.parts)}), by arithmetic",
                )
            yield "probe", f"not tried: {self.unprobed}"
        else:
            free = bytes_text(self.probe.free) if self.probe.free else "not known"
            yield (
                "fits" if self.fits is not False else "does not fit",
                f"{bytes_text(self.probe.used)} at most in the probe, above {bytes_text(self.probe.empty)} of Python and its "
                f"libraries; free: {free} ({self.probe.device})",
            )
            yield (
                "",
                f"stays: {_sizes(self.probe.held)}, data and the trainer's libraries {bytes_text(self.probe.beside)}",
            )
            passing = {name: size for name, size in (self.parts or {}).items() if name in _PASSING}
            estimated = f"; by arithmetic, at the greatest length: {_sizes(passing)}" if passing else ""
            yield "", f"comes and goes: {bytes_text(self.probe.passing)}{estimated}"
        if (room := self.room) is not None:
            kept = f"{room.kept} {'checkpoint' if room.kept == 1 else 'checkpoints'}"
            needed = f"{bytes_text(room.needed)} for the model and {kept} of {bytes_text(room.checkpoint)}"
            yield (
                "disk is full" if self._disk_is_short else "disk",
                f"{needed}; free: {bytes_text(room.free)}",
            )

    def _time_lines(self) -> Iterator[tuple[str, str]]:
        time = self.duration
        if time is None:
            return
        runs = f"{time.runs} runs: " if time.runs > 1 else ""
        total, low, high = (seconds_text(value) for value in (time.total.estimate, time.total.low, time.total.high))
        yield "time", f"{runs}{total}, 80 %: {low} to {high}"
        phases = ", ".join(f"{name} {1000 * value:.3g} ms" for name, value in time.phases.items())
        yield (
            "",
            f"{time.steps:,} steps of {1000 * time.step:.3g} ms ({phases}), measuring {seconds_text(time.measuring)}",
        )
        if time.longest is not None:
            yield "", f"if all completions reach the limit: {seconds_text(time.longest)}"

    def _learning_lines(self) -> Iterator[tuple[str, str]]:
        found = self.learning
        if found is None or self.verdict is None or not isinstance(self.plan, RLPlan):
            return
        yield "learning", self.verdict[1]
        yield "", f"from {found.completions:,} completions of {found.prompts:,} prompts; intervals hold 80 %"
        if found.passes:
            yield "", f"{self.plan.rewards.names[0]} passes {_share(found.passes)}, mean reward {_share(found.reward)}"
        else:
            yield "", f"mean reward {_share(found.reward)}"
        if found.group_size > 1:
            shares = ", ".join(f"G={size} {_share(share)}" for size, share in found.mixed.items())
            yield "", f"mixed groups: {shares}"
        yield (
            "",
            f"cut at the limit {_share(found.cut)}; tokens: {found.tokens[0]:.0f} on average, {found.tokens[1]} at most",
        )
        for number, text in enumerate(advice_of(self.plan, found)):
            yield "advice" if number == 0 else "", text

    def to_json(self) -> dict[str, Any]:
        from dataclasses import asdict

        tried, time = self.probe, self.duration
        return {
            "plan": self.plan.to_json(),
            "cost": self.cost.to_json() if self.cost else None,
            "template": list(self.findings),
            "memory": {
                "expected": self.memory,
                "by_arithmetic": dict(self.parts) if self.parts else None,
                "held": dict(tried.held) if tried else None,
                "beside": tried.beside if tried else None,
                "passing": tried.passing if tried else None,
                "free": tried.free if tried else None,
                "fits": self.fits,
            },
            "disk": self.room.to_json() if self.room else None,
            "time": {**asdict(time), "total": time.total.to_json()} if time else None,
            "learning": self._learning_json(),
            "smallest_gain": dict(self.smallest_gain),
            "unprobed": self.unprobed,
            "ok": self.ok,
        }

    def _learning_json(self) -> dict[str, Any] | None:
        if self.learning is None or self.verdict is None or not isinstance(self.plan, RLPlan):
            return None
        answer, why = self.verdict
        advice = list(advice_of(self.plan, self.learning))
        return {"answer": answer, "why": why, "advice": advice, **self.learning.to_json()}


_PASSING = ("activations", "logits", "keys and values")


def forecast(config: StageConfig, progress: ProgressCallback | None = None, seconds: float = SECONDS) -> Forecast:
    """Plan a run, try its first steps, and say what is to be expected. Nothing is written.

    Args:
        config: settings of a training verb.
        progress: told the phases; silent by default.
        seconds: how long the steps of the probe may take, about.

    Raises:
        RlllmError: what the run itself would raise before or in its first steps.
    """
    plan = plan_of(config)
    if not isinstance(plan, Plan):
        raise ConfigError("only what trains is planned", given=config.stage, hint=f"rlllm {config.stage} ... --dry-run")
    parts, unprobed = memory_of(plan), _why_not(plan)
    tried = None if unprobed else probe(plan, progress or NullProgress(), seconds)
    cost = cost_of(plan)
    learning = None
    if tried and tried.samples and isinstance(plan, RLPlan):
        groups = cost.completions // plan.batches.group_size if cost else plan.batches.prompts_per_rollout
        learning = learning_of(plan, tried.samples, groups)
    return Forecast(
        plan=plan,
        cost=cost,
        parts=parts,
        room=planned_room(plan),
        probe=tried,
        unprobed=unprobed,
        duration=_duration(plan, tried) if tried else None,
        learning=learning,
        smallest_gain=_smallest_gains(plan, tried, learning) if tried else {},
        findings=look_at_templates(plan),
    )


def _why_not(plan: Plan[Any]) -> str:
    """Why the first steps cannot be tried here; empty if they can."""
    if processes_of(plan.config.launch) > 1:
        return f"launch={plan.config.launch.name} starts several processes, and a probe is one"
    if hasattr(plan.config, "iterations"):
        return f"{plan.method.name} trains in rounds, each on pairs of what the model writes by then"
    if len(plan.loaded.train) < plan.rows_needed:
        return f"one step takes {plan.rows_needed} rows, and there are {len(plan.loaded.train)}"
    parts, free = memory_of(plan), memory_use.free("cuda" if _has_gpu() else "cpu")
    stays = sum(size for name, size in (parts or {}).items() if name not in _PASSING)
    if free is not None and stays > free:
        return f"it does not fit: what stays in memory takes {bytes_text(stays)}, and {bytes_text(free)} are free"
    return ""


def _has_gpu() -> bool:
    return shutil.which("nvidia-smi") is not None


def _duration(plan: Plan[Any], tried: Probe) -> Duration:
    from scipy.stats import t

    per_rollout, steps = plan.steps_per_rollout, steps_of(plan)
    runs = len(plan.runs) if isinstance(plan, ExperimentPlan) else getattr(plan.config, "members", 1)
    rounds = [tried.steps[at : at + per_rollout] for at in range(0, len(tried.steps), per_rollout)]
    seconds = [sum(step.seconds for step in part) / len(part) for part in (rounds[1:] or rounds)]
    mean, spread = fmean(seconds), stdev(seconds) if len(seconds) > 1 else fmean(seconds) / 2
    seen = [step for part in (rounds[1:] or rounds) for step in part]
    phases = {name: sum(step.phases.get(name, 0.0) for step in seen) / len(seen) for name in ("generate", "score")}
    phases = {name: value for name, value in phases.items() if value}
    phases["train"] = mean - sum(phases.values())
    rows = len(plan.measured_on)
    times = 2 + (plan.evaluations.count(plan) or 0 if plan.evaluations else 0)
    measuring = times * tried.measured_seconds * rows / tried.measured_rows if tried.measured_rows else 0.0
    first = sum(step.seconds for step in rounds[0]) - per_rollout * mean if len(rounds) > 1 else 0.0
    rest = tried.loading_seconds + measuring + max(first, 0.0)
    total = runs * (rest + steps * mean)
    drawn = spread * math.sqrt(1 / len(seconds) + per_rollout / steps) * steps
    wide = float(t.ppf(0.9, max(len(seconds) - 1, 1))) * drawn * runs
    wide = 1 + math.hypot(wide, _MACHINE * total) / total
    tokens = [row["tokens"] or 0 for row in tried.samples]
    longer = plan.config.rollout.max_new_tokens / max(fmean(tokens), 1) if tokens else None
    return Duration(
        total=Interval(total, total / wide, total * wide, len(seconds), "probe"),
        step=mean,
        phases=phases,
        steps=steps,
        measuring=measuring,
        loading=tried.loading_seconds,
        longest=None if longer is None else runs * (rest + steps * mean * max(longer, 1.0)),
        runs=runs,
    )


def _smallest_gains(plan: Plan[Any], tried: Probe, learning: Learning | None) -> dict[str, float]:
    """Of every measure, the smallest true difference that the held-out rows of the run show 4 times in 5."""
    found = {}
    rows = len(plan.measured_on)
    for measure in tried.measured:
        scores = [row for row in measure.scores if row]
        if measure.from_start or not scores:
            continue
        means, samples = item_means(scores), len(scores[0])
        rate = fmean(means)
        if set(map(float, (score for row in scores for score in row))) <= {0.0, 1.0}:
            rate = min(max(rate, 1 / (len(means) * samples + 1)), 1 - 1 / (len(means) * samples + 1))
            between = learning.between if learning else 0.5
            effect = minimum_detectable_effect(rows, samples, paired=True, rate=rate, between=between)
            found[measure.name] = min(1.0, max(effect, _FEWEST / rows))
        elif len(means) > 1:
            error = stdev(means) * math.sqrt(2 * (1 - AGREEMENT) / rows)
            found[measure.name] = detectable(error)
    return found


def _sizes(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {bytes_text(size)}" for name, size in parts.items())


def _share(value: Interval) -> str:
    return interval_text(value.to_json(), ".2f")


def seconds_text(seconds: float) -> str:
    """Seconds for a person: `42 s`, `3 min 20 s`, `5 h 12 min`."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{int(seconds) // 60} min {int(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"
