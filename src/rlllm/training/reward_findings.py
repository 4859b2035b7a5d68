"""A reward card out of the outcomes of a bench: counts, shares with intervals, examples, and thresholds that were missed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import StatisticsError, correlation, fmean, quantiles
from typing import Any

from rlllm.core.records import fingerprint, prompt_text
from rlllm.evals.statistics.intervals import Interval, wilson
from rlllm.rewards.bench.cases import Case
from rlllm.rewards.bench.derived_cases import FORM
from rlllm.rewards.bench.reward_hash import code_key
from rlllm.rewards.bench.scoring import TOLERANCE, Outcome
from rlllm.rewards.config import RewardSpec

_EXAMPLES = 5
_EXACT = 1e-6


@dataclass(frozen=True, slots=True)
class KindRow:
    """Cases of one kind."""

    kind: str
    expected: str
    """`pass`, `fail`, `score` (a stated number), or `either`."""
    n: int
    passed: int
    """Scored at or above the threshold; of kind `score`, scored as stated."""
    unjudged: int
    """Scored None."""
    errors: int
    mean: float | None
    """Mean score of those that were judged: what an attack earns that never passes. None where none was."""


@dataclass(frozen=True, slots=True)
class Example:
    """One case that went wrong, cut to what a screen holds."""

    kind: str
    prompt: str
    completion: str
    answer: str | None
    expected: str
    value: float | None
    parsed: str | None
    note: str | None
    """The reward's own note, or its error."""


