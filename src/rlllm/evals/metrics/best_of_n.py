"""`best-of`: what n samples of a problem are worth under every way to choose one answer among them.

The first reward decides what is correct (a value of at least 1); every further reward is a selector. All methods choose from
the same samples, so their differences are paired by problem:

- `pass@k`: a chooser that knows (the ceiling);
- `maj@k` (self-consistency): the most frequent marked answer;
- `weighted@k REWARD`: the answer with the largest sum of the selector's scores;
- `best-of-k REWARD`: the sample with the highest score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, task_of
from rlllm.evals.items import sampled_row
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.reward_values import check_any_judged
from rlllm.evals.statistics.intervals import Interval, mean_interval
from rlllm.evals.statistics.majority_vote import (
    best_of_k,
    majority,
    marked,
    over_subsets,
    vote_weights,
    weighted_majority,
)
from rlllm.evals.statistics.paired_tests import paired_difference
from rlllm.rewards.composition import Composition

_CORRECT = 1.0


@dataclass(frozen=True)
class _Pool:
    """The judged problems: one row of n samples for each, whatever is asked of it."""

    samples: list[list[Sample]]
    correct: list[list[float]]
    selectors: dict[str, list[list[float | None]]]
    """Name of each further reward to its scores, rows and columns as those of the samples."""
    unjudged: int
    """Problems of which the first reward could not judge every sample."""


@dataclass(frozen=True)
class _Method:
    """A way to choose: its name at k samples, and the chance to be right of problem i at k samples."""

    name: str
    at: Callable[[int, int], float]

    def label(self, k: int) -> str:
        return self.name.format(k=k)


def _measure(request: EvalRequest) -> Evaluation:
    """Each method at n samples, their paired differences, and in `extra` their curves over k and the tokens they take.

    A problem is left out, and counted, where the first reward cannot judge each of its samples.

    Raises:
        ConfigError: no reward, or fewer than two samples.
        RewardError: no problem could be judged.
    """
    pool = _pool(request)
    methods = _methods(pool, request.seed)
    n, seed = request.samples, request.seed
    final = {method.label(n): [method.at(problem, n) for problem in range(len(pool.correct))] for method in methods}
    values = {"pass@1": mean_interval(pool.correct, seed)}
    values.update({name: mean_interval([[value] for value in row], seed) for name, row in final.items()})
    values.update(_differences(final, seed))
    silent = {name: sum(set(row) == {None} for row in rows) for name, rows in pool.selectors.items()}
    extra = {
        "unjudged": pool.unjudged,
        "without_score": silent,
        "curves": {method.label(n): _curve(method, pool, request) for method in methods},
        "tokens": _tokens(pool, list(final)),
    }
    return Evaluation(_items(pool), values, extra)


def _pool(request: EvalRequest) -> _Pool:
    rewards = _rewards(request)
    completions = request.draw([task_of(record) for record in request.records])
    scores = rewards.score([sample for row in completions for sample in row]).values
    columns = [_rows(column, request.samples) for column in scores]
    judged = [index for index, row in enumerate(columns[0]) if None not in row]
    check_any_judged(rewards, len(completions), len(judged))
    correct = [[float((value or 0.0) >= _CORRECT) for value in columns[0][index]] for index in judged]
    selectors = {
        name: [rows[index] for index in judged] for name, rows in zip(rewards.names[1:], columns[1:], strict=True)
    }
    return _Pool([completions[index] for index in judged], correct, selectors, len(completions) - len(judged))


def _rewards(request: EvalRequest) -> Composition:
    if request.rewards is None or request.samples < 2:
        raise ConfigError(
            "best-of needs a reward that decides what is correct, and at least 2 samples",
            given=f"samples={request.samples}",
            hint="rlllm eval best-of --reward exact --reward model samples=8",
        )
    return request.rewards


def _methods(pool: _Pool, seed: int) -> list[_Method]:
    answers = [marked([sample.completion for sample in row]) for row in pool.samples]
    methods = [
        _Method("pass@{k}", partial(_best, pool.correct, pool)),
        _Method("maj@{k}", partial(_votes, answers, pool, None, seed)),
    ]
    for name, rows in pool.selectors.items():
        shown = name.replace("{", "{{").replace("}", "}}")
        methods.append(_Method(f"weighted@{{k}} {shown}", partial(_votes, answers, pool, vote_weights(rows), seed)))
        methods.append(_Method(f"best-of-{{k}} {shown}", partial(_best, rows, pool)))
    return methods


def _best(rows: Sequence[Sequence[float | None]], pool: _Pool, problem: int, k: int) -> float:
    return best_of_k(rows[problem], pool.correct[problem], k)


def _votes(
    answers: list[list[str | None]], pool: _Pool, weights: list[list[float]] | None, seed: int, problem: int, k: int
) -> float:
    marked_answers, right = answers[problem], pool.correct[problem]

    def choose(subset: Sequence[int]) -> float:
        part, rights = [marked_answers[i] for i in subset], [right[i] for i in subset]
        if weights is None:
            return majority(part, rights)
        return weighted_majority(part, rights, [weights[problem][i] for i in subset])

    return over_subsets(choose, len(marked_answers), k, seed)


def _differences(final: dict[str, list[float]], seed: int) -> dict[str, Interval]:
    """Every method over every earlier one, the ceiling aside."""
    rivals = {name: row for name, row in final.items() if not name.startswith("pass@")}
    return {
        f"{_short(name)} over {_short(other)}": paired_difference(against, row, seed).interval
        for (name, row), (other, against) in combinations(reversed(rivals.items()), 2)
    }


_LONG = {"maj": "majority"}
"""Kinds that are written out in the name of a difference."""


def _short(label: str) -> str:
    """`best-of-8 model` as `model`, `weighted@8 model` as `weighted model`, `maj@8` as `majority`."""
    method, _, reward = label.partition(" ")
    kind = method.partition("@")[0]
    return reward if method.startswith("best-of-") else f"{_LONG.get(kind, kind)} {reward}".strip()


def _curve(method: _Method, pool: _Pool, request: EvalRequest) -> list[dict[str, Any]]:
    """The method at 1, 2, 4, ... and n samples."""
    n = request.samples
    ks = sorted({*(2**power for power in range(n.bit_length()) if 2**power <= n), n})
    rows = {k: [[method.at(problem, k)] for problem in range(len(pool.correct))] for k in ks}
    return [{"k": k, **mean_interval(values, request.seed).to_json()} for k, values in rows.items()]


def _tokens(pool: _Pool, names: list[str]) -> dict[str, float]:
    """Mean tokens that are sampled for one problem: of one sample, and of all n, which every choice among them takes."""
    per_sample = [sum(sample.tokens or 0 for sample in row) / len(row) for row in pool.samples]
    mean = sum(per_sample) / len(per_sample)
    return {"pass@1": mean, **dict.fromkeys(names, mean * len(pool.samples[0]))}


def _rows(column: Sequence[float | None], width: int) -> list[list[float | None]]:
    return [list(column[start : start + width]) for start in range(0, len(column), width)]


def _items(pool: _Pool) -> list[dict[str, Any]]:
    return [
        sampled_row(row, correct, selectors={name: rows[problem] for name, rows in pool.selectors.items()})
        for problem, (row, correct) in enumerate(zip(pool.samples, pool.correct, strict=True))
    ]


METRIC = Metric(
    name="best-of",
    summary="best of n samples, as chosen by each further reward",
    measure=_measure,
    needs_reward=True,
    needs_model="policy",
    min_samples=2,
    reads=("stop_width",),
)
