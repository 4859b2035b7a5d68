"""Nectar (Zhu et al. 2023): several answers to a prompt, with ranks."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowSchema, number, text, without


def _fits(row: Row) -> bool:
    answers = row.get("answers")
    return "prompt" in row and is_messages(answers) and all({"answer", "rank"} <= answer.keys() for answer in answers)


def _convert(row: Row) -> list[dict[str, Any]]:
    """The answers of the first and the last rank, with the difference as their margin; no pair where all ranks are equal."""
    ranked = [(number(answer["rank"], "rank"), answer) for answer in row["answers"]]
    best_rank, best = min(ranked, key=lambda item: item[0])
    worst_rank, worst = max(ranked, key=lambda item: item[0])
    if best_rank == worst_rank:
        return []
    columns = {**without(row, "prompt", "answers"), "prompt": row["prompt"], "margin": worst_rank - best_rank}
    for side, answer in (("chosen", best), ("rejected", worst)):
        columns |= {side: text(answer["answer"], "answer"), f"model_{side}": answer.get("model")}
    return [columns]


SCHEMA = RowSchema(
    name="nectar",
    summary="Nectar: the best and the worst of several ranked answers",
    fits=_fits,
    needs="prompt, and answers that all have answer and rank",
    convert={PreferencePair: _convert},
)
