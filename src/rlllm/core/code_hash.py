"""Hashes of source files: which code made a number.

`source_hash` is quick and changes with every byte. `code_hash` changes only with what runs: comments, docstrings and layout do
not count, so that a number does not count as old because a sentence was mended.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from rlllm.core.python_source import module_tree

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of rlllm's own code."""
_NOT_MEASURED = ("report", "tools")
"""Rooms that look at runs and take no part in one."""
_INSTALLED = "site-packages"
"""A project folder may hold its environment; the libraries in it are not the project's code."""
_WITH_DOCSTRING = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def package_hash() -> str:
    """`source_hash` of the rooms of rlllm that take part in a run; 16 hex digits."""
    rooms = [path for path in PACKAGE.iterdir() if path.is_dir() and path.name not in _NOT_MEASURED]
    return source_hash(rooms, PACKAGE)


def source_hash(paths: Iterable[Path], root: Path) -> str:
    """Hash of the bytes of files, and of the Python and YAML files in folders.

    Args:
        paths: files and folders.
        root: paths count relative to it.
    """
    return _digest((str(path.relative_to(root)), path.read_bytes()) for path in _files(paths))


def code_hash(paths: Iterable[Path], root: Path) -> str:
    """The same, of Python files without comments, docstrings and layout.

    Raises:
        SyntaxError: a file is not Python.
    """
    return _digest((str(path.relative_to(root)), _code(path)) for path in _files(paths))


def with_imports(path: Path, root: Path) -> dict[str, str]:
    """File, relative to a folder, to text: of a Python file, and of those in the folder that it imports, directly or not."""
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


def _files(paths: Iterable[Path]) -> list[Path]:
    found = {
        file
        for path in paths
        for file in (path.rglob("*") if path.is_dir() else [path])
        if path.is_file() or (file.suffix in (".py", ".yaml") and "__pycache__" not in file.parts)
    }
    return sorted(found)


def _code(path: Path) -> bytes:
    if path.suffix != ".py":
        return path.read_bytes()
    tree = module_tree(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, _WITH_DOCSTRING):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
    return ast.unparse(tree).encode()


def _is_text(line: ast.stmt) -> bool:
    """Whether a statement is nothing but a text: a docstring, or the text under a field."""
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _digest(parts: Iterator[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, content in parts:
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]
