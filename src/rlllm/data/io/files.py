"""Rows of local files and folders, in order and one at a time. `formats` has the reader of each file format, `folders` says
which files of a folder are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rlllm.core.errors import DataError, closest, describe
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.folders import split_files
from rlllm.data.io.formats import READERS, Placed, dataset_rows, number_rows, suffix_of

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def read_file(path: Path) -> list[Placed]:
    """All rows of one data file, in order.

    Raises:
        DataError: the file is missing, empty, of an unknown kind, or broken at a named line.
    """
    return list(iterate_file(path, BadRows()))


def iterate_file(path: Path, bad: BadRows) -> Iterator[Placed]:
    """Rows of one data file, in order, as they are read.

    Raises:
        DataError: as `read_file`, when that row is reached; for a bad row only if the policy of `bad` is `fail`.
    """
    if not path.is_file():
        raise missing(path)
    reader = READERS.get(suffix_of(path))
    if reader is None:
        raise DataError(
            f"cannot read {suffix_of(path) or 'a file without a suffix'} as data",
            given=path,
            exists=READERS,
            hint="convert it to JSON lines: one object a line",
        )
    if _is_pointer(path):
        raise DataError(
            "the file is a Git LFS pointer, without the data", given=path, hint="fetch it with: git lfs pull"
        )
    before, empty = bad.count, True
    try:
        for placed in reader(path, bad):
            empty = False
            yield placed._replace(folder=path.parent)
    except OSError as error:
        raise DataError(f"the data file cannot be read: {describe(error)}", given=path) from error
    if empty and bad.count == before:
        raise DataError("the data file is empty: it has no rows", given=path)


def _is_pointer(path: Path) -> bool:
    """Whether a clone has only the pointer that Git LFS puts in the place of a large file."""
    try:
        with path.open("rb") as file:
            return file.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError:  # reported by its reader
        return False


def iterate_folder(path: Path, split: str, bad: BadRows, subset: str | None = None) -> Iterator[Placed]:
    """Rows of the files of a split, sorted by name: a folder, the clone of a Hub data set, or what `save_to_disk` wrote.

    Files named after a split (`train-00000.parquet`, `test.jsonl`) are read only for that split.

    Raises:
        DataError: no data files, files of several kinds, no such split or subset; or as `iterate_file`.
    """
    if is_saved(path):
        yield from _read_saved(path, split)
        return
    for file in split_files(path, split, subset):
        yield from iterate_file(file, bad)


def is_saved(path: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (path / "dataset_dict.json").exists() or (path / "state.json").exists()


def missing(path: Path) -> DataError:
    """The error for a path that is not there: the nearest name in its folder first."""
    folder = path.parent
    if path.is_symlink():
        return DataError(
            "a symbolic link to a file that is not there",
            given=f"{path} -> {path.readlink()}",
            hint="bring the file back, or name it where it is now",
        )
    if not folder.is_dir():
        return DataError(
            "no such data file: its folder does not exist", given=path, hint=f"there is no folder {folder}"
        )
    names = data_files(folder)
    near = nearest(path.name, names)
    return DataError(
        "no such data file",
        given=path,
        exists=[] if near else names,
        hint=f"did you mean {folder / near}?" if near else "built-in names are listed by: rlllm data ls",
    )


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The file name closest to a misspelt one, which may lack its suffix."""
    stems = {Path(other).stem: other for other in names}
    stem = closest(Path(name).stem, stems)
    return closest(name, names) or (stems[stem] if stem else None)


def data_files(folder: Path) -> list[str]:
    """Names of the data files of a folder, for did-you-mean; none where it cannot be listed."""
    try:
        entries = sorted(folder.iterdir())
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return []
    return [entry.name for entry in entries if suffix_of(entry) in READERS]


def _read_saved(path: Path, split: str) -> Iterator[Placed]:
    from datasets import DatasetDict, load_from_disk

    try:
        data = load_from_disk(str(path))
        if isinstance(data, DatasetDict):
            if split not in data:
                raise DataError(f"the saved data set has no split {split}", given=path, exists=sorted(data))
            data = data[split]
        yield from number_rows(dataset_rows(data), path.name)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"the saved data set cannot be read: {describe(error)}", given=path) from error
