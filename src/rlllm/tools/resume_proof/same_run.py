"""What two run directories differ in: every file, number by number, but for what `NOT_COMPARED` and `VARYING` name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlllm.core.runs import read_json, read_jsonl

NOT_COMPARED: Mapping[str, str] = {
    "report.html": "made of the other files, with their times",
    "training_args.bin": "names the folder; the settings are compared in config.json",
    "manifest.json": "hashes of files that tell the time; the files are compared",
    "quarantine.jsonl": "a resumed run adds what fails once more; the counts of failures are compared",
    "logs": "what processes and trackers print",
    "launch": "what started the processes",
}
"""Files and folders of a run that two equal runs may have otherwise -> why."""
VARYING: Mapping[str, str] = {
    "time": "of day, or since the start",
    "seconds": "a measurement took",
    "eval_runtime": "seconds that an evaluation took",
    "step_time": "seconds of a step",
    "tokens_per_second": "speed",
    "matmul_seconds": "how fast the processor was when it was measured",
    "thread_seconds": "the same",
    "digest": "hash of settings, among which a path may be; the settings are compared",
    "grown": "memory that a reward kept",
    "num_tokens": "TRL counts them from every start anew, but for `reason`",
    "num_input_tokens_seen": "the same",
}
"""Names of numbers that two equal runs may have otherwise, in every log and file -> what they are."""
_KEPT_BY_REASON = ("num_tokens", "num_input_tokens_seen")
_TEXTS = (".json", ".jsonl", ".yaml", ".jinja")
_ABSENT = object()
_SETS = ("target_modules",)
"""Names of lists that are written in any order."""


@dataclass(frozen=True)
class Difference:
    """The first place where two runs part.

    Args:
        file: in the run's directory.
        step: of the row, or of the checkpoint; None where there is none.
        value: name of the number.
        one, other: what the two have there, in words.
    """

    file: str
    step: int | None
    value: str
    one: str
    other: str

    @property
    def place(self) -> str:
        return ", ".join(filter(None, (self.file, "" if self.step is None else f"step {self.step}", self.value)))


@dataclass(frozen=True)
class Comparison:
    """What came of two directories: the number of `files` compared, and the first difference."""

    files: int
    difference: Difference | None


def compare_runs(whole: Path, resumed: Path, *, only: Callable[[str], bool] = lambda name: True) -> Comparison:
    """Compare two runs and the runs inside them: logs first, then verdicts and measures, weights, and every checkpoint.

    Args:
        whole: a run directory.
        resumed: another.
        only: which files, by their name in the directory.
    """
    files = [_files(folder, only) for folder in (whole, resumed)]
    for number, name in enumerate(sorted({*files[0], *files[1]}, key=_order)):
        if name not in files[0] or name not in files[1]:
            there = ["there" if name in found else "not there" for found in files]
            return Comparison(number, Difference(name, None, "", *there))
        if found := next(_differences(whole, resumed, name), None):
            return Comparison(number, found)
    return Comparison(len(files[0]), None)


def _files(folder: Path, only: Callable[[str], bool]) -> set[str]:
    """Files to compare, relative to the run."""
    found = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and not set(name.parts) & NOT_COMPARED.keys() and only(name.as_posix()):
            found.add(name.as_posix())
    return found


def _order(name: str) -> tuple[int, list[int | str]]:
    """Logs first, since their first difference has a step; checkpoints last, in the order of their steps."""
    natural = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
    if "checkpoints/" in name:
        return 4, natural
    if name.endswith(".jsonl"):
        return (0 if name.endswith("metrics.jsonl") else 1), natural
    return (2 if name.endswith(".json") else 3), natural


def _differences(whole: Path, resumed: Path, name: str) -> Iterator[Difference]:
    paths = whole / name, resumed / name
    match = re.search(r"checkpoint-(\d+)/", name)
    step = int(match[1]) if match else None
    if paths[0].suffix in _TEXTS:
        yield from _in_texts(whole, resumed, name, step)
    elif paths[0].read_bytes() != paths[1].read_bytes():
        read = _READERS.get(paths[0].suffix)
        values = [read(path) for path in paths] if read else ["one content", "another"]
        for place, one, other in _unequal(*values):
            yield Difference(name, step, place, one, other)


def _in_texts(whole: Path, resumed: Path, name: str, step: int | None) -> Iterator[Difference]:
    """Differences of JSON: without clocks, and with RUN for the directory."""
    left_out = varying(_stage(whole))
    values = [_comparable(_read_text(folder / name), left_out, _names_of(folder)) for folder in (whole, resumed)]
    if not name.endswith(".jsonl"):
        for place, one, other in _unequal(*values):
            yield Difference(name, step, place, one, other)
        return
    for number, rows in enumerate(zip(*values, strict=False), 1):
        row_step = rows[0].get("step") if isinstance(rows[0].get("step"), int) else None
        for place, one, other in _unequal(*rows):
            yield Difference(name, row_step, place if row_step is not None else f"row {number}, {place}", one, other)
    if len(values[0]) != len(values[1]):
        yield Difference(name, None, "", *(f"{len(rows)} rows" for rows in values))


def varying(stage: str | None) -> set[str]:
    """Names of numbers that two equal runs of a verb may have otherwise."""
    return set(VARYING) - set(_KEPT_BY_REASON if stage == "reason" else ())


def _stage(run: Path) -> str | None:
    path = run / "config.json"
    return read_json(path).get("stage") if path.is_file() else None


def _read_text(path: Path) -> Any:
    if path.suffix in (".yaml", ".jinja"):
        return path.read_text(encoding="utf-8", errors="backslashreplace").splitlines()
    return list(read_jsonl(path)) if path.suffix == ".jsonl" else read_json(path)


def _names_of(run: Path) -> re.Pattern[str]:
    """Finds the path of a run's directory in a text."""
    places = sorted({str(run), str(run.absolute()), str(run.resolve())}, key=len, reverse=True)
    return re.compile(rf"(?<![\w./-])(?:{'|'.join(re.escape(place) for place in places if '/' in place)})(?![\w.-])")


