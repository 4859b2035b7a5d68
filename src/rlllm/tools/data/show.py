"""`rlllm data show`: records as they are read, and the tokens that the trainer of a stage makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from rlllm.core.config import StageConfig, resolve
from rlllm.core.errors import ConfigError
from rlllm.core.images import image_size, shown_reference
from rlllm.core.records import Record, images_of
from rlllm.data.config import DataConfig
from rlllm.data.load import MixedPart
from rlllm.tools.data.record_types import read_as
from rlllm.tools.data.tokenized_view import Preview, SequenceView, preview_of

_WINDOW = 1000
"""Rows that are read at least: whether rows have prompts is decided over the data set, not over the shown ones."""


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """A record, and its token sequences if they were requested."""

    row: int
    """Number among the training rows, from 1."""
    record: Record
    sequences: list[SequenceView] = field(default_factory=list)
    images: list[ShownImage] = field(default_factory=list)
    """The images of its prompt, in order."""


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image of a prompt."""

    reference: str
    """Its path, or the beginning of its data URI."""
    width: int
    height: int
    """Pixels."""
    tokens: int | None = None
    """How many tokens of the prompt it takes, where a model is given that says so."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What `rlllm data show` prints."""

    source: str
    kind: str
    """Name of the record type."""
    verb: str
    method: str
    columns: Mapping[str, str]
    """Record field to the column it was read from; empty where the source or a schema makes the records, and of a mixture."""
    how: str
    """What makes the records, for a reader; empty of a mixture."""
    parts: Sequence[MixedPart]
    """The data sets of a mixture; empty where there is one data set."""
    records: list[ShownRecord]
    model: str | None = None
    max_length: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class _DataOnly(StageConfig):
    """What `data.KEY=VALUE` is checked against."""

    stage: ClassVar[str] = "data show"

    data: DataConfig = DataConfig()
    """What to show."""


def data_config(values: Mapping[str, Any], overrides: Iterable[tuple[str, Any]]) -> DataConfig:
    """A data set of settings and of others that are written as for a verb: ("data.params", {...}).

    Raises:
        ConfigError: an unknown setting, a value that does not fit, or a setting that is given twice.
    """
    return resolve(_DataOnly, {}, [*((f"data.{key}", value) for key, value in values.items()), *overrides]).data


def show_data(
    data: DataConfig | str | Mapping[str, Any],
    *,
    kind: str | None = None,
    rows: int = 3,
    model: str | None = None,
    settings: Iterable[tuple[str, Any]] = (),
) -> Shown:
    """Read a data set and show its first records.

    Args:
        data: what to read: a name, or settings.
        kind: a training verb, a method, or the name of a record type; None finds the most specific that fits.
        rows: records to show.
        model: show the tokens that training this model would see; None shows no tokens, and needs no torch.
        settings: overrides of the verb's settings, such as ("max_length", 64).

    Raises:
        DataError: the data cannot be read as that kind.
        ConfigError: an unknown kind or setting, or a method whose trainer sees no recorded rows.
        ModelError: the model does not exist or does not load.
    """
    if rows < 1:
        raise ConfigError("at least one row is shown", given=f"rows={rows}")
    config = DataConfig.checked(data)
    limited = config if config.rows is not None else config.model_copy(update={"rows": max(rows, _WINDOW)})
    view, loaded = read_as(limited, kind)
    records = loaded.train[:rows]
    shown = [ShownRecord(number, record, images=_images(record)) for number, record in enumerate(records, start=1)]
    source = loaded.source + (
        ", and no more were read" if config.rows is None and len(loaded.train) == limited.rows else ""
    )
    kind_name = type(records[0]).__name__
    base = Shown(source, kind_name, view.verb, view.method, loaded.columns, loaded.how, loaded.parts, shown)
    if model is None:
        return base
    preview = preview_of(view.verb, view.method, loaded, model, settings)
    return replace(
        base,
        records=[
            replace(row, sequences=preview.sequences(row.record), images=_images(row.record, preview)) for row in shown
        ],
        model=model,
        max_length=preview.limit,
    )


def _images(record: Record, preview: Preview | None = None) -> list[ShownImage]:
    return [
        ShownImage(
            shown_reference(reference), *image_size(reference), preview.image_tokens(reference) if preview else None
        )
        for reference in images_of(record.prompt)
    ]
