"""Nectar (Zhu et al. 2023): several answers to a prompt, with ranks."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowSchema, number, text, without
from rlllm.data.schemas.speaker_marks import split_turns


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
    columns = {**without(row, "prompt", "answers"), "prompt": _prompt(row["prompt"]), "margin": worst_rank - best_rank}
    for side, answer in (("chosen", best), ("rejected", worst)):
        columns |= {side: text(answer["answer"], "answer"), f"model_{side}": answer.get("model")}
    return [columns]


def _prompt(stored: Any) -> Any:
    """The only turn of a prompt, or its turns as messages; without the `Human:` and `Assistant:` that mark them in the file.

    A prompt in another form stays as it is.
    """
    turns = split_turns(stored) if isinstance(stored, str) else []
    turns = [{"role": turn["role"], "content": turn["content"].strip()} for turn in turns]
    alternate = all(turn["role"] == ("user", "assistant")[number % 2] for number, turn in enumerate(turns))
    if not turns or not alternate or turns[-1] != {"role": "assistant", "content": ""}:
        return stored
    return turns[0]["content"] if len(turns) == 2 else turns[:-1]


SCHEMA = RowSchema(
    name="nectar",
    summary="Nectar: the best and the worst of several ranked answers",
    fits=_fits,
    needs="prompt, and answers that all have answer and rank",
    convert={PreferencePair: _convert},
)
