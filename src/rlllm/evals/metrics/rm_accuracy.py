"""`rm`: how often a reward model ranks a pair as its label does, and its card."""

from __future__ import annotations

from collections.abc import Sequence

from rlllm.core.errors import DataError
from rlllm.core.records import PreferencePair, full_text, sample_of
from rlllm.evals.items import record_row
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.rm_card import Scorer, card, card_json, scores
from rlllm.evals.statistics.intervals import preference
from rlllm.rewards.models.reward_model import RewardModel


def pair_scores(scorer: Scorer, pairs: Sequence[PreferencePair]) -> list[tuple[float, float]]:
    """(chosen, rejected) scores of each pair. Raises DataError where the model gives no finite score."""
    sides = [sample_of(pair.prompt, side, pair.meta) for pair in pairs for side in (pair.chosen, pair.rejected)]
    values = scores(scorer, sides)
    return list(zip(values[::2], values[1::2], strict=True))


def _measure(request: EvalRequest) -> Evaluation:
    """The main values of the card, pair accuracy first; the whole card is in `extra`. A constant model has accuracy 0.5."""
    pairs = [record for record in request.records if isinstance(record, PreferencePair)]
    if not pairs:
        raise DataError("there are no preference pairs to evaluate a reward model on")
    scorer = RewardModel(request.path)
    table = pair_scores(scorer, pairs)
    rows = card(scorer, pairs, [chosen for chosen, _ in table], [rejected for _, rejected in table], request.seed)
    items = [
        record_row(pair, [preference(*both)], [full_text(pair.chosen), full_text(pair.rejected)])
        for pair, both in zip(pairs, table, strict=True)
    ]
    values = {row.name: row.value for row in rows if row.main and row.value is not None}
    return Evaluation(items, values, {"card": card_json(rows)})


METRIC = Metric(
    name="rm",
    summary="pair accuracy of a reward model",
    measure=_measure,
    record=PreferencePair,
    needs_model="scorer",
    check_model=RewardModel,
    train_rm_methods=("bt", "ensemble"),
)
