"""A hash of data sources, over their settings and the bytes of their files.

It tells whether a prepared folder is still what its sources would give. No rows are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlllm import __version__
from rlllm.core.errors import DataError, describe
from rlllm.core.records import fingerprint
from rlllm.core.runs import file_hash
from rlllm.data.config import DataConfig
from rlllm.data.io.folders import files_that_decide
from rlllm.data.mixed_sources import sources_of
from rlllm.data.sources import CallableSource, HubSource, find

_COMMIT = re.compile(r"[0-9a-f]{40}")


def sources_key(sources: Sequence[DataConfig], settings: Mapping[str, Any]) -> str:
    """A hash of the settings, all the sources' bytes and the version of rlllm; empty where a source's bytes cannot be known.

    Raises:
        DataError, ConfigError: a name that nothing has.
    """
    marks = [_mark(source) for source in sources]
    return "" if None in marks else fingerprint({"version": __version__, "settings": settings, "sources": marks})


def _mark(data: DataConfig) -> Any:
    """What decides the source's rows; None for an installed data set, or one of the Hub that is not pinned to a commit."""
    if data.mix:
        marks = [_mark(part) for part in sources_of(data)]
        return None if None in marks else {**data.model_dump(mode="json"), "parts": marks}
    source = find(data.name)
    settings = {**data.model_dump(mode="json"), **_schema_file(data)}
    if isinstance(source, HubSource):
        return settings if _COMMIT.fullmatch(data.revision or "") else None
    if isinstance(source, CallableSource):
        return _of_callable(source, settings)
    files = sorted(files_that_decide(source.path, data.subset) if source.path.is_dir() else [source.path])
    try:
        return {**settings, "files": {str(path.relative_to(source.path.parent)): file_hash(path) for path in files}}
    except OSError as error:
        raise DataError(f"the data cannot be read: {describe(error)}", given=data.name) from error


def _schema_file(data: DataConfig) -> dict[str, str]:
    file = Path((data.row_schema or "").rpartition(":")[0])
    return {"row_schema_file": file_hash(file)} if file.is_file() else {}


def _of_callable(source: CallableSource, settings: dict[str, Any]) -> Any:
    if source.builtin:
        return settings
    file = Path(source.name.partition(":")[0])
    return {**settings, "file": file_hash(file)} if file.is_file() else None
