"""Data sources by name. Finding a source reads no data; only a Hub data set imports `datasets`.

A name is, in this order: a registered name (`arithmetic`, `gym:chain_sum`), a callable (`file.py:function`), a path, a
Hub id (`org/name`). A folder called like a registered name is meant by `./name`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from rlllm.core.errors import ConfigError, DataError, PluginError, closest, describe, unknown
from rlllm.core.plugin_errors import plugin_boundary
from rlllm.data.config import DataConfig
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.files import data_files, is_saved, iterate_file, iterate_folder, missing, nearest
from rlllm.data.io.formats import READERS, Placed, dataset_rows, number_rows, suffix_of
from rlllm.data.prepare import folder
from rlllm.data.registry import DATASETS
from rlllm.data.request import DataRequest

_CALLABLE = re.compile(r"^[^:\s][^:]*:[A-Za-z_]\w*$")
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


@dataclass(frozen=True, slots=True)
class PathSource:
    """A data file, or a folder of them."""

    path: Path

    @property
    def takes(self) -> frozenset[str]:
        fields = frozenset({"columns", "row_schema", "image_folder", "split"})
        plain = self.path.is_dir() and not is_saved(self.path) and not (self.path / folder.MANIFEST).is_file()
        return fields | {"subset"} if plain else fields

    def rows(self, config: DataConfig, bad: BadRows) -> Iterator[Placed]:
        """The rows in order, as they are read."""
        rows = self._rows(config, bad)
        if config.image_folder is None:
            return rows
        folder = Path(config.image_folder).expanduser()
        if not folder.is_dir():
            raise ConfigError("there is no such folder of images", given=f"data.image_folder={config.image_folder}")
        return (placed._replace(folder=folder) for placed in rows)

    def _rows(self, config: DataConfig, bad: BadRows) -> Iterator[Placed]:
        if (self.path / folder.MANIFEST).is_file():
            return folder.rows(self.path, config.split, bad)
        if self.path.is_dir():
            return iterate_folder(self.path, config.split, bad, config.subset)
        if config.split != DataConfig.model_fields["split"].default:
            raise ConfigError("a file has no splits", given=f"data.split={config.split}", hint="leave data.split out")
        return iterate_file(self.path, bad)


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set of the Hugging Face Hub: downloaded whole or taken from its cache, or streamed as far as it is needed."""

    name: str
    takes: ClassVar[frozenset[str]] = frozenset({"columns", "row_schema", "subset", "split", "revision", "streaming"})

    def rows(self, config: DataConfig, bad: BadRows) -> Iterator[Placed]:
        """The rows in order; a stream is read no further than its rows are taken."""
        if config.streaming and config.rows is None:
            raise ConfigError(
                "a streamed data set needs a number of rows",
                given=f"data.streaming=true with {self.name}",
                hint=f"say how many to take: {self.name}#10000",
            )
        from datasets import load_dataset

        try:
            data = load_dataset(
                self.name, config.subset, split=config.split, revision=config.revision, streaming=config.streaming
            )
            yield from number_rows(dataset_rows(data), self.name)
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> DataError:
        offline = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
        what = "the Hub cannot be reached" if offline else "the Hub data set does not load"
        return DataError(
            f"{what}: {describe(error)[:300]}",
            given=self.name,
            hint="name a local file (path/to/rows.jsonl) or a built-in (rlllm data ls); "
            "data.subset, data.split and data.revision choose a part of a Hub data set",
        )