def _comparable(value: Any, left_out: set[str], names: re.Pattern[str]) -> Any:
    if isinstance(value, Mapping):
        kept = {key: _comparable(item, left_out, names) for key, item in value.items() if key not in left_out}
        return {key: sorted(item) if key in _SETS and _is_list(item) else item for key, item in kept.items()}
    if isinstance(value, list):
        return [_comparable(item, left_out, names) for item in value]
    return names.sub("RUN", value) if isinstance(value, str) else value


def _unequal(one: Any, other: Any, place: str = "") -> Iterator[tuple[str, str, str]]:
    """Where two nested values differ: a path, and the two values in words."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in [*one, *(key for key in other if key not in one)]:
            inner = f"{place}.{key}" if place else str(key)
            yield from _unequal(one.get(key, _ABSENT), other.get(key, _ABSENT), inner)
    elif _is_list(one) and _is_list(other) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _unequal(*pair, f"{place}[{number}]")
    elif hasattr(one, "numel") and hasattr(other, "numel"):
        yield from _unequal_tensors(one, other, place)
    elif not _same(one, other):
        yield place, _words(one), _words(other)


def _unequal_tensors(one: Any, other: Any, place: str) -> Iterator[tuple[str, str, str]]:
    if one.shape != other.shape or one.dtype != other.dtype:
        yield place, f"{one.dtype} {tuple(one.shape)}", f"{other.dtype} {tuple(other.shape)}"
        return
    unequal = (one != other) & ~((one != one) & (other != other))  # NaN is itself
    if unequal.any():
        first = int(unequal.flatten().nonzero()[0])
        count = f", the first of {int(unequal.sum()):,}" if unequal.sum() > 1 else ""
        yield f"{place}[{first}]{count}", repr(one.flatten()[first].item()), repr(other.flatten()[first].item())


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    return type(one) is type(other) and bool(one == other)


def _words(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _tensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


def _state(path: Path) -> Any:
    """What torch has saved, read as data alone; the bytes where it holds more than that."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # of the generators of NumPy
        return path.read_bytes().hex()


_READERS: Mapping[str, Callable[[Path], Any]] = {
    ".safetensors": _tensors,
    ".pt": _state,
    ".pth": _state,
}
