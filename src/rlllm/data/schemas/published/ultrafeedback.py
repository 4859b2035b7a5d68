"""UltraFeedback (Cui et al. 2023, arXiv 2310.01377). The margin of a pair is the difference of the two overall scores."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowSchema, number, text, without


def _fits(row: Row) -> bool:
    answers = row.get("completions")
    return "instruction" in row and is_messages(answers) and all("overall_score" in answer for answer in answers)


def _convert(row: Row) -> list[dict[str, Any]]:
    """The best and the worst completion, the first of each where several are equal; no pair where all are equal."""
    scored = [(number(answer["overall_score"], "overall_score"), answer) for answer in row["completions"]]
    high, best = max(scored, key=lambda pair: pair[0])
    low, worst = min(scored, key=lambda pair: pair[0])
    sides = {"chosen": (high, best), "rejected": (low, worst)}
    pair = {**without(row, "instruction", "completions"), "prompt": row["instruction"], "margin": high - low}
    for side, (score, answer) in sides.items():
        pair |= {
            side: text(answer.get("response"), "response"),
            f"score_{side}": score,
            f"model_{side}": answer.get("model"),
        }
    return [pair] if high > low else []


SCHEMA = RowSchema(
    name="ultrafeedback",
    summary="UltraFeedback: the best and the worst of several scored completions",
    fits=_fits,
    needs="instruction, and completions that all have overall_score",
    convert={PreferencePair: _convert},
)
