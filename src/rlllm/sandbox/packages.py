"""Installed packages that programs in a sandbox may import: a folder of links to their files, and to nothing else.

What a package requires is linked as well. The folder stands on the module path of the sandbox's interpreters; under full
isolation the linked files are mounted there, read-only, and the named packages are imported before the walls are closed,
since the system libraries that they load are out of a program's view.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from rlllm.core.errors import ConfigError


@dataclass(frozen=True)
class Packages:
    """The folder of links, and the modules that the named packages give."""

    folder: Path
    modules: tuple[str, ...]
    owner: int
    """The process that made the folder, and removes it."""

    def remove(self) -> None:
        """Remove the folder of links; a fork leaves it alone."""
        if os.getpid() == self.owner:
            shutil.rmtree(self.folder, ignore_errors=True)


def linked(names: Sequence[str]) -> Packages:
    """A new folder with links to the packages and what they require.

    Args:
        names: of distributions or of modules: `scikit-learn` and `sklearn` are the same.

    Raises:
        ConfigError: one of them is not installed here.
    """
    folder = Path(tempfile.mkdtemp(prefix="rlllm-packages-"))
    for entry in _files(names):
        (folder / entry.name).symlink_to(entry)
    return Packages(folder, modules_of(tuple(names)), os.getpid())


def require(names: Sequence[str]) -> None:
    """Check that the packages are there.

    Raises:
        ConfigError: one of them is not installed here.
    """
    for name in names:
        _distribution(name)


@cache
def modules_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The modules that the packages give, by the names under which a program imports them.

    Raises:
        ConfigError: one of them is not installed here.
    """
    modules = {_module(entry): None for name in names for entry in _top(_distribution(name))}
    return tuple(module for module in modules if module)


def _module(entry: Path) -> str | None:
    name = entry.name.partition(".")[0]
    is_source = (entry.is_dir() and "." not in entry.name) or entry.suffix in (".py", ".so")
    return name if is_source and name.isidentifier() and not name.startswith("_") else None


def _files(names: Sequence[str]) -> list[Path]:
    """Files and folders beside each other in site-packages: those of the packages and of all that they require."""
    from packaging.requirements import Requirement

    waiting = [_distribution(name) for name in names]
    seen: set[str] = set()
    entries: dict[str, Path] = {}
    while waiting:
        package = waiting.pop()
        if package.name in seen:
            continue
        seen.add(package.name)
        entries.update({entry.name: entry for entry in _top(package)})
        for text in package.requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting += _installed(requirement.name)
    return list(entries.values())


def _top(package: Distribution) -> list[Path]:
    """The package's files and folders as they lie in site-packages, links resolved."""
    tops = {file.parts[0] for file in package.files or [] if file.parts[0] not in ("..", "__pycache__")}
    places = [Path(str(package.locate_file(name))).resolve() for name in sorted(tops)]
    return [place for place in places if place.exists() and place.suffix != ".pth"]


def _installed(name: str) -> list[Distribution]:
    try:
        return [distribution(name)]
    except PackageNotFoundError:
        return []


def _distribution(name: str) -> Distribution:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError("packages are named, as in packages: [numpy]", given=repr(name))
    found = _installed(name) or [package for owner in _owners(name) for package in _installed(owner)]
    if not found:
        raise ConfigError(
            f"the package {name} is not installed here", given=f"packages: {name}", hint=f"pip install {name}"
        )
    return found[0]


def _owners(module: str) -> Sequence[str]:
    return packages_distributions().get(module, [])
