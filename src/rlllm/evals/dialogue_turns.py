"""What the turns of dialogues did to the answers: who spoke, and how many answers became right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlllm.core.records import Sample
from rlllm.rollouts.dialogue.play import DIALOGUE, PROPOSER, REVIEWER, proposals

Turns = list[dict[str, Any]]
OF_DIALOGUE = " of the dialogue"
"""End of a measure's name where the answers are those of dialogues and not of single completions."""


def judged_turns(
    completions: Sequence[Sequence[Sample]], score: Callable[[list[list[Sample]]], list[list[float]]]
) -> list[list[Turns]]:
    """The turns of every answer, a list for each problem; a proposal, and a review of it, with `right`, where that is known.

    Args:
        completions: answers with their dialogues.
        score: samples -> values of the first reward, an empty row where it cannot judge them all; an answer is right from 1 on.
    """
    flat = [sample for row in completions for sample in row]
    places = [
        (at, turn, text) for at, sample in enumerate(flat) for turn, text in proposals(sample.meta[DIALOGUE]).items()
    ]
    values = score([[replace(flat[at], completion=text)] for at, _, text in places])
    right = {(at, turn): value[0] >= 1 for (at, turn, _), value in zip(places, values, strict=True) if value}
    judged = iter([_with_truth(sample.meta[DIALOGUE], at, right) for at, sample in enumerate(flat)])
    return [[next(judged) for _ in row] for row in completions]


def _with_truth(turns: Sequence[Mapping[str, Any]], at: int, right: Mapping[tuple[int, int], bool]) -> Turns:
    told, pending = [], None
    for turn in turns:
        if turn["role"] == PROPOSER and turn["spoke"]:
            pending = right.get((at, turn["turn"]))
        known = turn["spoke"] and turn["role"] in (PROPOSER, REVIEWER) and pending is not None
        told.append({**turn, **({"right": pending} if known else {})})
    return told


def changes_by_turn(judged: Sequence[Sequence[Turns]]) -> list[dict[str, Any]]:
    """A row for each turn: `turn`, `role`, `dialogues`, how many `spoke`; of proposals after the first how many made a wrong
    answer right and a right one wrong; of reviews how many verdicts were true and false."""
    rows: dict[int, dict[str, Any]] = {}
    for turns in (turns for row in judged for turns in row):
        before: bool | None = None
        for turn in turns:
            row = rows.setdefault(turn["turn"], _empty(turn))
            row["dialogues"] += 1
            row["spoke"] += turn["spoke"]
            now = turn.get("right")
            if not turn["spoke"] or now is None:
                continue
            if turn["role"] == PROPOSER:
                if "wrong_to_right" in row and before is not None:
                    row["wrong_to_right"] += now and not before
                    row["right_to_wrong"] += before and not now
                before = now
            elif turn["verdict"] is not None:
                row["true_verdicts" if turn["verdict"] == now else "false_verdicts"] += 1
    return [rows[number] for number in sorted(rows)]


def sentence(row: Mapping[str, Any]) -> str:
    """A row in words."""
    counts = [f"{name.replace('_', ' ')} {row[name]:,}" for name in _COUNTS if name in row]
    spoke = f"turn {row['turn']} ({row['role']}): spoke in {row['spoke']:,} of {row['dialogues']:,} dialogues"
    return "; ".join([spoke, *counts])


_COUNTS = ("wrong_to_right", "right_to_wrong", "true_verdicts", "false_verdicts")


def _empty(turn: Mapping[str, Any]) -> dict[str, Any]:
    names: Sequence[str] = ()
    if turn["role"] == REVIEWER:
        names = _COUNTS[2:]
    elif turn["role"] == PROPOSER and turn["turn"] > 1:
        names = _COUNTS[:2]
    return {"turn": turn["turn"], "role": turn["role"], "dialogues": 0, "spoke": 0, **dict.fromkeys(names, 0)}
