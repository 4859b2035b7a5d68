"""The hash that ties a card to a reward; it changes whenever the reward's code, arguments or model change.

The code is the reward's own module and every module that it imports, directly or not, from the same package (or from beside the
same file). The weight does not count: it scales the score and does not change it.
"""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from rlllm.core.python_source import module_tree
from rlllm.core.records import fingerprint
from rlllm.rewards.binding import inner_reward_specs
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.registry import REWARDS

_INSTALLED = "site-packages"
"""A project folder may hold its environment; the libraries in it are not the reward's code."""


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
    texts: dict[Path, str] = {}
    _collect(path, root, texts)
    return {str(path.relative_to(root)): text for path, text in texts.items()}


def _collect(path: Path, root: Path, texts: dict[Path, str]) -> None:
    """Add a file and those it imports, anywhere in its text: what is imported by now depends on what ran before."""
    if path in texts or _INSTALLED in path.relative_to(root).parts:
        return
    texts[path] = text = path.read_text(encoding="utf-8", errors="replace")
    try:
        nodes = list(ast.walk(module_tree(text)))
    except (SyntaxError, ValueError):  # edited since it was loaded: the text alone tells
        return
    for name in dict.fromkeys(name for node in nodes for name in _imported(node, path, root)):
        place = root.joinpath(*name.split("."))
        for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if file.is_file():
                _collect(file, root, texts)


def _imported(node: ast.AST, path: Path, root: Path) -> Iterator[str]:
    """Absolute names of modules, and of what may be one, that an import statement of the file at `path` names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        folders = path.relative_to(root).parts[: -node.level] if node.level else ()
        base = ".".join([*folders, *([node.module] if node.module else [])])
        yield from filter(None, (base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)))


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
