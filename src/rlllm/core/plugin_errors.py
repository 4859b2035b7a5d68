"""Attribution of exceptions to the plugin whose code raised them.

Every call of code that a user or an installed plugin wrote stands inside a `plugin_boundary`:

    with plugin_boundary("engine", name, engine):
        completions = engine.generate(prompt_ids, sampling)

An exception of that code becomes a `PluginError` with the plugin's name, the file and line of the plugin's innermost frame and,
for a misspelt attribute of one of rlllm's records, the attributes that exist.
"""

from __future__ import annotations

import functools
import inspect
import os
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlllm.core.errors import PluginError, RlllmError, closest, describe

_PACKAGES = ("rlllm", "rlllm_cli")
_LIBRARY_FOLDERS = tuple(sysconfig.get_path(key) + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib"))
_OWN_FOLDER = str(Path(__file__).parents[1]) + os.sep


@dataclass(frozen=True, slots=True)
class PluginPlace:
    """A line of a plugin's code."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}, line {self.line}"


@contextmanager
def plugin_boundary(
    noun: str,
    name: str,
    plugin: object = None,
    *,
    error_type: type[RlllmError] = PluginError,
    phrase: str = "raised",
    keys: Iterable[str] = (),
    given: object = None,
    hint: str | None = None,
    built_in_too: bool = False,
) -> Iterator[None]:
    """Turn an exception of a plugin's code into an error that names the plugin, its file and line.

    Errors of rlllm (`RlllmError`) and KeyboardInterrupt pass unchanged, and so does an exception in which no plugin had a part:
    `plugin` ships with rlllm, or is None, and no frame below the boundary is a user's. That one is a bug of rlllm.

    Args:
        noun: kind of the plugin, such as "engine".
        name: name by which the user asked for it, such as "mine.py:Greedy".
        plugin: the plugin's class, function or object. Without it only frames outside of installed packages are attributed.
        error_type: class of the error that is raised.
        phrase: text between the plugin's name and the exception.
        keys: keys that exist in the mapping the plugin reads; shown for a KeyError.
        given, hint: as of `RlllmError`.
        built_in_too: whether an exception of a plugin that ships with rlllm is treated alike, because its settings or its data
            are to blame.

    Raises:
        PluginError: the plugin's code raised an exception; `error_type` in its place if that is given.
    """
    try:
        yield
    except (RlllmError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a plugin's sys.exit must not end a run as if it had succeeded
        place = _innermost(_frames(error)[2:], plugin)  # without this function's frame and that of its caller
        if place is None and (plugin is None or _is_own(plugin)) and not built_in_too:
            raise
        existing = existing_attributes(error) or (list(keys) if isinstance(error, KeyError) else [])
        near = closest(_missing_name(error), existing) if existing else None
        where = place or (None if _is_own(plugin) else _definition(plugin))
        raise error_type(
            f"the {noun} {name} {phrase} {describe(error)}" + (f" ({where})" if where else ""),
            given=given,
            exists=existing,
            hint=f"did you mean {near}?" if near else hint,
        ) from error


def plugin_place(error: BaseException, plugin: object = None) -> PluginPlace | None:
    """The innermost frame of an exception that is the plugin's code; None if no frame below one of rlllm's is.

    Args:
        plugin: the plugin's class, function or object. Its file counts, and so does any that belongs neither to rlllm nor to
            Python or an installed package.
    """
    frames = _frames(error)
    first_own = next((index for index, (file, _) in enumerate(frames) if _in_own_packages(file)), 0)
    return _innermost(frames[first_own:], plugin)


def existing_attributes(error: BaseException) -> list[str]:
    """Public attributes of the object of rlllm that an AttributeError is about; empty for any other error or object."""
    if not isinstance(error, AttributeError) or not _is_own(type(error.obj)):
        return []
    return public_attributes(type(error.obj))


def public_attributes(kind: type) -> list[str]:
    """Public attributes of a class of rlllm, its declared fields first; what it inherits from other packages is left out."""
    own = [base for base in kind.__mro__ if _is_own(base)]
    fields = [name for base in reversed(own) for name in inspect.get_annotations(base)]
    names = dict.fromkeys([*fields, *(name for base in own for name in vars(base))])
    return [name for name in names if not name.startswith("_")]


def _frames(error: BaseException) -> list[tuple[str, int]]:
    """File and line of each frame of an exception, the outermost first."""
    return [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]


def _innermost(frames: list[tuple[str, int]], plugin: object) -> PluginPlace | None:
    own_file = None if plugin is None or _is_own(plugin) else _source_file(plugin)
    candidates = [frame for frame in frames if frame[0] == own_file or not _is_library(frame[0])]
    return PluginPlace(*candidates[-1]) if candidates else None


def _missing_name(error: BaseException) -> str:
    if isinstance(error, AttributeError):
        return error.name or ""
    return str(error.args[0]) if error.args else ""


def _is_own(plugin: object) -> bool:
    """Whether a class, function or object ships with rlllm."""
    return _module_name(plugin).partition(".")[0] in _PACKAGES


def _module_name(plugin: object) -> str:
    plugin = _unwrapped(plugin)
    return getattr(plugin, "__module__", None) or type(plugin).__module__


def _unwrapped(plugin: Any) -> Any:
    while isinstance(plugin, functools.partial):
        plugin = plugin.func
    return plugin


def _source_file(plugin: object) -> str | None:
    plugin = _unwrapped(plugin)
    is_code = inspect.isroutine(plugin) or inspect.isclass(plugin)
    try:
        return inspect.getsourcefile(plugin if is_code else type(plugin))  # type: ignore[arg-type]
    except TypeError:
        return None


def _definition(plugin: object) -> PluginPlace | None:
    """Where the plugin's class or function begins; for an exception before its first line ran, such as a wrong argument."""
    plugin = _unwrapped(plugin)
    is_code = inspect.isroutine(plugin) or inspect.isclass(plugin)
    file = _source_file(plugin)
    try:
        line = inspect.getsourcelines(plugin if is_code else type(plugin))[1]  # type: ignore[arg-type]
    except (OSError, TypeError):
        return None
    return PluginPlace(file, line) if file else None


def _in_own_packages(file: str) -> bool:
    return file.startswith(_OWN_FOLDER) or "rlllm_cli" in Path(file).parts


def _is_library(file: str) -> bool:
    """Whether a file belongs to rlllm, to Python or to an installed package, or is no file."""
    return file.startswith(("<", *_LIBRARY_FOLDERS)) or _in_own_packages(file)
