"""Response statistics of sampled completions: refusals, marked answers, truncation, curves, diversity, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.records import Sample
from rlllm.evals.statistics.calibration import calibration_error, majority_share
from rlllm.evals.statistics.diversity import diversity
from rlllm.evals.statistics.intervals import Interval, mean_interval
from rlllm.evals.statistics.length_control import accuracy_by_length
from rlllm.evals.statistics.majority_vote import majority, marked
from rlllm.evals.statistics.pass_estimators import all_pass_table, cost_per_success, curve, doubling, pass_table
from rlllm.parsing.answers import has_answer_at_end
from rlllm.rewards.verifiers.refusal import Refusal

_Drawn = Sequence[Sequence[Sample]]
"""For each problem, its completions."""
_Passed = Sequence[Sequence[float]]
"""For each problem, 1 or 0 of each of its completions."""


def response_rates(completions: _Drawn, *, seed: int = 0) -> dict[str, Interval]:
    """Rates over completions, each with its interval over problems:

    - `refused`: the opening words refuse (`rewards.verifiers.refusal`); empty completions are left out.
    - `one marked answer`: exactly one marked final answer, and nothing after it.
    - `truncated`: cut at the length limit before its end-of-sequence token.
    """
    refusal = Refusal()
    refused = [[score for sample in row if (score := refusal(sample).value) is not None] for row in completions]
    rates = {
        "refused": [row for row in refused if row],
        "one marked answer": [[float(has_answer_at_end(sample.completion)) for sample in row] for row in completions],
        "truncated": [[float(sample.truncated) for sample in row] for row in completions],
    }
    return {name: mean_interval(rows, seed) for name, rows in rates.items() if rows}


def majority_interval(answers: Sequence[Sequence[str | None]], passed: _Passed, *, seed: int = 0) -> Interval | None:
    """maj@n: how often the most frequent marked answer is right; None where no completion marks an answer."""
    if not any(answer is not None for row in answers for answer in row):
        return None
    return mean_interval([[majority(*pair)] for pair in zip(answers, passed, strict=True)], seed)


def response_statistics(completions: _Drawn, passed: _Passed, *, seed: int = 0) -> dict[str, Any]:
    """What the report and `--json` show of sampled completions beside the values of the metric.

    - `curve`, `curve_all_pass`: pass@k and pass^k at k = 1, 2, 4, ..., n, rows `k`, `estimate`, `low`, `high`.
    - `tokens_per_correct`: None without a right completion, or where lengths are not known.
    - `response_rates`, `diversity`: by name, see `response_rates` and `evals.statistics.diversity`.
    - `calibration`: error of the majority's share as its confidence; None below 2 samples or without marked answers.
    - `accuracy_by_length`: accuracy in strata of length in characters.
    """
    counts = [(len(row), int(sum(row))) for row in passed]
    ks = doubling(min(n for n, _ in counts))
    texts = [[sample.completion for sample in row] for row in completions]
    return {
        "curve": curve(pass_table(counts, ks), ks, seed=seed),
        "curve_all_pass": curve(all_pass_table(counts, ks), ks, seed=seed),
        "tokens_per_correct": _json(_tokens_per_correct(completions, passed, seed)),
        "response_rates": {
            name: interval.to_json() for name, interval in response_rates(completions, seed=seed).items()
        },
        "diversity": {name: interval.to_json() for name, interval in diversity(texts, seed=seed).items()},
        "calibration": _json(_calibration(texts, passed, seed)),
        "accuracy_by_length": accuracy_by_length(passed, [[len(text) for text in row] for row in texts]),
    }


def _tokens_per_correct(completions: _Drawn, passed: _Passed, seed: int) -> Interval | None:
    lengths = [[sample.tokens for sample in row if sample.tokens is not None] for row in completions]
    if any(len(row_lengths) < len(row) for row_lengths, row in zip(lengths, completions, strict=True)):
        return None
    return cost_per_success([sum(row) for row in lengths], [sum(row) for row in passed], seed=seed)


def _calibration(texts: Sequence[Sequence[str]], passed: _Passed, seed: int) -> Interval | None:
    """Over the problems with a marked answer: who marks nothing has no majority to be sure of."""
    answers = [marked(row) for row in texts]
    voted = [
        (row_answers, right)
        for row_answers, right in zip(answers, passed, strict=True)
        if any(answer is not None for answer in row_answers)
    ]
    if not voted or len(voted[0][0]) < 2:
        return None
    confidence = [majority_share(row_answers) for row_answers, _ in voted]
    return calibration_error(confidence, [majority(*pair) for pair in voted], seed=seed)


def _json(interval: Interval | None) -> dict[str, Any] | None:
    return interval.to_json() if interval else None
