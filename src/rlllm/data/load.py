"""One call from settings to records: read, adapt, hold out, limit, hash. Needs no torch.

No prompt ever stands on both sides of a split, whatever the source: rows of files are held out by whole prompts, and of
a procedural source's held-out rows those whose prompt is also trained on are dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, Record, fingerprint, prompt_text, record_hash
from rlllm.core.registry import describe
from rlllm.data.adapt import adapt
from rlllm.data.config import DataConfig
from rlllm.data.files import Placed
from rlllm.data.request import DataRequest, Split
from rlllm.data.sources import CallableSource, HubSource, PathSource, find
from rlllm.data.unpair import find_conversion

PROCEDURAL_ROWS = 2000
PROCEDURAL_HOLDOUT = 256
_SOURCE_FIELDS = ("columns", "level", "params", "subset", "split", "revision")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A data set, ready to use."""

    train: list[Any]
    """Training records, all of one type, in the source's order."""
    holdout: list[Any]
    """Records kept back for evaluation; none of their prompts is in `train`."""
    source: str
    """Where the records come from and how many there are, in words."""
    rewards: tuple[str, ...] = ()
    """Names of the rewards that fit this source by default; empty for files."""
    hash: str = ""
    """Content hash over all records, `meta` included."""
    columns: dict[str, str] = field(default_factory=dict)
    """Record field to the column it was read from; empty when the source makes records itself."""


def load(config: DataConfig, kind: type[Record]) -> Loaded:
    """Read a data set as records of one type.

    Files hold out whole prompts, chosen by a hash of the prompt alone, so that the same rows are held out whatever the
    seed, the order of the file, or rows added later; `rows` then limits the rest. Procedural sources have a held-out
    split of their own. A file of pairs serves as labelled completions and the other way round, where no row is lost; `rows` and
    `holdout` then count what was made, and `source` says so.

    Raises:
        DataError: the rows cannot be read, or do not fit the record type.
        ConfigError: a setting that this kind of source does not take, or an unknown name.
        PluginError: an installed dataset is broken.
    """
    source = find(config.name)
    _refuse_other_settings(config, source)
    if isinstance(source, CallableSource):
        return _procedural(source, config, kind)
    return _stored(source, config, kind)


def _refuse_other_settings(config: DataConfig, source: PathSource | HubSource | CallableSource) -> None:
    defaults = DataConfig()
    for name in _SOURCE_FIELDS:
        value = getattr(config, name)
        if name not in source.takes and value != getattr(defaults, name):
            raise ConfigError(
                f"data.{name} means nothing for {config.name}",
                given=f"data.{name}={value}",
                exists=sorted({"rows", "holdout", *source.takes}),
                hint=f"leave data.{name} out",
            )


def _stored(source: PathSource | HubSource, config: DataConfig, kind: type[Record]) -> Loaded:
    placed = source.rows(config)
    if not placed:
        return _loaded([], [], config.name, (), {})
    conversion = find_conversion(placed, kind, config.columns, config.name)
    if not config.holdout and config.rows is not None and conversion is None:
        placed = placed[: config.rows]
    records, columns = adapt(placed, conversion.stored if conversion else kind, config.columns, config.name)
    name = config.name
    if conversion:
        stored, records = records, conversion.convert(records, config.name)
        name += " " + conversion.words.format(made=len(records), stored=len(stored))
    kept, held = _split_by_prompt(records, config.holdout or 0, config.name)
    return _loaded(kept[: config.rows], held, name, (), columns)


def _split_by_prompt(records: list[Any], wanted: int, name: str) -> tuple[list[Any], list[Any]]:
    """Set aside `wanted` records, or slightly fewer where whole prompts do not add up to that number."""
    if not wanted:
        return records, []
    if wanted >= len(records):
        raise DataError(
            f"a holdout of {wanted} rows leaves none of {len(records)} to train on",
            given=name,
            hint=f"lower data.holdout below {len(records)}",
        )
    rows_of: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        rows_of[split_key(record)].append(index)
    held: set[int] = set()
    for key in sorted(rows_of, key=fingerprint):
        if len(held) + len(rows_of[key]) <= wanted:
            held.update(rows_of[key])
    if not held:
        smallest = min(map(len, rows_of.values()))
        raise DataError(
            f"no holdout of {wanted} rows: every prompt has at least {smallest}, and prompts are held out whole",
            given=name,
            hint=f"raise data.holdout to {smallest} or more"
            if smallest < len(records)
            else "the rows share one prompt",
        )
    return [r for i, r in enumerate(records) if i not in held], [records[i] for i in sorted(held)]


def _procedural(source: CallableSource, config: DataConfig, kind: type[Record]) -> Loaded:
    clash = source.params.keys() & config.params.keys()
    if clash:
        raise ConfigError(f"data.params.{min(clash)} is already given by the name", given=config.name)
    rows = PROCEDURAL_ROWS if config.rows is None else config.rows
    train, columns = _generate(source, config, kind, "train", rows)
    wanted = PROCEDURAL_HOLDOUT if config.holdout is None else config.holdout
    held, held_columns = _generate(source, config, kind, "holdout", wanted)
    trained = {split_key(record) for record in train}
    holdout = [record for record in held if split_key(record) not in trained]
    if config.holdout and not holdout:
        raise DataError(
            f"no held-out rows: {len(held)} were made, and each has a prompt that is also trained on",
            given=config.name,
            hint="make other rows when request.split is 'holdout', or set data.holdout=0",
        )
    return _loaded(train, holdout, config.name, source.rewards, columns or held_columns)


def _generate(
    source: CallableSource, config: DataConfig, kind: type[Record], split: Split, rows: int
) -> tuple[list[Any], dict[str, str]]:
    if not rows:
        return [], {}
    params = {**config.params, **source.params}
    placed = source.rows(DataRequest(kind, split, rows, config.seed, config.level, params))
    if not placed or not isinstance(placed[0].row, Record):
        return adapt(placed, kind, config.columns, source.name) if placed else ([], {})
    if config.columns:
        raise ConfigError("data.columns means nothing for a dataset that makes records", given=source.name)
    return [_of_kind(item, kind) for item in placed], {}


def _of_kind(placed: Placed, kind: type[Record]) -> Any:
    if isinstance(placed.row, kind):
        return placed.row
    raise DataError(
        f"{placed.place} is a {type(placed.row).__name__}, where {kind.__name__} was asked for",
        hint="a dataset makes records of request.kind, or mappings",
    )


def _loaded(
    train: list[Any], holdout: list[Any], name: str, rewards: tuple[str, ...], columns: dict[str, str]
) -> Loaded:
    if not train and not holdout:
        raise DataError("the data set has no rows", given=name, hint="raise data.rows or data.holdout")
    words = f"{name}: {len(train):,} training rows" + (f", {len(holdout):,} held out" if holdout else "")
    digest = fingerprint({"train": _hashes(train, name), "holdout": _hashes(holdout, name)})
    return Loaded(train, holdout, words, rewards, digest, columns)


def _hashes(records: Iterable[Record], name: str) -> list[str]:
    hashes = []
    for number, record in enumerate(records, start=1):
        try:
            hashes.append(record_hash(record))
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(
                f"record {number} holds a value that cannot be stored: {describe(error)}", given=name
            ) from error
    return hashes


def split_key(record: Record) -> str:
    """What must not stand on both sides of a split: the prompt, or the text itself where there is none."""
    if isinstance(record, Conversation) and not record.prompt:
        return record.completion
    return prompt_text(record.prompt)
