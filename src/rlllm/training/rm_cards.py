"""The card of a trained reward model, made from the model as it was saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlllm.core.events import ProgressCallback
from rlllm.core.records import PreferencePair
from rlllm.core.runs import Run

if TYPE_CHECKING:
    from rlllm.evals.rm_card import Row
    from rlllm.rewards.models.reward_model import RewardModel


def add_card(
    run: Run, scorer: RewardModel, pairs: Sequence[PreferencePair], *, seed: int, progress: ProgressCallback
) -> None:
    """Write `card.json`, put the card's main values into `results.json`, and the whole into the report.

    Without held-out pairs there is no card, and the progress callback is told why.
    """
    if not pairs:
        progress.note("no card: there are no held-out pairs (data.holdout, eval.rows)")
        return
    progress.phase("card")
    from rlllm.evals.metrics.rm_accuracy import pair_scores
    from rlllm.evals.rm_card import card, card_json
    from rlllm.report import render_run

    scores = pair_scores(scorer, pairs)
    rows = card(scorer, pairs, [a for a, _ in scores], [b for _, b in scores], seed)
    run.write("card.json", card_json(rows))
    _add_results(run, rows)
    run.write_text("report.html", render_run(run))


def _add_results(run: Run, rows: Sequence[Row]) -> None:
    """Main rows as measures without a before; what the run measured already is not said twice."""
    measures = list(run.results.get("measures", []))
    named = {measure["name"] for measure in measures}
    measures += [
        {
            "name": row.name,
            "higher_is_better": row.higher_is_better is not False,
            "before": None,
            "after": row.value.to_json(),
            "difference": None,
        }
        for row in rows
        if row.main and row.value is not None and row.name not in named
    ]
    run.write("results.json", {**run.results, "measures": measures})
