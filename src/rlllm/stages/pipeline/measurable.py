"""The names of what a stage measures, as gates write them: those that its settings promise, and the numbers of its results."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.config import StageConfig
from rlllm.evals.registry import DEFAULT_METRIC
from rlllm.stages.evaluate.plan import label_of
from rlllm.stages.evaluate.settings import EvalSettings
from rlllm.training.trainers.sft import SFTSettings

_BY_STAGE: Mapping[str, tuple[str, ...]] = {
    "pretrain": (
        "next-token accuracy",
        "next-token accuracy, no thought",
        "next-token accuracy, another's thought",
        "pass@1",
    ),
    "sft": ("held-out loss",),
    "train-rm": (
        "pair accuracy",
        "first wrong step found",
        "step accuracy",
        "swap-consistent accuracy",
        "verdict accuracy",
        "consistency",
        "share of A",
        "readable verdicts",
    ),
    "align": ("gold utility", "gold win rate", "KL from the start"),
    "reason": (
        "pass@1",
        "pass@1, images swapped",
        "pass@1 of the dialogue",
        "tool calls per rollout",
        "calls per answer",
    ),
}
_OF_REWARDS = ("-utility", "-win-rate")
"""How the names of what `align` measures by each reward end."""
_RATES = ("refused", "one marked answer", "truncated")
_OF_PASS = (
    "score",
    "pass@1, images swapped",
    "pass@1, images removed",
    "over images swapped",
    "over images removed",
    "tool calls per rollout",
    "calls per answer",
    "tokens per answer",
    "entropy",
)


def spelled(name: str) -> str:
    """A name of a measure as gates write it: `held-out loss` is `held-out-loss`; what stands in parentheses is left out."""
    return re.sub(r"[^\w@%+.]+|_", "-", re.sub(r"\(.*?\)", "", name).lower()).strip("-")


_ENDS = ("low", "high")
_PARTS = ("before", "after", "difference")


@dataclass(frozen=True, slots=True)
class Measurable:
    """What a step can measure.

    Args:
        measures: names, as gates write them, of numbers with an interval.
        endings: of further names that are known by how they end only, such as `-utility` of any reward.
        trained: whether there is a `before`, `after`, `difference` and `p` of each.
        open: labels of tasks whose metric says what it measures only when it does.
        anything: whether nothing is known of the names.
    """

    measures: Sequence[str]
    endings: tuple[str, ...] = ()
    trained: bool = False
    open: tuple[str, ...] = ()
    anything: bool = False

    def has(self, name: str) -> bool:
        if self.anything or any(name.startswith(f"{beginning}.") for beginning in self.open):
            return True
        measure, part = name, ""
        for ending in self._parts():
            if ending and name.endswith(f".{ending}") and len(ending) > len(part):
                measure, part = name.removesuffix(f".{ending}"), ending
        return measure in self.measures or bool(self.endings and measure.endswith(self.endings))

    def examples(self) -> list[str]:
        """Names that exist, for a message."""
        parts = ("after", "difference", "p") if self.trained else ("",)
        return [f"{measure}.{part}".strip(".") for measure in self.measures for part in parts]

    def _parts(self) -> Iterator[str]:
        if self.trained:
            yield from (*_PARTS, "p", *(f"{part}.{end}" for part in _PARTS for end in _ENDS))
        yield from _ENDS


def measurable(config: StageConfig) -> Measurable:
    """What a step with these settings can measure."""
    if isinstance(config, EvalSettings):
        return _of_evaluation(config)
    measures = _BY_STAGE.get(config.stage)
    if measures is None:
        return Measurable((), trained=True, anything=True)
    passes = ("pass@1",) if isinstance(config, SFTSettings) and config.eval_reward else ()
    endings = _OF_REWARDS if config.stage == "align" else ()
    return Measurable([spelled(name) for name in (*passes, *measures)], endings, trained=True)


def _of_evaluation(config: EvalSettings) -> Measurable:
    several = range(2, config.samples + 1)
    passes = ["pass@1", *(f"pass@{k}" for k in config.ks or several[-1:]), f"avg@{config.samples}"]
    if config.samples > 1:
        passes.append(f"maj@{config.samples}")
    known, anything = [spelled(name) for name in (*dict.fromkeys(passes), *_RATES, *_OF_PASS)], []
    against = ["against.difference", "against.p"] if config.baseline else []
    labels = {
        label_of(task, config): task.metric == DEFAULT_METRIC and not (task.by or config.by) for task in config.tasks
    }
    measures = []
    for label, closed in labels.items():
        if not closed:
            anything.append(spelled(label))
        beginnings = [f"{spelled(label)}.", *([""] if len(labels) == 1 else [])]
        measures += [
            f"{beginning}{name}" for beginning in beginnings for name in [*(known if closed else []), *against]
        ]
    return Measurable(measures, open=tuple(anything), anything=bool(anything) and len(labels) == 1)


def numbers_of(results: Mapping[str, Any]) -> dict[str, float | None]:
    """Every number of a run's results.json under the name that gates write."""
    found: dict[str, float | None] = {}
    for measure in results.get("measures", []):
        name = spelled(measure["name"])
        for part in _PARTS:
            found |= _interval(f"{name}.{part}", measure.get(part))
        found |= _interval(name, measure.get("after"))
        found[f"{name}.p"] = (measure.get("difference") or {}).get("p_value")
    tasks = results.get("tasks") or {}
    for label, task in tasks.items():
        numbers = _task_numbers(task)
        found |= {f"{spelled(label)}.{name}": number for name, number in numbers.items()}
        if len(tasks) == 1:
            found |= numbers
    return found


def _task_numbers(task: Mapping[str, Any]) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {}
    for name, interval in (*task.get("response_rates", {}).items(), *task["values"].items()):
        numbers |= _interval(spelled(name), interval)
    if against := task.get("against"):
        numbers |= _interval("against.difference", against.get("difference"))
        numbers["against.p"] = (against.get("difference") or {}).get("p_value")
    return numbers


def _interval(name: str, interval: Mapping[str, Any] | None) -> dict[str, float | None]:
    ends = interval or {}
    return {name: _finite(ends.get("estimate")), **{f"{name}.{end}": _finite(ends.get(end)) for end in _ENDS}}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
