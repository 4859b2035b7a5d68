"""Which reward a card is about: a hash that changes whenever the reward's code, arguments or model do.

The code is the reward's own module and what that refers to, as far as it lies in the same package (or beside the same
file). Weights do not count: they change what a score is worth, not the score.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from rlllm.core.builtins import REWARDS
from rlllm.core.records import fingerprint
from rlllm.rewards.config import RewardSpec

_INSTALLED = "site-packages"
"""A project folder may hold its environment; the libraries in it are not the reward's code."""


def code_key(spec: RewardSpec) -> str:
    """Hash of the reward's code, its arguments, and the files of the model folder or the other reward it names.

    Raises:
        RlllmError: the reward does not load.
    """
    target = REWARDS.load(spec.name)
    inner = spec.params.get("reward")
    nested = code_key(RewardSpec.model_validate(inner)) if isinstance(inner, str | Mapping) else None
    return fingerprint([_code(target), identity(spec), _files(spec.params.get("path")), nested])


def identity(spec: RewardSpec) -> str:
    """Hash of what the user named: the reward, wherever the command is typed, and its arguments."""
    place, colon, attribute = spec.name.rpartition(":")
    name = f"{Path(place).expanduser().resolve()}:{attribute}" if colon and place.endswith(".py") else spec.name
    return fingerprint([name, spec.params])


def _code(target: Any) -> dict[str, str]:
    """File to text of the module that defines `target` and of the modules it leads to."""
    module = inspect.getmodule(target) or inspect.getmodule(type(target))
    path = _path(module)
    if module is None or path is None:
        return {"target": repr(type(target))}
    package = module.__name__.partition(".")[0]
    root = _path(sys.modules.get(package)) or path
    found: dict[Path, str] = {}
    _collect(module, root.parent, found)
    return {str(path.relative_to(root.parent)): text for path, text in found.items()}


def _collect(module: ModuleType, root: Path, found: dict[Path, str]) -> None:
    path = _path(module)
    if path is None or path in found or root not in path.parents or _INSTALLED in path.relative_to(root).parts:
        return
    found[path] = path.read_text(encoding="utf-8", errors="replace")
    if hasattr(
        module, "__path__"
    ):  # what a package's own names are depends on which of its modules are imported by now
        return
    for value in list(vars(module).values()):
        owner = value if isinstance(value, ModuleType) else sys.modules.get(getattr(value, "__module__", None) or "")
        if isinstance(owner, ModuleType):
            _collect(owner, root, found)


def _path(module: ModuleType | None) -> Path | None:
    """The Python file behind a module, where there is one."""
    name = getattr(module, "__file__", None)
    path = Path(name).resolve() if name else None
    return path if path and path.suffix == ".py" and path.is_file() else None


def _files(path: object) -> list[tuple[str, int, int]]:
    """Name, size and time of the files of a model folder; none of anything else."""
    folder = Path(path).expanduser() if isinstance(path, str) else None
    if folder is None or not folder.is_dir():
        return []
    return sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in folder.iterdir())
