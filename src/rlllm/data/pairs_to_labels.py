"""Preference pairs to labelled completions, and labelled completions to pairs, where no row is lost by it.

A pair is one good and one bad completion. Labelled completions are pairs where every prompt has as many good as bad ones; the
first good one is paired with the first bad one, and so on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import LabelledCompletion, PreferencePair, Record, fingerprint, hashed_prompt, prompt_text
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.formats import Placed
from rlllm.data.messages import is_blank
from rlllm.data.schemas.base import RowSchema
from rlllm.data.to_records import fit


@dataclass(frozen=True, slots=True)
class Conversion:
    """How records of a type come from rows that hold another."""

    stored: type[Record]
    """The type that is in the rows."""
    convert: Callable[[Sequence[Any], str, BadRows], list[Any]]
    """Records of the stored type, the name of the data, and what is done with bad ones -> records of the wanted type."""
    words: str
    """What was done, for a reader; `made` and `stored` are the two counts."""


def find_conversion(
    rows: Sequence[Placed],
    kind: type[Record],
    explicit: Mapping[str, str],
    source: str,
    schema: RowSchema | None = None,
) -> Conversion | None:
    """The conversion that data with these first rows needs to become records of `kind`.

    None where its columns fit as they are, or not at all.
    """
    if kind not in _CONVERSIONS or _fits(rows, kind, explicit, source, schema):
        return None
    conversion = _CONVERSIONS[kind]
    return conversion if _fits(rows, conversion.stored, explicit, source, schema) else None


def _fits(
    rows: Sequence[Placed], kind: type[Record], explicit: Mapping[str, str], source: str, schema: RowSchema | None
) -> bool:
    try:
        fit(rows, kind, explicit, source, schema)
    except (ConfigError, DataError):
        return False
    return True


def labels_of_pairs(pairs: Sequence[PreferencePair], source: str, bad: BadRows) -> list[LabelledCompletion]:
    """Two labelled completions of each pair, the good one first; a margin goes into `meta`.

    Raises:
        DataError: a rejected completion is empty, and so nothing that could be judged; `bad` may skip such a pair.
    """
    labelled = []
    for number, pair in enumerate(pairs, start=1):
        if is_blank(pair.rejected):
            bad.add(DataError(f"rejected of pair {number} is empty: no completion to label", given=source))
            bad.good -= 1  # as a pair it was fine
            continue
        meta = dict(pair.meta) if pair.margin is None else {**pair.meta, "margin": pair.margin}
        labelled.append(LabelledCompletion(pair.prompt, pair.chosen, True, meta))
        labelled.append(LabelledCompletion(pair.prompt, pair.rejected, False, meta))
    return labelled


def pairs_of_labels(rows: Sequence[LabelledCompletion], source: str, bad: BadRows) -> list[PreferencePair]:
    """The pairs of each prompt, first good with first bad and so on.

    Columns in which the two agree stay; where they differ, `score` becomes `score_chosen` and `score_rejected`.

    Raises:
        DataError: a prompt has more completions of one label than of the other, so that some would be left over, whatever is
            done with bad rows.
    """
    sides: dict[str, tuple[list[LabelledCompletion], list[LabelledCompletion]]] = defaultdict(lambda: ([], []))
    for row in rows:
        sides[fingerprint(hashed_prompt(row.prompt))][not row.label].append(row)
    uneven = [(good, poor) for good, poor in sides.values() if len(good) != len(poor)]
    if uneven:
        good, poor = uneven[0]
        left_over = sum(abs(len(good) - len(poor)) for good, poor in uneven)
        raise DataError(
            f"labelled completions do not pair up: {left_over:,} of {len(rows):,} would be left over "
            f"({prompt_text([*good, *poor][0].prompt)[:40]!r} has {len(good)} good and {len(poor)} bad)",
            given=source,
            hint="learn from the labels themselves with: rlllm align --method kto; or give chosen and rejected columns",
        )
    return [_pair(*good_and_bad) for good, poor in sides.values() for good_and_bad in zip(good, poor, strict=True)]


def _pair(good: LabelledCompletion, bad: LabelledCompletion) -> PreferencePair:
    shared = {key for key in good.meta.keys() & bad.meta.keys() if good.meta[key] == bad.meta[key]}
    meta = {key: good.meta[key] for key in good.meta if key in shared}
    for side, row in (("chosen", good), ("rejected", bad)):
        meta |= {f"{key}_{side}": value for key, value in row.meta.items() if key not in shared}
    return PreferencePair(good.prompt, good.completion, bad.completion, meta=meta)


_CONVERSIONS: dict[type[Record], Conversion] = {
    LabelledCompletion: Conversion(
        PreferencePair, labels_of_pairs, "as {made:,} labelled completions from {stored:,} pairs"
    ),
    PreferencePair: Conversion(
        LabelledCompletion, pairs_of_labels, "as {made:,} pairs from {stored:,} labelled completions"
    ),
}
"""Wanted record type to the conversion that can make it."""
