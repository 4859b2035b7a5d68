"""From the rows of all sources to the rows of a prepared folder, in two passes: read and measure, then write.

Between the passes the rows are on disk; memory holds a few numbers for each. Duplicates are dropped first, in the order of
the sources, then contaminated rows. Then whole prompts are held out, and the rest is mixed.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlllm.core.errors import DataError, describe
from rlllm.core.records import Record, fingerprint, prompt_text
from rlllm.data.config import held_out_rows
from rlllm.data.inspect.summary import apart, prompt_words, record_text
from rlllm.data.load import split_key
from rlllm.data.prepare.contamination import Contamination, ContaminationReport, RowText
from rlllm.data.prepare.folder import FILES, SourceCount, line_of
from rlllm.data.prepare.line_store import LineStore
from rlllm.data.prepare.mixing import by_curriculum, draw
from rlllm.data.prepare.near_duplicates import DuplicateFinder, Duplicates
from rlllm.data.prepare.settings import Mixture, NearDuplicates

_DROPPED = "dropped.jsonl"
_CHUNK = 2048
"""Most rows measured at a time."""
_CHUNK_TEXT = 1 << 22
"""Characters after which no more rows are added to those measured at a time."""
_Places = NDArray[np.int64]
_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Decision:
    """Which rows go where."""

    train: _Places
    """Numbers of rows, in the order in which they are written; repeated rows occur more than once."""
    holdout: _Places
    kept: _Mask
    """(rows,) rows that were not dropped as duplicates or contaminated."""
    duplicates: Duplicates | None
    contamination: ContaminationReport | None
    dropped: dict[str, int]


@dataclass
class Assembly:
    """Rows of several sources, measured and stored until the prepared folder is written."""

    store: LineStore
    mixture: Mixture
    near_duplicates: NearDuplicates | None = None
    contamination: Contamination | None = None
    names: list[str] = field(default_factory=list)
    """Sources read so far."""

    def __post_init__(self) -> None:
        self._ends: list[int] = []
        self._prompts = array("Q")
        self._difficulty = array("d")
        self._finder = DuplicateFinder(self.near_duplicates) if self.near_duplicates else None

    def read(self, name: str, records: Iterable[Record], *, named: bool = False) -> None:
        """Read all rows of one source.

        Args:
            name: what `meta.source` of its rows becomes; a column of that name moves to `source_of_row`.
            named: its rows already have the name of their source in `meta.source`, and keep it.

        Raises:
            DataError: a value that cannot be stored, or a row without the number that the curriculum sorts by.
        """
        start = len(self.store)
        for chunk in chunks(records):
            self.store.extend(
                self._line(record, name, named, number)
                for number, record in enumerate(chunk, len(self.store) - start + 1)
            )
            self._measure(chunk, name, start)
        self.names.append(name)
        self._ends.append(len(self.store))

    def _line(self, record: Record, name: str, named: bool, number: int) -> bytes:
        meta = dict(record.meta)
        if not (named and "source" in meta):
            if "source" in meta:
                meta["source_of_row"] = meta["source"]
            meta["source"] = name
        try:
            return line_of(record, meta).encode() + b"\n"
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(
                f"record {number} holds a value that cannot be stored: {describe(error)}", given=name
            ) from error

    def _measure(self, chunk: tuple[Record, ...], name: str, start: int) -> None:
        if self.mixture.curriculum:
            first = len(self._prompts) - start + 1
            self._difficulty.extend(
                _difficulty(record, self.mixture.curriculum, f"record {number} of {name}")
                for number, record in enumerate(chunk, first)
            )
        self._prompts.extend(int(fingerprint(split_key(record)), 16) for record in chunk)
        texts = [record_text(record) for record in chunk] if self._finder or self.contamination else []
        if self._finder and self.near_duplicates:
            by_prompt = self.near_duplicates.over == "prompt"
            compared = list(map(prompt_words, chunk)) if by_prompt else texts
            self._finder.add(compared, apart(chunk, labels=not by_prompt))
        if self.contamination:
            self.contamination.add(
                [RowText(split_key(record), text) for record, text in zip(chunk, texts, strict=True)]
            )

    def decide(self, holdout: float) -> Decision:
        """Where every row goes; a holdout below 1 is a share of the rows that no check dropped.

        Raises:
            DataError: nothing is left, the holdout cannot be had, or the mixture cannot.
        """
        duplicates = self._finder.find() if self._finder else None
        kept = duplicates.stays if duplicates else np.ones(len(self.store), dtype=bool)
        dropped = {"exact duplicates": duplicates.exact, "near duplicates": duplicates.near} if duplicates else {}
        contamination = self.contamination.report() if self.contamination else None
        if contamination:
            before = int(kept.sum())
            kept[contamination.rows] = False
            dropped["contaminated"] = before - int(kept.sum())
        if not kept.any():
            raise DataError("no rows are left", given=", ".join(self.names), hint=_in_words(dropped))
        rows = held_out_rows(holdout, int(kept.sum()))
        held_out = _held_out(np.frombuffer(self._prompts, dtype=np.uint64), kept, rows)
        train = draw([np.flatnonzero(part & kept & ~held_out) for part in self._parts()], self.mixture)
        if self.mixture.curriculum:
            train = by_curriculum(train, np.frombuffer(self._difficulty, dtype=np.float64))
        used = np.zeros(len(kept), dtype=bool)
        used[train] = True
        dropped["left out by the mixture"] = int((kept & ~held_out & ~used).sum())
        counted = {why: count for why, count in dropped.items() if count}
        return Decision(train, np.flatnonzero(held_out), kept, duplicates, contamination, counted)

    def counts(self, decision: Decision) -> list[SourceCount]:
        """Rows of each source that were read, kept and written."""
        counted = []
        for name, part in zip(self.names, self._parts(), strict=True):
            written = [int(part[rows].sum()) for rows in (decision.train, decision.holdout)]
            counted.append(SourceCount(name, int(part.sum()), int((part & decision.kept).sum()), *written))
        return counted

    def write(self, folder: Path, decision: Decision) -> None:
        """The files of rows, and one line for each row that a check dropped."""
        for split, rows in (("train", decision.train), ("holdout", decision.holdout)):
            if split == "train" or len(rows):
                with (folder / FILES[split]).open("wb") as file:
                    file.writelines(self.store.lines(rows.tolist()))
        with (folder / _DROPPED).open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in self._dropped(decision))

    def _dropped(self, decision: Decision) -> Iterator[dict[str, Any]]:
        """Every row that a check dropped, and why; rows are numbered from 1 in their source."""
        contaminated = set(decision.contamination.rows.tolist()) if decision.contamination else set()
        if decision.duplicates:
            for row in np.flatnonzero(~decision.duplicates.stays).tolist():
                if row not in contaminated:
                    yield {
                        **self._place(row),
                        "why": "duplicate",
                        "of": self._place(int(decision.duplicates.first[row])),
                    }
        for hit in decision.contamination.hits() if decision.contamination else ():
            of = {"source": hit.item.source, "row": hit.item.number}
            yield {
                **self._place(hit.row),
                "why": "contaminated",
                "rule": hit.rule,
                "score": round(hit.score, 3),
                "of": of,
            }

    def _place(self, row: int) -> dict[str, Any]:
        source = int(np.searchsorted(self._ends, row, side="right"))
        return {"source": self.names[source], "row": row - (self._ends[source - 1] if source else 0) + 1}

    def _parts(self) -> Iterator[_Mask]:
        """For each source, which rows are of it."""
        begin = 0
        for end in self._ends:
            part = np.zeros(len(self.store), dtype=bool)
            part[begin:end] = True
            yield part
            begin = end


def chunks(records: Iterable[Record]) -> Iterator[tuple[Record, ...]]:
    """The records in groups that are measured together: at most 2048, and fewer where texts are long."""
    chunk: list[Record] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(record_text(record))
        if len(chunk) == _CHUNK or size >= _CHUNK_TEXT:
            yield tuple(chunk)
            chunk, size = [], 0
    if chunk:
        yield tuple(chunk)


def _difficulty(record: Record, name: str, place: str) -> float:
    """The value that a curriculum sorts a record by. Raises DataError where it is no number."""
    if name == "length":
        return float(len(record_text(record)))
    value = record.meta.get(name)
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{place} has no number in the column {name}, which the curriculum sorts by",
            given=f"{name}: {value!r}"[:80],
            exists=sorted(map(str, record.meta)),
            hint="mixture.curriculum=length sorts by characters",
        )
    return number


def _held_out(prompts: NDArray[np.uint64], kept: _Mask, holdout: int) -> _Mask:
    """Which of the kept rows are held out: whole prompts in the order of their hashes, as many as add up to `holdout` rows.

    The same prompts as `data.holdout` takes of a file; where whole prompts do not add up, slightly fewer rows.

    Raises:
        DataError: nothing would be left to train on, or no whole prompt is small enough.
    """
    held_out = np.zeros(len(kept), dtype=bool)
    if not holdout:
        return held_out
    rows = int(kept.sum())
    if holdout >= rows:
        raise DataError(
            f"a holdout of {holdout} rows leaves none of {rows} to train on", hint=f"lower holdout below {rows}"
        )
    keys, sizes = np.unique(prompts[kept], return_counts=True)
    held_out_keys, row_count = [], 0
    for key, size in zip(keys, sizes.tolist(), strict=True):
        if row_count + size <= holdout:
            held_out_keys.append(key)
            row_count += size
        if row_count == holdout:
            break
    if not held_out_keys:
        raise DataError(
            f"no holdout of {holdout} rows: every prompt has at least {sizes.min()}, and prompts are held out whole",
            hint="raise holdout, or keep one row a prompt: near_duplicates.over=prompt",
        )
    return kept & np.isin(prompts, np.array(held_out_keys, dtype=np.uint64))


def first_words(text: str, width: int = 100) -> str:
    """A text's beginning on one line."""
    line = " ".join(text[: 4 * width].split())
    return line if len(line) <= width else line[: width - 3] + "..."


def _in_words(dropped: dict[str, int]) -> str:
    return "dropped: " + (
        ", ".join(f"{count:,} {why}" for why, count in dropped.items()) or "nothing; the sources are empty"
    )


def prompt_of(line: bytes) -> str:
    """The beginning of the prompt of a stored line, for a reader."""
    values = json.loads(line)
    return first_words(prompt_text(values["prompt"]) or values.get("completion", ""))