@dataclass(frozen=True, slots=True)
class Card:
    """What the bench found. Shares come as intervals (Wilson, 95 %) in the form of `Interval.to_json`."""

    reward: str
    params: dict[str, Any]
    key: str
    """Hash of the reward's code, arguments and model."""
    cases: str
    """Where the cases come from, in words."""
    cases_hash: str
    time: str
    accept: float
    """A score of at least this much passes."""
    style: str | None
    """How the derived completions mark their answer; None where all cases were labelled."""
    n: int
    precision: dict[str, Any] | None
    """Right ones among the cases that passed; None if none did, or none is labelled."""
    recall: dict[str, Any] | None
    """Passed ones among the right cases. One that could not be judged did not pass."""
    as_stated: dict[str, Any] | None
    """Cases with a stated score that got it; None if there are none."""
    false_accepts: int
    false_rejects: int
    errors: int
    unjudged: int
    changed: int
    """Cases that got another score in another order."""
    latency_ms: dict[str, float]
    """first (apart from the others: it starts what the reward needs), p50, p95, p99, max; milliseconds for one case."""
    length_correlation: float | None
    """Pearson's correlation of score and length among cases of the same label; None where either is constant."""
    kinds: list[KindRow]
    examples: dict[str, list[Example]] = field(default_factory=dict)
    """false accept, false reject, wrong score, error, fickle -> the first few."""
    reasons: list[str] = field(default_factory=list)
    """Why the reward does not pass."""

    @property
    def ok(self) -> bool:
        """Whether the reward passed all bars."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}


@dataclass(frozen=True, slots=True)
class Bars:
    """What a reward has to reach."""

    accept: float
    """A score of at least this much passes."""
    min_precision: float
    min_recall: float


def card_of(spec: RewardSpec, outcomes: Sequence[Outcome], bars: Bars, *, source: str, style: str | None) -> Card:
    """The card of a reward.

    Args:
        spec: the reward as it was tried.
        outcomes: at least one, in the order in which they were scored.
        bars: what it has to reach.
        source: where the cases come from, in words.
        style: how derived completions mark their answer.
    """
    accept = bars.accept
    passed = [o for o in outcomes if o.case.label is not None and passes(o, accept)]
    right = [o for o in outcomes if o.case.label]
    stated = [o for o in outcomes if o.case.stated is not None]
    faults: dict[str, list[Outcome]] = {
        "false accept": [o for o in passed if not o.case.label],
        "false reject": [o for o in right if not passes(o, accept) and o.error is None],
        "wrong score": [o for o in stated if not _as_stated(o) and o.error is None],
        "error": [o for o in outcomes if o.error is not None],
        "fickle": [o for o in outcomes if o.changed],
    }
    precision = _share(sum(bool(o.case.label) for o in passed), len(passed))
    recall = _share(sum(passes(o, accept) for o in right), len(right))
    return Card(
        reward=spec.name,
        params=dict(spec.params),
        key=code_key(spec),
        cases=source,
        cases_hash=fingerprint([(o.case.sample, o.case.label, o.case.stated) for o in outcomes]),
        time=time.strftime("%Y-%m-%dT%H:%M:%S"),
        accept=accept,
        style=style,
        n=len(outcomes),
        precision=_json(precision),
        recall=_json(recall),
        as_stated=_json(_share(sum(map(_as_stated, stated)), len(stated))),
        false_accepts=len(faults["false accept"]),
        false_rejects=len(faults["false reject"]),
        errors=len(faults["error"]),
        unjudged=sum(o.score is not None and o.value is None for o in outcomes),
        changed=len(faults["fickle"]),
        latency_ms=_latency([o.seconds for o in outcomes]),
        length_correlation=_length_correlation(outcomes),
        kinds=_kinds(outcomes, accept),
        examples={name: _examples(outcomes) for name, outcomes in faults.items() if outcomes},
        reasons=_reasons(bars, precision, recall, faults),
    )


def _json(interval: Interval | None) -> dict[str, Any] | None:
    return interval.to_json() if interval else None


def _share(part: int, whole: int) -> Interval | None:
    return wilson(part, whole) if whole else None


def passes(outcome: Outcome, accept: float) -> bool:
    """Whether the reward judged the case, and gave it at least `accept`."""
    return outcome.value is not None and outcome.value >= accept


def _as_stated(outcome: Outcome) -> bool:
    stated = outcome.case.stated
    if stated is None or outcome.score is None:
        return False
    if outcome.value is None or stated.value is None:
        return outcome.value is None and stated.value is None
    return abs(outcome.value - stated.value) <= _EXACT * max(1.0, abs(stated.value))


def _reasons(
    bars: Bars, precision: Interval | None, recall: Interval | None, faults: Mapping[str, Sequence[Outcome]]
) -> list[str]:
    """Every bar that was missed, the gravest first."""
    reasons = []
    if precision and precision.estimate < bars.min_precision:
        kinds = Counter(o.case.kind for o in faults["false accept"])
        reasons.append(
            f"precision {precision.format(3)} is below {bars.min_precision:g}: it accepts what is wrong "
            f"({', '.join(f'{kind} {n}' for kind, n in kinds.most_common(3))})"
        )
    if recall and recall.estimate < bars.min_recall:
        reasons.append(f"recall {recall.format(3)} is below {bars.min_recall:g}: it rejects what is right")
    for name, words in (
        ("wrong score", "got another score than the one stated"),
        ("error", "failed"),
        ("fickle", f"got another score when scored again (by more than {TOLERANCE:g})"),
    ):
        if faults[name]:
            reasons.append(f"{len(faults[name])} cases {words}")
    return reasons


def _latency(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds for one case; the first stands apart from the percentiles."""
    rest = seconds[1:] or seconds
    cuts = quantiles(rest, n=100, method="inclusive") if len(rest) > 1 else [rest[0]] * 99
    named = {"first": seconds[0], "p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(rest)}
    return {name: round(1000 * value, 4) for name, value in named.items()}


def _length_correlation(outcomes: Sequence[Outcome]) -> float | None:
    """Pearson's correlation of score and characters, both as the difference from the mean of the cases of that label."""
    scores: list[float] = []
    lengths: list[float] = []
    for label in (True, False):
        group = [(o.value, len(o.case.sample.completion)) for o in outcomes if o.case.label is label]
        scored = [(value, length) for value, length in group if value is not None]
        if scored:
            value_mean, length_mean = fmean(v for v, _ in scored), fmean(length for _, length in scored)
            scores += [value - value_mean for value, _ in scored]
            lengths += [length - length_mean for _, length in scored]
    try:
        return round(correlation(scores, lengths), 4)
    except StatisticsError:  # fewer than two cases, or one of the two does not vary
        return None


def _kinds(outcomes: Sequence[Outcome], accept: float) -> list[KindRow]:
    """One row for each kind and expectation, in the order of the cases; forms last."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        expected = "score" if outcome.case.stated is not None else _expected(outcome.case)
        groups.setdefault((outcome.case.kind, expected), []).append(outcome)
    rows = [
        KindRow(
            kind=kind,
            expected=expected,
            n=len(group),
            passed=sum(_as_stated(o) if expected == "score" else passes(o, accept) for o in group),
            unjudged=sum(o.score is not None and o.value is None for o in group),
            errors=sum(o.error is not None for o in group),
            mean=_mean(group),
        )
        for (kind, expected), group in groups.items()
    ]
    return sorted(rows, key=lambda row: row.kind.startswith(FORM))


def _mean(group: Sequence[Outcome]) -> float | None:
    values = [outcome.value for outcome in group if outcome.value is not None]
    return round(fmean(values), 4) if values else None


def _expected(case: Case) -> str:
    if case.stated is not None:
        return "None" if case.stated.value is None else f"{case.stated.value:g}"
    return "either" if case.label is None else "pass" if case.label else "fail"


def _examples(outcomes: Sequence[Outcome]) -> list[Example]:
    """The first few, one of each kind before a second of any."""
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, int, Outcome]] = []
    for outcome in outcomes:
        ranked.append((seen[outcome.case.kind], len(ranked), outcome))
        seen[outcome.case.kind] += 1
    return [_example(outcome) for _, _, outcome in sorted(ranked, key=lambda row: row[:2])[:_EXAMPLES]]


def _example(outcome: Outcome) -> Example:
    sample, score = outcome.case.sample, outcome.score
    return Example(
        kind=outcome.case.kind,
        prompt=_cut(prompt_text(sample.prompt)),
        completion=_cut(sample.completion),
        answer=_cut(sample.answer) if sample.answer is not None else None,
        expected=_expected(outcome.case),
        value=outcome.value,
        parsed=_cut(score.parsed) if score and score.parsed is not None else None,
        note=outcome.error or (score.note if score else None),
    )


def _cut(text: str, width: int = 160) -> str:
    """Both ends of a long text: answers stand at the end."""
    return text if len(text) <= width else f"{text[: width // 3]} ... {text[-(2 * width) // 3 :]}"
