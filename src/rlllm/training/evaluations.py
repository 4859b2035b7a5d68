"""Evaluations during training, as they are planned: when, on which held-out rows, and what follows from them.

An evaluation during training is the run's own measurement, before and after, of the model as it is at a step. Where it decides
something (the step whose weights are kept, the end of the run), it takes held-out rows that the measurement after training
does not: the best of several evaluations is too high on average, and the rows that chose it cannot say by how much.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.interval_text import interval_text
from rlllm.data.load import split_key

Row = dict[str, Any]
"""One evaluation: `step`, `rows`, `seconds`, `measures`, the main one first, and `reward_counts`, what rewards were given
and failed on in all evaluations so far; as `evaluations.jsonl` has it."""


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """The evaluations of a run.

    Args:
        every: optimizer steps from one to the next; there is one at the start, too.
        holdout: held-out records that they may take.
        rows: how many of them are taken.
        apart: whether the measurement before and after takes other records.
        keep: whose weights become the model: `last` or `best`.
        stop_after: evaluations in a row without a gain after which the run ends; 0 never does.
    """

    every: int
    holdout: tuple[Any, ...]
    rows: int
    apart: bool
    keep: str = "last"
    stop_after: int = 0

    def asked(self, plan: Any) -> Any:
        """The plan of one evaluation: its rows in the place of the held-out ones, and rewards that count failures apart."""
        config = plan.config
        return replace(
            plan,
            loaded=replace(plan.loaded, holdout=list(self.holdout)),
            config=config.model_copy(update={"eval": config.eval.model_copy(update={"rows": self.rows})}),
            rewards=plan.rewards and plan.rewards.counted_apart(),
            eval_reward=plan.eval_reward and plan.eval_reward.counted_apart(),
        )

    def lines(self, plan: Any) -> Iterator[tuple[str, str]]:
        """Label and value rows of a plan: how many evaluations, what they cost, and what they decide."""
        count, cost = self.count(plan), self.cost(plan)
        how_many = f"{count} evaluations, one at the start" if count else "evaluations, one at the start"
        answers = f"; {cost['completions']:,} completions" if cost.get("completions") else ""
        tokens = f", at most {cost['tokens']:,} tokens sampled" if cost.get("tokens") else ""
        rows = f"{self.rows:,} held-out rows{'' if self.apart else ' of those of before and after'}"
        steps = "step" if self.every == 1 else f"{self.every} steps"
        yield "during", f"every {steps}: {how_many}, at {rows}{answers}{tokens}"
        if self.keep == "best":
            yield "", "the model is that of the step with the best evaluation, measured afterwards on other rows"
        if self.stop_after:
            yield "", f"ends after {self.stop_after} evaluations in a row that are no better than the best before them"

    def count(self, plan: Any) -> int | None:
        """Evaluations of a run that does not end early, with that at the start; None where the data decides the steps."""
        steps = plan.setting("max_steps")
        if steps <= 0:
            return None
        last = 1 if self.keep == "best" and steps % self.every else 0
        return int(1 + steps // self.every + last)

    def cost(self, plan: Any) -> dict[str, int]:
        """Completions and tokens that all evaluations sample at most; empty where they sample none or their number is open."""
        count = self.count(plan)
        samples = getattr(plan.config.eval, "samples", 0)
        sampled = plan.rewards or plan.eval_reward
        if not (count and samples and sampled):
            return {}
        completions = count * self.rows * samples
        return {"completions": completions, "tokens": completions * plan.config.rollout.max_new_tokens}

    def to_json(self, plan: Any) -> dict[str, Any]:
        return {
            "every": self.every,
            "rows": self.rows,
            "apart": self.apart,
            "keep": self.keep,
            "stop_after": self.stop_after,
            "evaluations": self.count(plan),
            **self.cost(plan),
        }


def evaluations_of(plan: Any) -> EvaluationPlan | None:
    """The evaluations during training of a plan; None without any.

    Raises:
        ConfigError: settings that nothing reads, or too few held-out rows.
    """
    config = plan.config.eval
    decides = {"eval.keep=best": config.keep == "best", f"eval.stop_after={config.stop_after}": config.stop_after > 0}
    given = [name for name, is_given in decides.items() if is_given]
    if not config.every:
        unread = [*given, *([f"eval.during_rows={config.during_rows}"] if config.during_rows else [])]
        if unread:
            raise ConfigError(
                "nothing is evaluated during training",
                given=", ".join(unread),
                hint="eval.every=10 evaluates every 10 steps",
            )
        return None
    if not plan.measured_on:
        raise ConfigError(
            "no rows are held out to evaluate during training",
            given=f"eval.every={config.every}, eval.rows={config.rows}, {len(plan.loaded.holdout)} rows held out",
            hint="data.holdout=256 eval.rows=128",
        )
    held_out = plan.loaded.holdout
    free = _left(held_out, plan) if given else list(held_out)
    there = _countable(free, plan)
    rows = config.during_rows or min(config.rows, there)
    if not there or rows > there:
        raise _too_few(plan, rows or 1, there, given)
    return EvaluationPlan(config.every, tuple(free), rows, bool(given), config.keep, config.stop_after)


def check_evaluations(plan: Any) -> None:
    """Refuse evaluations that a run cannot make, or that would decide what they must not.

    Raises:
        ConfigError: with the reason.
    """
    evaluations = plan.evaluations
    if evaluations is None:
        return
    config = plan.config
    given = f"eval.every={evaluations.every}"
    if 0 < plan.setting("max_steps") < evaluations.every:
        raise ConfigError(
            "the run ends before its first evaluation", given=f"{given}, max_steps={plan.setting('max_steps')}"
        )
    if config.stage == "align" and plan.rewards is None and plan.eval_reward is None:
        raise ConfigError(
            "nothing measures completions here", given=given, hint="--eval-reward RUN, or a name from: rlllm rewards ls"
        )
    if "dialogue" in getattr(plan, "slots", {}):
        raise ConfigError(
            "answers by dialogue are measured before and after training only",
            given=f"{given}, dialogue={plan.slots['dialogue'].name}",
            hint="leave eval.every out",
        )
    if evaluations.stop_after and getattr(config, "controls", []):
        raise ConfigError(
            "runs beside their controls take equally many steps, and one that ends early would not",
            given=f"eval.stop_after={evaluations.stop_after}, controls={','.join(config.controls)}",
            hint="leave one out",
        )
    boundary = plan.steps_per_rollout
    if evaluations.keep == "best" and evaluations.every % boundary:
        below = max(evaluations.every // boundary, 1) * boundary
        raise ConfigError(
            "the best model is kept as a checkpoint, and this one would fall inside a rollout",
            given=f"{given}, one rollout lasts {boundary} optimizer steps",
            hint=f"eval.every={below} or eval.every={below + boundary}",
        )


def refuse_evaluations(plan: Any, what: str) -> None:
    """Raise ConfigError where evaluations during training are asked for, and `what` makes none."""
    if plan.config.eval.every:
        raise ConfigError(
            f"{what} are measured before and after only",
            given=f"eval.every={plan.config.eval.every}",
            hint="leave it out",
        )


def _left(held_out: Sequence[Any], plan: Any) -> list[Any]:
    """The held-out records with prompts that the measurement before and after does not take."""
    if plan.config.stage == "align":  # it takes so many different prompts
        reported = set(list(dict.fromkeys(map(split_key, held_out)))[: plan.config.eval.rows])
    else:
        reported = set(map(split_key, plan.measured_on))
    return [record for record in held_out if split_key(record) not in reported]


def _countable(records: Sequence[Any], plan: Any) -> int:
    """Rows that a measurement finds in these records: different prompts where it answers them, else all."""
    return len(set(map(split_key, records))) if plan.config.stage == "align" else len(records)


def _too_few(plan: Any, wanted: int, there: int, given: Sequence[str]) -> ConfigError:
    config, held_out = plan.config.eval, len(plan.loaded.holdout)
    if not given:
        return ConfigError(
            f"{wanted} held-out rows are to be evaluated during training, and there are {there}",
            given=f"eval.during_rows={config.during_rows}",
            hint=f"eval.during_rows={there}, or raise data.holdout",
        )
    half = max(1, held_out // 2)
    return ConfigError(
        f"rows that choose cannot report as well: {wanted} more held-out rows are needed than the {config.rows} that are "
        f"measured before and after, and {there} are left",
        given=f"{', '.join(given)}, eval.rows={config.rows}, {held_out} rows held out",
        hint=f"data.holdout={config.rows + wanted}, or eval.rows={half}"
        + (f" eval.during_rows={held_out - half}" if config.during_rows else ""),
    )


def value_of(row: Row) -> float:
    """The main measure of one evaluation."""
    return float(row["measures"][0]["value"]["estimate"])


def better(row: Row, than: Row) -> bool:
    """Whether the main measure of one evaluation is better than that of another, by its value."""
    mine, other = value_of(row), value_of(than)
    return mine > other if row["measures"][0]["higher_is_better"] else mine < other


def best_of(history: Sequence[Row], *, from_step: int = 0) -> Row | None:
    """The evaluation with the best main measure, of several equal ones the first; None where there is none."""
    best: Row | None = None
    for row in history:
        if row["step"] >= from_step and (best is None or better(row, best)):
            best = row
    return best


def without_gain(history: Sequence[Row]) -> int:
    """Evaluations since the best one, that of the start included."""
    best = best_of(history)
    return 0 if best is None else sum(row["step"] > best["step"] for row in history)


def evaluation_text(row: Row) -> str:
    """One evaluation in words: `pass@1 0.412 [0.360, 0.466], +0.051 [0.010, 0.092] since the start`."""
    main = row["measures"][0]
    change = main.get("difference")
    since = f", {interval_text(change, '+.3f', '.3f')} since the start" if change else ""
    return f"{main['name']} {interval_text(main['value'])}{since}"


def summary_of(history: Sequence[Row], evaluations: EvaluationPlan) -> dict[str, Any]:
    """What `results.json` says of the evaluations; empty where none was made after a step."""
    trained = [row for row in history if row["step"] > 0]
    if not trained:
        return {}
    best = best_of(trained)
    assert best is not None
    main, kept = best["measures"][0], best if evaluations.keep == "best" else trained[-1]
    summary = {
        "measure": main["name"],
        "higher_is_better": main["higher_is_better"],
        "rows": best["rows"],
        "evaluations": len(trained),
        "best": {"step": best["step"], "value": main["value"]},
    }
    if evaluations.keep != "best":
        return summary
    flattered = "high" if main["higher_is_better"] else "low"
    of_several = f", the best of {len(trained)} and so too {flattered} on average" if len(trained) > 1 else ""
    text = (
        f"the model is that of step {kept['step']}, chosen on {best['rows']} held-out rows ({main['name']} "
        f"{interval_text(main['value'])} there{of_several}); before and after were measured on others"
    )
    return {**summary, "kept": kept["step"], "text": text}


def logged(row: Row) -> dict[str, float]:
    """The numbers of one evaluation under the names of transformers: `eval_NAME`, with its bounds behind it."""
    numbers: dict[str, float] = {}
    for measure in row["measures"]:
        name = "eval_" + measure["name"].replace(" ", "_").replace(",", "")
        value = measure["value"] or {}
        for key, end in ((name, "estimate"), (f"{name}_low", "low"), (f"{name}_high", "high")):
            if value.get(end) is not None and math.isfinite(value[end]):
                numbers[key] = float(value[end])
    return {**numbers, "eval_runtime": float(row["seconds"])}
