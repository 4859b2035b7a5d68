"""Ensembles of reward models: where the members are, and how their scores become one.

An ensemble's folder holds `ensemble.json` and no weights; it names its members' folders relative to itself, so that a run
directory can be moved as a whole. A Bradley-Terry score is only known up to a constant that no preference fixes, so each
member's mean score over a common set of texts (its centre) is kept there and subtracted before members are compared.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Literal

from rlllm.core.errors import ModelError, describe
from rlllm.core.runs import ENSEMBLE, read_json, write_json

Aggregate = Literal["mean", "worst", "uncertainty"]


@dataclass(frozen=True, slots=True)
class Member:
    """One reward model of an ensemble."""

    folder: Path
    centre: float = 0.0
    """Mean score that is subtracted, in the member's own units."""


def aggregate(scores: Sequence[float], how: Aggregate, penalty: float = 1.0) -> float:
    """One score from the members' centred scores of one text.

    `mean`: their mean. `worst`: the lowest (worst-case optimisation). `uncertainty`: mean - penalty x standard deviation
    over the members (divisor: their number). With one member all three are its score.

    Source: Coste et al. 2023, arXiv 2310.02743, section 3; there the penalty multiplies the variance, here the standard
    deviation, which has the unit of the score.
    """
    return {
        "mean": lambda: fmean(scores),
        "worst": lambda: min(scores),
        "uncertainty": lambda: fmean(scores) - penalty * pstdev(scores),
    }[how]()


def write_ensemble(folder: Path, members: Sequence[Member]) -> None:
    """Write `ensemble.json` into `folder`, made if missing; members are named relative to it."""
    here = folder.resolve()
    rows = [{"path": Path(os.path.relpath(m.folder.resolve(), here)).as_posix(), "centre": m.centre} for m in members]
    write_json(folder / ENSEMBLE, {"members": rows})


def read_ensemble(folder: Path) -> list[Member]:
    """The members of the ensemble in `folder`.

    Raises:
        ModelError: `ensemble.json` is unreadable, names no members, or a member's folder is not there.
    """
    path = folder / ENSEMBLE
    try:
        rows = read_json(path)["members"]
        members = [Member(folder / row["path"], float(row["centre"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the ensemble cannot be read: {describe(error)}", given=path) from error
    if not members or not all(math.isfinite(member.centre) for member in members):
        raise ModelError("the ensemble names no members, or one whose centre is not finite", given=path)
    missing = [member.folder for member in members if not member.folder.is_dir()]
    if missing:
        raise ModelError(
            "a member of the ensemble is not there",
            given=missing[0],
            hint="an ensemble refers to its members' folders: copy or move the whole run directory",
        )
    return members
