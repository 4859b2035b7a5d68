"""`load`: from the settings of a data set to its training and held-out records. Needs no torch.

No prompt is in both splits. Rows of files are held out by whole prompts. Of a procedural source's held-out rows, those with a
prompt that is also trained on are dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice, pairwise
from typing import Any

from rlllm.core.errors import ConfigError, DataError, describe
from rlllm.core.records import Conversation, Record, fingerprint, full_text, prompt_key, record_hash
from rlllm.data.config import DataConfig, held_out_rows
from rlllm.data.context_columns import with_system
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.mixed_sources import mixed_rows, sources_of
from rlllm.data.prepare.folder import Manifest, read_manifest
from rlllm.data.sources import CallableSource, HubSource, PathSource
from rlllm.data.stream import PROCEDURAL_ROWS, Reading, generate, made_by, open_records, open_source, read_rows

PROCEDURAL_HOLDOUT = 256


@dataclass(frozen=True, slots=True)
class MixedPart:
    """What was done with one data set of a mixture."""

    name: str
    rows: int
    """Its training rows in the mixture."""
    how: str
    """What makes records of its rows, its settings, and the rows that were left out or changed, for a reader."""

    def words(self) -> str:
        return f"{self.name}: {self.how}"


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
    """Record field to the column it was read from; empty where the source or a schema makes the records, and of a mixture."""
    skipped: int = 0
    """Rows that were left out because they are damaged or do not fit, under `on_bad_row: skip`."""
    skipped_examples: tuple[str, ...] = ()
    """Place and reason of the first 20 of them."""
    undecided: int = 0
    """Rows that prefer neither of two answers, and so made no pair."""
    how: str = ""
    """What makes the records, for a reader: columns, a data schema, or the source itself; empty of a mixture."""
    parts: tuple[MixedPart, ...] = ()
    """The data sets of a mixture; empty where there is one data set."""


def load(config: DataConfig, kind: type[Record]) -> Loaded:
    """Read a data set as records of one type.

    Of files, whole prompts are held out, chosen by a hash of the prompt, so that the same rows are held out whatever the seed,
    the order of the file, or rows added later; `rows` limits the rest. Procedural sources have a separate held-out split. A
    file of pairs is also read as labelled completions, and the other way round, if no row is lost by it; `rows` and `holdout`
    then count the converted records, and `source` says so.

    Raises:
        DataError: the rows cannot be read, or do not fit the record type.
        ConfigError: a setting that this kind of source does not take, or an unknown name.
        PluginError: an installed dataset is broken.
    """
    loaded = _load(config, kind)
    return _with_system_prompt(loaded, config) if config.system_prompt else loaded


def _load(config: DataConfig, kind: type[Record]) -> Loaded:
    if config.mix:
        return _mixed(config, kind)
    source = open_source(config)
    bad = BadRows(config.on_bad_row)
    if isinstance(source, CallableSource):
        return _procedural(source, config, kind, bad)
    if isinstance(source, PathSource) and config.split == "train" and (manifest := read_manifest(source.path)):
        return _prepared(source, manifest, config, kind, bad)
    return _stored(source, config, kind, bad)


def _mixed(config: DataConfig, kind: type[Record]) -> Loaded:
    """The rows of several data sets: held out together, by whole prompts, then mixed by their weights."""
    sources = sources_of(config)
    bad = BadRows("skip")
    rows_of, words_of = [], []
    for part in sources:
        rows, words = _part(part, kind, bad)
        rows_of.append(rows)
        words_of.append(words)
    ends = list(accumulate(map(len, rows_of), initial=0))
    together = [record for rows in rows_of for record in rows]
    held_out = _held_out(together, held_out_rows(config.holdout, len(together)), config.name)
    left = [[together[i] for i in range(*span) if i not in held_out] for span in pairwise(ends)]
    mixed = mixed_rows(config, left)
    parts = tuple(
        MixedPart(part.name, count, how) for part, count, how in zip(sources, mixed.counts, words_of, strict=True)
    )
    words = ", ".join(f"{part.rows:,} of {part.name}" for part in parts)
    rewards = {source.rewards if isinstance(source, CallableSource) else () for source in map(open_source, sources)}
    common = next(iter(rewards)) if len(rewards) == 1 else ()
    holdout = [together[i] for i in sorted(held_out)]
    loaded = _loaded(mixed.rows, holdout, f"{config.name} (mixed: {words})", common, {}, bad)
    return replace(loaded, parts=parts)


def _part(config: DataConfig, kind: type[Record], bad: BadRows) -> tuple[list[Any], str]:
    """The records of one data set of a mixture, and what was done with them in words; `bad` includes its bad rows."""
    own_bad = BadRows(config.on_bad_row)
    opened = open_records(config, kind, own_bad)
    records, words = list(opened.records), [opened.how]
    own_bad.settle(config.name)
    bad.include(own_bad)
    if own_bad.words():
        words.append(own_bad.words())
    if config.system_prompt:
        records, changed = _behind_system(records, config.system_prompt)
        words.append(_system_words(len(records), changed))
    return records, "; ".join(words)


def _behind_system(records: Sequence[Any], system: str) -> tuple[list[Any], int]:
    """The records behind a system prompt, and how many did not begin with one already."""
    behind = [with_system(record, system) for record in records]
    return behind, sum(new is not old for new, old in zip(behind, records, strict=True))


def _system_words(rows: int, changed: int) -> str:
    kept = rows - changed
    return f"system prompt before {changed:,} rows" + (f" ({kept:,} keep their own)" if kept else "")


def _with_system_prompt(loaded: Loaded, config: DataConfig) -> Loaded:
    """The records behind the system prompt of the settings; it comes last, so that it decides nothing about the holdout."""
    assert config.system_prompt is not None
    before = [*loaded.train, *loaded.holdout]
    behind, changed = _behind_system(before, config.system_prompt)
    train, holdout = behind[: len(loaded.train)], behind[len(loaded.train) :]
    if not changed and all(isinstance(record, Conversation) and not record.prompt for record in before):
        raise ConfigError(
            "a system prompt stands before the turns of a chat, and this data is plain text",
            given=config.name,
            hint="leave system_prompt out",
        )
    words = f"{loaded.source}, {_system_words(len(before), changed)}"
    digest = fingerprint({"train": _hashes(train, config.name), "holdout": _hashes(holdout, config.name)})
    return replace(loaded, train=train, holdout=holdout, source=words, hash=digest)


def _prepared(source: PathSource, manifest: Manifest, config: DataConfig, kind: type[Record], bad: BadRows) -> Loaded:
    """Both parts of a prepared folder, as they were split when it was built."""
    wanted = held_out_rows(config.holdout, manifest.train + manifest.holdout)
    if wanted > manifest.holdout:
        raise DataError(
            f"the prepared folder holds out {manifest.holdout} rows, not {wanted}",
            given=config.name,
            hint="leave data.holdout out, or build the folder with more",
        )
    parts = []
    for split, limit in (("train", config.rows), ("holdout", None if config.holdout is None else wanted)):
        reading = read_rows(source, config.model_copy(update={"split": split}), kind, bad)
        parts.append(list(islice(reading.converted(config.name, bad), limit)) if reading else [])
    bad.settle(config.name)
    words = f"{config.name} (prepared, {manifest.hash})"
    return replace(_loaded(parts[0], parts[1], words, (), {}, bad), how="records of the prepared folder")


def _stored(source: PathSource | HubSource, config: DataConfig, kind: type[Record], bad: BadRows) -> Loaded:
    reading = read_rows(source, config, kind, bad)
    if reading is None:
        return _loaded([], [], config.name, (), {}, bad)
    stored_records = list(islice(reading.records, _needed(config, reading)))
    bad.settle(config.name)
    name = config.name
    if reading.adapter.schema:
        name += f" (schema {reading.adapter.schema.name})"
    records = stored_records
    if conversion := reading.conversion:
        records = conversion.convert(stored_records, config.name, bad)
        name += " " + conversion.words.format(made=len(records), stored=len(stored_records))
        bad.settle(config.name)
    train, holdout = _split_by_prompt(
        records, held_out_rows(config.holdout, _of_rows(config, len(records))), config.name
    )
    loaded = _loaded(train[: config.rows], holdout, name, (), dict(reading.adapter.columns), bad)
    return replace(loaded, how=reading.how)


def _needed(config: DataConfig, reading: Reading) -> int | None:
    """Records that have to be read; None for all, where the held-out ones are chosen among them or rows are joined."""
    if config.rows is None or reading.conversion:
        return None
    if config.streaming:
        return config.rows + held_out_rows(config.holdout, config.rows)
    return None if config.holdout else config.rows


def _of_rows(config: DataConfig, rows: int) -> int:
    """The rows of which a holdout below 1 is a share: all that are read; of a stream, those that are trained on."""
    return config.rows if config.streaming and config.rows is not None else rows


def _split_by_prompt(records: list[Any], holdout: int, name: str) -> tuple[list[Any], list[Any]]:
    """Split off `holdout` records, or slightly fewer where whole prompts do not add up to that number."""
    held_out = _held_out(records, holdout, name)
    return [r for i, r in enumerate(records) if i not in held_out], [records[i] for i in sorted(held_out)]


def _held_out(records: list[Any], holdout: int, name: str) -> set[int]:
    """Places of `holdout` records, or slightly fewer where whole prompts do not add up to that number."""
    if not holdout:
        return set()
    if holdout >= len(records):
        raise DataError(
            f"a holdout of {holdout} rows leaves none of {len(records)} to train on",
            given=name,
            hint=f"lower data.holdout below {len(records)}",
        )
    rows_of: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        rows_of[split_key(record)].append(index)
    held_out: set[int] = set()
    for key in sorted(rows_of, key=fingerprint):
        if len(held_out) + len(rows_of[key]) <= holdout:
            held_out.update(rows_of[key])
    if not held_out:
        smallest = min(map(len, rows_of.values()))
        raise DataError(
            f"no holdout of {holdout} rows: every prompt has at least {smallest}, and prompts are held out whole",
            given=name,
            hint=f"raise data.holdout to {smallest} or more"
            if smallest < len(records)
            else "the rows share one prompt",
        )
    return held_out


def _procedural(source: CallableSource, config: DataConfig, kind: type[Record], bad: BadRows) -> Loaded:
    rows = PROCEDURAL_ROWS if config.rows is None else config.rows
    train, columns = generate(source, config, kind, "train", rows, bad)
    holdout_rows = PROCEDURAL_HOLDOUT if config.holdout is None else held_out_rows(config.holdout, rows)
    held_out, holdout_columns = generate(source, config, kind, "holdout", holdout_rows, bad)
    bad.settle(config.name)
    trained = {split_key(record) for record in train}
    holdout = [record for record in held_out if split_key(record) not in trained]
    if config.holdout and not holdout:
        raise DataError(
            f"no held-out rows: {len(held_out)} were made, and each has a prompt that is also trained on",
            given=config.name,
            hint="make other rows when request.split is 'holdout', or set data.holdout=0",
        )
    columns = columns or holdout_columns
    loaded = _loaded(train, holdout, config.name, source.rewards, columns, bad)
    return replace(loaded, how=made_by(columns))


def _loaded(
    train: list[Any],
    holdout: list[Any],
    name: str,
    rewards: tuple[str, ...],
    columns: dict[str, str],
    bad: BadRows,
) -> Loaded:
    if not train and not holdout:
        bad.settle(name)
        raise DataError("the data set has no rows", given=name, hint="raise data.rows or data.holdout")
    counts = [f"{len(train):,} training rows", f"{len(holdout):,} held out" if holdout else "", bad.words()]
    words = f"{name}: {', '.join(filter(None, counts))}"
    digest = fingerprint({"train": _hashes(train, name), "holdout": _hashes(holdout, name)})
    return Loaded(train, holdout, words, rewards, digest, columns, bad.count, tuple(bad.examples), bad.undecided)


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
    """What must not be in both splits: the prompt with what its images hold, or the completion where there is none."""
    if isinstance(record, Conversation) and not record.prompt:
        return full_text(record.completion)
    return prompt_key(record.prompt)