@dataclass(frozen=True, slots=True)
class CallableSource:
    """A procedural source: built in, installed, or a function in a file."""

    name: str
    make: Callable[[DataRequest], Iterable[Mapping[str, Any] | Any]]
    params: Mapping[str, Any]
    """Arguments that are part of the name: `gym:chain_sum` gives the task."""
    installed: bool
    builtin: bool

    @property
    def takes(self) -> frozenset[str]:
        for_rows = frozenset() if self.builtin else frozenset({"columns", "row_schema"})
        return frozenset({"level", "params", "seed"}) | for_rows

    @property
    def rewards(self) -> tuple[str, ...]:
        """Default reward names of this source."""
        return tuple(getattr(self.make, "rewards", ()))

    def rows(self, request: DataRequest) -> list[Placed]:
        """At most `request.rows` rows of the callable, each a record or a mapping.

        Raises:
            DataError, PluginError: the callable raised; the message has the file and line.
        """
        request = self._with_wrapped(request)
        boundary = plugin_boundary(
            "dataset",
            self.name,
            self.make,
            error_type=PluginError if self.installed else DataError,
            given=f"a DataRequest for {request.rows} rows of {request.kind.__name__}, split {request.split}",
            hint="a dataset is a callable that takes a DataRequest and gives records or mappings",
        )
        with boundary:
            return list(number_rows(islice(self.make(request), request.rows), self.name))

    def _with_wrapped(self, request: DataRequest) -> DataRequest:
        """The request of a dataset that wraps another one, with the rows of the other in `wrapped`."""
        default_name = getattr(self.make, "wraps", None)
        if default_name is None:
            return request
        params = dict(request.params)
        wrapped_name = str(params.pop(getattr(self.make, "argument", "source"), default_name))
        source = find(wrapped_name)
        if not isinstance(source, CallableSource):
            raise DataError(f"{self.name} wraps procedural data sets only", given=wrapped_name, hint="rlllm data ls")

        def wrapped_rows(inner: DataRequest) -> list[Any]:
            inner = replace(inner, params={**inner.params, **source.params})
            return [placed.row for placed in source.rows(inner)]

        return replace(request, params=params, wrapped=wrapped_rows)


Source = PathSource | HubSource | CallableSource


def find(name: str) -> Source:
    """The source behind a name.

    Raises:
        UnknownNameError, DataError: nothing has that name; the nearest names are in the message.
        ConfigError: a named file or module does not import, or a name takes no `:argument`.
        PluginError: an installed plugin is broken.
    """
    head, _, argument = name.partition(":")
    if head in DATASETS:
        return _registered(head, argument)
    if _CALLABLE.match(name) and not _exists(Path(name)):
        return _from_path(name)
    path = Path(name).expanduser() if name.startswith("~/") else Path(name)
    if _exists(path):
        return PathSource(path)
    looks_local = suffix_of(path) in READERS or name.startswith((".", "/", "~"))
    if looks_local or ("/" in name and _exists(path.parent)):
        raise missing(path)
    if _HUB_ID.match(name):
        return HubSource(name)
    files = data_files(path.parent)
    if closest(name, DATASETS.names()) is None and nearest(name, files):
        raise missing(path)
    raise unknown("dataset", name, [*DATASETS.names(), *files], list_command="rlllm data ls")


def _registered(head: str, argument: str) -> CallableSource:
    make = DATASETS.load(head)
    builtin = head in DATASETS.builtins
    if not callable(make):
        raise PluginError(f"the dataset {head} is not callable", given=type(make).__name__)
    if not argument:
        return CallableSource(head, make, {}, installed=not builtin, builtin=builtin)
    key = getattr(make, "argument", None)
    if key is None:
        raise ConfigError(f"{head} takes no argument after a colon", given=f"{head}:{argument}", hint=f"write {head}")
    return CallableSource(f"{head}:{argument}", make, {key: argument}, installed=not builtin, builtin=builtin)


def _from_path(name: str) -> CallableSource:
    head = name.partition(":")[0]
    near = closest(head, DATASETS.names()) if "." not in head and "/" not in head else None
    if near:
        raise unknown("dataset", head, DATASETS.names(), list_command="rlllm data ls")
    make = DATASETS.load(name)
    if not callable(make):
        raise ConfigError("a dataset must be callable", given=f"{name} is a {type(make).__name__}")
    return CallableSource(name, make, {}, installed=False, builtin=False)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
