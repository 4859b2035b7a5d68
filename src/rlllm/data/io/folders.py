"""Which files of a folder hold the rows of a split: a plain folder, or the clone of a Hub data set.

A clone says in the head of its README.md which files belong to which subset and split. Without that, its files lie in the
folder itself, in `data/`, or in one folder for each subset or split, and the name of a file or folder says the split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlllm.core import yaml_io
from rlllm.core.errors import ConfigError, DataError
from rlllm.data.io.formats import READERS, suffix_of

_SPLIT_WORDS = {"train", "test", "validation", "valid", "val", "dev", "eval"}
_SHARD = re.compile(r"(?P<split>[\w.]+?)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.")
"""A file of a split that was written in pieces: `train_prefs-00000-of-00002.parquet`."""
_ABOUT = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
"""Files that describe a data set and hold no rows."""
_FRONT_MATTER = re.compile(r"\A---\r?\n(?P<yaml>.*?)\r?\n---\r?$", re.DOTALL | re.MULTILINE)

_Splits = list[tuple[Path, str | None]]
"""Files in order, each with its split where one is known."""


def split_files(folder: Path, split: str, subset: str | None = None) -> list[Path]:
    """The files that hold the rows of a split, all of one kind.

    Args:
        folder: the folder, or the clone.
        split: the split; files that carry no split are those of `train`.
        subset: the configuration of a Hub data set; needed where there are several and none is the default.

    Raises:
        DataError: no data files, files of several kinds, or no such subset or split.
    """
    named = _named(folder, subset)
    if not named:
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        raise DataError(
            "the folder holds no data files", given=folder, exists=names, hint=f"it needs {', '.join(READERS)}"
        )
    files = _of_split(named, split, folder)
    kinds = sorted({suffix_of(file) for file in files})
    if len(kinds) > 1:
        names = [file.name for file in files]
        raise DataError(
            f"the folder mixes {' and '.join(kinds)} files", given=folder, exists=names, hint="name one file"
        )
    return files


def files_that_decide(folder: Path, subset: str | None = None) -> list[Path]:
    """The files that hold rows of any split, and the README.md that may say which; others change no row.

    Raises:
        DataError: no such subset.
    """
    readme = folder / "README.md"
    return [*(file for file, _ in _named(folder, subset)), *([readme] if readme.is_file() else [])]


def _named(folder: Path, subset: str | None) -> _Splits:
    declared = _declared(folder)
    return _of_subset(declared, subset, folder) if declared else _in_folder(folder, subset)


def _declared(folder: Path) -> dict[str, _Splits]:
    """Subset -> its files, as README.md of a Hub data set declares them; empty without. The default one is named `default`."""
    subsets: dict[str, _Splits] = {}
    for config in _configs(folder / "README.md"):
        name = "default" if config.get("default") else str(config.get("config_name", "default"))
        if files := list(_globbed(folder / str(config.get("data_dir") or "."), config["data_files"])):
            subsets |= {name: files, str(config.get("config_name", name)): files}
    return subsets


def _configs(readme: Path) -> list[Mapping[str, Any]]:
    """The entries of `configs` in the YAML head of a README.md that name files."""
    match = _FRONT_MATTER.search(readme.read_text(encoding="utf-8", errors="replace")) if readme.is_file() else None
    try:
        head = yaml_io.parse(match["yaml"], source=str(readme)) if match else None
    except ConfigError:  # a head that is no YAML declares nothing
        return []
    configs = head.get("configs") if isinstance(head, Mapping) else None
    entries = configs if isinstance(configs, list) else []
    return [entry for entry in entries if isinstance(entry, Mapping) and "data_files" in entry]


def _globbed(folder: Path, data_files: Any) -> Iterator[tuple[Path, str | None]]:
    entries = data_files if isinstance(data_files, list) else [data_files]
    for entry in entries:
        split = entry.get("split") if isinstance(entry, Mapping) else None
        patterns = entry.get("path") if isinstance(entry, Mapping) else entry
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            for file in sorted(folder.glob(str(pattern))):
                if _holds_rows(file):
                    yield file, str(split) if split else None


def _of_subset(subsets: Mapping[str, _Splits], subset: str | None, folder: Path) -> _Splits:
    chosen = subset or (next(iter(subsets)) if len(subsets) == 1 else "default")
    if chosen not in subsets:
        raise DataError(
            f"the data set has no subset {subset}" if subset else "the data set has several subsets",
            given=folder,
            exists=subsets,
            hint=f"data.subset={next(iter(subsets))}",
        )
    return subsets[chosen]


def _in_folder(folder: Path, subset: str | None) -> _Splits:
    """The data files of a folder without a declaration, with the splits that their names say."""
    if subset is not None:
        if not (folder / subset).is_dir():
            folders = [entry.name for entry in _subfolders(folder)]
            raise DataError(f"the folder has no subset {subset}", given=folder, exists=folders)
        return _in_folder(folder / subset, None)
    if files := sorted(file for file in folder.iterdir() if _holds_rows(file)):
        return [(file, _split_of(file)) for file in files]
    inner = {entry: _in_folder(entry, None) for entry in _subfolders(folder)}
    inner = {entry: files for entry, files in inner.items() if files}
    by_split: _Splits = [
        (file, entry.name) for entry, files in inner.items() if entry.name in _SPLIT_WORDS for file, _ in files
    ]
    if by_split:
        return by_split
    if len(inner) > 1 and folder / "data" not in inner:
        names = [entry.name for entry in inner]
        raise DataError(
            "the folder holds several data sets", given=folder, exists=names, hint=f"data.subset={names[0]}"
        )
    return inner.get(folder / "data") or next(iter(inner.values()), [])


def _subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _holds_rows(file: Path) -> bool:
    return file.is_file() and suffix_of(file) in READERS and file.name not in _ABOUT


def _split_of(file: Path) -> str | None:
    if shard := _SHARD.match(file.name):
        return shard["split"]
    word = re.split(r"[-_.]", file.stem.lower())[0]
    return word if word in _SPLIT_WORDS else None


def _of_split(named: _Splits, split: str, folder: Path) -> list[Path]:
    splits = sorted({name for _, name in named if name})
    if not splits:
        if split == "train":
            return [file for file, _ in named]
        raise DataError(f"the folder has no split {split}: its files carry no split names", given=folder)
    files = [file for file, name in named if name == split]
    if not files:
        raise DataError(f"the folder has no split {split}", given=folder, exists=splits, hint=f"data.split={splits[0]}")
    return files
