"""The `rm` metric: how often a reward model ranks a pair as its label does."""

from __future__ import annotations

from collections.abc import Sequence

from rlllm.core.records import PreferencePair, Sample
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.sampling import task_id
from rlllm.evals.statistics import mean_interval, preference
from rlllm.rewards.model import RewardModel


def evaluate_rm(request: EvalRequest) -> Evaluation:
    """Pair accuracy; a tie counts one half, so a constant model scores 0.5."""
    pairs = [record for record in request.records if isinstance(record, PreferencePair)]
    scores = pair_scores(RewardModel(request.path), pairs)
    won = [[preference(chosen, rejected)] for chosen, rejected in scores]
    items = [
        {
            "id": task_id(pair.prompt, f"{pair.chosen}\0{pair.rejected}"),
            "scores": outcome,
            "prompt": pair.prompt,
            "answer": None,
            "completions": [pair.chosen, pair.rejected],
        }
        for pair, outcome in zip(pairs, won, strict=True)
    ]
    return Evaluation(items, {"pair accuracy": mean_interval(won, request.seed)})


def pair_scores(scorer: RewardModel, pairs: Sequence[PreferencePair]) -> list[tuple[float, float]]:
    """(chosen, rejected) scores of each pair."""
    texts = [Sample(pair.prompt, text) for pair in pairs for text in (pair.chosen, pair.rejected)]
    values = [float(score.value or 0.0) for score in scorer.score_batch(texts)]
    return list(zip(values[::2], values[1::2], strict=True))
