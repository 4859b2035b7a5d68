"""`rlllm data export`: any data set that rlllm reads, in the layout of another tool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlllm.data.config import DataConfig
from rlllm.data.io.export_files import Written, write
from rlllm.data.io.export_formats import target_of
from rlllm.tools.data.record_types import read_as


@dataclass(frozen=True, slots=True)
class Exported:
    """What `rlllm data export` did."""

    source: str
    kind: str
    """Name of the record type."""
    to: str
    written: Written

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def export_data(
    data: DataConfig | str | Mapping[str, Any],
    *,
    to: str,
    out: str | Path,
    kind: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a data set for another tool.

    Args:
        data: what to read: a name, or settings.
        to: `verl`, `openrlhf`, `llamafactory` or `trl`.
        out: a file, or a folder that gets `train` and, for held-out rows, `test`.
        kind: a training verb, a method, or the name of a record type; None finds the most specific that fits.
        overwrite: replace files that exist.

    Raises:
        ConfigError, DataError: see `data.io.export_files.write` and `tools.data.show.read_as`.
    """
    target_of(to)
    out, config = Path(out), DataConfig.checked(data)
    if out.suffix and not out.is_dir() and config.holdout is None:
        config = config.model_copy(update={"holdout": 0})
    view, loaded = read_as(config, kind)
    splits = {"train": loaded.train, **({"test": loaded.holdout} if loaded.holdout else {})}
    written = write(splits, to, out, source=config.name, overwrite=overwrite)
    return Exported(loaded.source, view.trainer.record.__name__, to, written)
