"""The `best-of` metric: of n samples, how good is the one that a reward picks?

The first reward decides what is correct (a value of at least 1); every further reward is a selector. All selectors choose
from the same samples, so their differences are paired by problem.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from rlllm.core.answers import extract_answer
from rlllm.core.errors import ConfigError, RewardError
from rlllm.core.records import Sample, task_of
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.sampling import sample, task_id
from rlllm.evals.statistics import Interval, mean_interval, paired_difference

CORRECT = 1.0


def evaluate_selection(request: EvalRequest) -> Evaluation:
    """pass@1 and pass@n of the samples, majority vote, best-of-n by each selector, and their paired differences.

    A problem is left out, and counted, where the first reward cannot judge each of its samples.
    """
    rewards = request.rewards
    if rewards is None or request.samples < 2:
        raise ConfigError(
            "best-of needs a reward that decides what is correct, and at least 2 samples",
            given=f"samples={request.samples}",
            hint="rlllm eval best-of --reward exact --reward model samples=8",
        )
    model, tokenizer = request.policy()
    tasks = [task_of(record) for record in request.records]
    drawn = sample(model, tokenizer, tasks, request.sampling, samples=request.samples, seed=request.seed)
    scores = rewards.score([one for row in drawn for one in row]).values
    columns = [_rows(column, request.samples) for column in scores]
    judged = [index for index, row in enumerate(columns[0]) if None not in row]
    if not judged:
        raise RewardError(
            f"the reward {rewards.names[0]} could not judge all samples of any problem",
            hint="the first reward says what is correct; it must fit the data",
        )
    correct = [[float((value or 0.0) >= CORRECT) for value in columns[0][index]] for index in judged]
    texts = [[one.completion for one in drawn[index]] for index in judged]
    chosen = {f"majority@{request.samples}": [majority(*pair) for pair in zip(texts, correct, strict=True)]}
    selectors = dict(zip(rewards.names[1:], columns[1:], strict=True))
    for name, rows in selectors.items():
        picks = [best_of(rows[index], right) for index, right in zip(judged, correct, strict=True)]
        chosen[f"best-of-{request.samples} {name}"] = picks
    items = [
        _item(drawn[index], right, {name: rows[index] for name, rows in selectors.items()})
        for index, right in zip(judged, correct, strict=True)
    ]
    silent = {name: sum(set(rows[index]) == {None} for index in judged) for name, rows in selectors.items()}
    extra = {"unjudged": len(drawn) - len(judged), "without_score": silent}
    return Evaluation(items, _values(correct, chosen, request), extra)


def best_of(scores: Sequence[float | None], correct: Sequence[float]) -> float:
    """Chance that the sample with the highest score is correct; equals share evenly.

    A sample without a score (None) is chosen only where no sample has one.
    """
    known = [value for value in scores if value is not None]
    best = max(known) if known else None
    tied = [right for value, right in zip(scores, correct, strict=True) if value == best]
    return sum(tied) / len(tied)


def majority(completions: Sequence[str], correct: Sequence[float]) -> float:
    """Chance that the most frequent marked answer is correct; equals share evenly, and nobody voting counts as wrong.

    Answers are one when their texts are; an unmarked answer has no vote.
    Source: Wang et al. 2022, arXiv 2203.11171 (self-consistency).
    """
    votes: dict[str, list[float]] = defaultdict(list)
    for completion, right in zip(completions, correct, strict=True):
        answer = extract_answer(completion)
        if answer is not None:
            votes[answer].append(right)
    if not votes:
        return 0.0
    most = max(map(len, votes.values()))
    winners = [sum(rights) / len(rights) for rights in votes.values() if len(rights) == most]
    return sum(winners) / len(winners)


def _rows(column: Sequence[float | None], width: int) -> list[list[float | None]]:
    return [list(column[start : start + width]) for start in range(0, len(column), width)]


def _item(samples: Sequence[Sample], correct: list[float], selectors: dict[str, list[float | None]]) -> dict[str, Any]:
    return {
        "id": task_id(samples[0].prompt, samples[0].answer),
        "scores": correct,
        "prompt": samples[0].prompt,
        "answer": samples[0].answer,
        "completions": [one.completion for one in samples],
        "selectors": selectors,
    }


def _values(correct: list[list[float]], chosen: dict[str, list[float]], request: EvalRequest) -> dict[str, Interval]:
    values = {
        "pass@1": mean_interval(correct, request.seed),
        f"pass@{request.samples}": mean_interval([[max(row)] for row in correct], request.seed),
    }
    values.update({name: mean_interval([[v] for v in row], request.seed) for name, row in chosen.items()})
    for (name, row), (other, against) in combinations(reversed(chosen.items()), 2):
        values[f"{_short(name)} over {_short(other)}"] = paired_difference(against, row, request.seed).interval
    return values


def _short(name: str) -> str:
    return name.rpartition(" ")[2].partition("@")[0]
