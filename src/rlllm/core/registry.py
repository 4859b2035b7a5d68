"""One lazy registry per kind of part: rewards, datasets, methods, slots, engines, evals.

A name resolves in this order: built-in table, installed plugins (entry points), then `path/to/file.py:attr` or
`package.module:attr`. Listing reads names only and imports nothing. A broken plugin fails when it is named, not before;
two plugins that claim one name are an error that names both distributions.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from rlllm.core.code_hash import with_imports
from rlllm.core.errors import ConfigError, PluginError, describe, unknown
from rlllm.core.plugin_errors import plugin_place
from rlllm.core.records import fingerprint


@dataclass(frozen=True, slots=True)
class Builtin:
    """A part that ships with rlllm: where it lives and one line about it, known without importing it.

    An empty summary means that the object has a `summary` of its own, which listings read; its module must be cheap to import.
    """

    target: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing."""

    name: str
    target: str
    origin: str
    summary: str = ""


class Registry:
    """Names of one kind of part.

    Args:
        noun: the singular word used in messages, e.g. "reward".
        group: entry-point group plugins register under, e.g. "rlllm.rewards".
        builtins: static table of what ships with rlllm.
        list_command: what to type to see the names.
    """

    def __init__(self, noun: str, group: str, builtins: Mapping[str, Builtin], list_command: str | None = None) -> None:
        self.noun = noun
        self.group = group
        self.builtins = builtins
        self.list_command = list_command

    def entries(self) -> list[Entry]:
        """Every name with its origin, built-ins first; nothing heavy is imported."""
        own = [
            Entry(name, part.target, "built in", part.summary or load_target(part.target).summary)
            for name, part in sorted(self.builtins.items())
        ]
        foreign = [Entry(point.name, point.value, _distribution(point)) for point in self._points()]
        return own + sorted(foreign, key=lambda entry: entry.name)

    def names(self) -> list[str]:
        return [*sorted(self.builtins), *sorted(point.name for point in self._points())]

    def __contains__(self, name: str) -> bool:
        return name in self.builtins or any(point.name == name for point in self._points())

    def load(self, name: str) -> Any:
        """The object behind `name`.

        Raises:
            UnknownNameError: nobody knows the name.
            ConfigError: a file or module the user named does not import, or lacks the attribute.
            PluginError: an installed plugin is broken, or two claim the name; or a file ends the program when it is imported.
        """
        if name in self.builtins:
            return load_target(self.builtins[name].target)
        if ":" in name:
            return self._load_path(name)
        if name.endswith(".py"):
            raise ConfigError(f"which {self.noun} of the file?", given=name, hint=f"{name}:NAME")
        points = [point for point in self._points() if point.name == name]
        if not points:
            raise unknown(self.noun, name, self.names(), list_command=self.list_command)
        if len(points) > 1:
            raise PluginError(
                f"two plugins claim the {self.noun} {name}",
                given=" and ".join(sorted(_distribution(point) for point in points)),
                hint="uninstall one of them, or name the part as package.module:attribute",
            )
        return self._load_point(points[0])

    def _points(self) -> list[EntryPoint]:
        points = [point for point in entry_points(group=self.group) if point.name not in self.builtins]
        return sorted({(point.name, point.value, _distribution(point)): point for point in points}.values())

    def _load_point(self, point: EntryPoint) -> Any:
        try:
            loaded = point.load()
            if file := getattr(sys.modules.get(point.module), "__file__", None):
                _FILES[point.name] = Path(file)
            return loaded
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PluginError(
                f"the {self.noun} {point.name} of {_distribution(point)} does not load: {_with_place(error)}",
                given=point.value,
                hint=f"repair or uninstall {_distribution(point)}; other names are not affected",
            ) from error

    def _load_path(self, name: str) -> Any:
        place, _, attribute = name.rpartition(":")
        is_file = place.endswith(".py")
        if is_file and not _resolved(place).is_file():
            raise ConfigError(
                f"no such file for the {self.noun}: {place}", given=name, hint="give it as path/to/file.py:function"
            )
        try:
            module = _module_from_file(_resolved(place)) if is_file else importlib.import_module(place)
        except KeyboardInterrupt:
            raise
        except Exception as error:
            raise ConfigError(
                f"the {self.noun} file does not import: {_with_place(error)}",
                given=name,
                hint=f"try it alone: python {place}" if is_file else f"try: python -c 'import {place}'",
            ) from error
        except BaseException as error:  # sys.exit at import must not end rlllm, least of all with code 0
            raise PluginError(
                f"the {self.noun} file ends the program when it is imported: {_with_place(error)}",
                given=name,
                hint="put what the file does as a program under: if __name__ == '__main__':",
            ) from error
        if file := getattr(module, "__file__", None):
            _FILES[name] = Path(file)
        try:
            return getattr(module, attribute)
        except AttributeError as error:
            public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise unknown(f"{self.noun} in {place}", attribute, public) from error


_FILES: dict[str, Path] = {}
"""Name that was asked for -> the Python file behind it, of parts that are not built in."""


def loaded_files() -> dict[str, Path]:
    """The files of plugins and of the user's own parts that were loaded in this process, by the names they were asked for."""
    return dict(_FILES)


def imported_modules(name: str) -> dict[str, str]:
    """File to hash of the modules that one of the user's own parts imports from beside its file, or from its package.

    Args:
        name: as it was asked for: `path/to/file.py:name` or `package.module:name`. Installed plugins have none here.
    """
    place, colon, _ = name.rpartition(":")
    path = _FILES.get(name)
    if path is None or not colon:
        return {}
    path = path.resolve()
    root = path.parents[0 if place.endswith(".py") else place.count(".") + (path.name == "__init__.py")]
    texts = with_imports(path, root)
    return {file: fingerprint(text) for file, text in texts.items() if root / file != path}


def _with_place(error: BaseException) -> str:
    """The exception with the file and line of the user's code that raised it, where there is one."""
    place = plugin_place(error)
    return describe(error) + (f" ({place})" if place else "")


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown distribution"


def load_target(target: str) -> Any:
    """The object behind "module:attribute"; imports the module."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _resolved(place: str) -> Path:
    return Path(place).expanduser().resolve()


def _module_from_file(path: Path) -> Any:
    name = f"rlllm_file_{path.stem}_{abs(hash(str(path))):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
