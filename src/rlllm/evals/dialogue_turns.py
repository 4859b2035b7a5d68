"""What the turns of dialogues did to the answers: who spoke, and how many answers became right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlllm.core.records import Sample
from rlllm.rollouts.dialogue.play import DIALOGUE, PROPOSER, REVIEWER, proposals


def changes_by_turn(
    completions: Sequence[Sequence[Sample]], score: Callable[[list[list[Sample]]], list[list[float]]]
) -> list[dict[str, Any]]:
    """A row for each turn: `turn`, `role`, `dialogues`, how many `spoke`; of proposals after the first how many made a wrong
    answer right and a right one wrong; of reviews how many verdicts were true and false.

    Args:
        completions: answers with their dialogues, a list for each problem.
        score: samples -> values of the first reward, an empty row where it cannot judge them all; an answer is right from 1 on.
    """
    flat = [sample for row in completions for sample in row]
    right = _right(flat, score)
    rows: dict[int, dict[str, Any]] = {}
    for at, sample in enumerate(flat):
        before: bool | None = None
        for turn in sample.meta[DIALOGUE]:
            row = rows.setdefault(turn["turn"], _empty(turn))
            row["dialogues"] += 1
            row["spoke"] += turn["spoke"]
            if not turn["spoke"]:
                continue
            if turn["role"] == PROPOSER:
                now = right.get((at, turn["turn"]))
                if "wrong_to_right" in row and before is not None and now is not None:
                    row["wrong_to_right"] += now and not before
                    row["right_to_wrong"] += before and not now
                before = now
            elif turn.get("verdict") is not None and before is not None:
                row["true_verdicts" if turn["verdict"] == before else "false_verdicts"] += 1
    return [rows[number] for number in sorted(rows)]


def sentence(row: Mapping[str, Any]) -> str:
    """A row in words."""
    counts = [f"{name.replace('_', ' ')} {row[name]:,}" for name in _COUNTS if name in row]
    spoke = f"turn {row['turn']} ({row['role']}): spoke in {row['spoke']:,} of {row['dialogues']:,} dialogues"
    return "; ".join([spoke, *counts])


_COUNTS = ("wrong_to_right", "right_to_wrong", "true_verdicts", "false_verdicts")


def _empty(turn: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        _COUNTS[2:]
        if turn["role"] == REVIEWER
        else _COUNTS[:2]
        if turn["role"] == PROPOSER and turn["turn"] > 1
        else ()
    )
    return {"turn": turn["turn"], "role": turn["role"], "dialogues": 0, "spoke": 0, **dict.fromkeys(names, 0)}


def _right(
    samples: Sequence[Sample], score: Callable[[list[list[Sample]]], list[list[float]]]
) -> dict[tuple[int, int], bool]:
    """(place of the sample, turn) -> whether the solution proposed there is right; without those that cannot be judged."""
    places = [
        (at, turn, text) for at, sample in enumerate(samples) for turn, text in proposals(sample.meta[DIALOGUE]).items()
    ]
    values = score([[replace(samples[at], completion=text)] for at, _, text in places])
    judged = zip(places, values, strict=True)
    return {(at, turn): value[0] >= 1 for (at, turn, _), value in judged if value}
