"""Several data sets as one, mixed while they are read (`data.mix`): which settings each of them has, and which rows train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.data.config import DataConfig
from rlllm.data.sources import find

SHARED = (
    *("columns", "row_schema", "image_folder", "level", "params", "seed"),
    *("subset", "split", "revision", "streaming", "on_bad_row"),
)
"""Settings of a mixture that hold for each of its data sets that takes them and does not set them itself."""
_TAKEN_BY_ALL = frozenset({"on_bad_row", "seed"})


def sources_of(config: DataConfig) -> list[DataConfig]:
    """The data sets of a mixture with their own settings and those of the mixture; a data set that is no mixture stands alone.

    Raises:
        ConfigError: a setting of the mixture that none of its data sets takes; else as `rlllm.data.sources.find`.
    """
    if not config.mix:
        return [config]
    given = {name: getattr(config, name) for name in SHARED if name in config.model_fields_set}
    taken: set[str] = set(_TAKEN_BY_ALL)
    sources = []
    for part in config.mix:
        takes = find(part.data.name).takes | _TAKEN_BY_ALL
        taken |= takes
        shared = {
            name: value for name, value in given.items() if name in takes and name not in part.data.model_fields_set
        }
        sources.append(part.data.model_copy(update=shared))
    defaults = DataConfig()
    for name, value in given.items():
        if name not in taken and value != getattr(defaults, name):
            raise ConfigError(
                f"data.{name} means nothing for {config.name}", given=f"data.{name}={value}", hint="leave it out"
            )
    return sources


@dataclass(frozen=True)
class Mixed:
    """Which of the rows of a mixture train, in order, and how many come from each data set."""

    rows: list[Any]
    counts: list[int]


def mixed_rows(config: DataConfig, rows_of: Sequence[Sequence[Any]]) -> Mixed:
    """The training rows of a mixture, in a random order that `config.seed` decides, at most `config.rows` of them.

    Args:
        config: the mixture; with weights, as many rows are taken as keep the shares without repeating one.
        rows_of: for each data set the rows that are not held out.

    Raises:
        DataError: a data set has a weight and no rows.
        ConfigError: its share is less than one row, so that none would be taken.
    """
    import numpy as np

    from rlllm.data.prepare.mixing import counts, draw
    from rlllm.data.prepare.settings import Mixture

    weights = [part.weight for part in config.mix]
    weighted = any(weight is not None for weight in weights)
    shares = [1.0 if weight is None else weight for weight in weights] if weighted else None
    mixture = Mixture(weights=shares, seed=config.seed)
    sizes = [len(rows) for rows in rows_of]
    most = sum(counts(sizes, mixture))
    if config.rows is not None and 0 < config.rows < most:
        mixture = mixture.model_copy(update={"rows": config.rows})
    ends = np.cumsum([0, *sizes])
    places = [np.arange(start, end) for start, end in pairwise(ends.tolist())]
    drawn = draw(places, mixture) if config.rows != 0 else places[0][:0]
    together = [row for rows in rows_of for row in rows]
    per_source = np.histogram(drawn, bins=ends)[0].tolist() if len(drawn) else [0] * len(sizes)
    if config.rows is None or config.rows >= len(sizes):
        _check_shares(config, per_source)
    return Mixed([together[place] for place in drawn.tolist()], per_source)


def _check_shares(config: DataConfig, counts: Sequence[int]) -> None:
    """Refuse a mixture of which a data set has no row. With the weight 0 that is meant."""
    names = [part.data.name for part in config.mix]
    left_out = [
        part.data.name for part, count in zip(config.mix, counts, strict=True) if not count and part.weight != 0
    ]
    if left_out:
        raise ConfigError(
            f"the mixture takes no row of {', '.join(left_out)}: its share of {sum(counts)} rows is less than one",
            given=", ".join(f"{name}: {count} rows" for name, count in zip(names, counts, strict=True)),
            hint="weights that are less apart, more rows of the others, or leave it out",
        )
