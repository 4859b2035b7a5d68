"""The hash that ties a card to a reward; it changes whenever the reward's code, arguments or model change.

The code is the reward's own module and every module that it imports, directly or not, from the same package (or from beside the
same file). The weight does not count: it scales the score and does not change it.
"""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from rlllm.core.code_hash import with_imports
from rlllm.core.records import fingerprint
from rlllm.rewards.binding import inner_reward_specs
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.registry import REWARDS


def code_key(spec: RewardSpec) -> str:
    """Hash of the reward's code, its arguments, and the model folder, the rubric file or the other reward it names.

    Raises:
        RlllmError: the reward does not load.
    """
    target = REWARDS.load(spec.name)
    nested = {parameter: code_key(inner) for parameter, inner in inner_reward_specs(spec, target).items()}
    files = _files(spec.params.get("path")), _text(spec.params.get("rubric"))
    return fingerprint([code_of(target), identity(spec), files, nested])


def identity(spec: RewardSpec) -> str:
    """Hash of what the user named: the reward, wherever the command is typed, and its arguments."""
    place, colon, attribute = spec.name.rpartition(":")
    name = f"{Path(place).expanduser().resolve()}:{attribute}" if colon and place.endswith(".py") else spec.name
    return fingerprint([name, spec.params])


def code_of(target: Any) -> dict[str, str]:
    """File to text of the module that defines `target` and of the modules it leads to."""
    module = inspect.getmodule(target) or inspect.getmodule(type(target))
    path = _path(module)
    if module is None or path is None:
        return {"target": repr(type(target))}
    root = path.parents[module.__name__.count(".") + (path.name == "__init__.py")]
    return with_imports(path, root)


def _path(module: ModuleType | None) -> Path | None:
    """The Python file behind a module, where there is one."""
    name = getattr(module, "__file__", None)
    path = Path(name).resolve() if name else None
    return path if path and path.suffix == ".py" and path.is_file() else None


def _text(path: object) -> str | None:
    """Content of a text file; None of anything else."""
    if not isinstance(path, str) or not os.path.isfile(os.path.expanduser(path)):
        return None
    return Path(path).expanduser().read_text(encoding="utf-8", errors="replace")


def _files(path: object) -> list[tuple[str, int, int]]:
    """Name, size and time of the files of a model folder; none of anything else."""
    folder = Path(path).expanduser() if isinstance(path, str) else None
    if folder is None or not folder.is_dir():
        return []
    return sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in folder.iterdir())
