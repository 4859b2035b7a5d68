"""Who imports whom, read from the source without running it: the material of the architecture tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_BY_NAME = re.compile(r"(rlllm(?:_cli)?(?:\.\w+)+)(?::[\w.]+)?")
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"rlllm": ROOT / "src" / "rlllm", "rlllm_cli": ROOT / "cli" / "rlllm_cli"}

When = Literal["import", "call", "typing", "name"]
"""An import statement runs when its module is imported, when a function is called, or only for the type checker. A string that
names a module of ours (`"rlllm.x:y"`, `"rlllm.x"`) is an import by name, which a registry makes later."""


@dataclass(frozen=True)
class Import:
    """One imported name: `target` is the most specific module known to exist, `name` what was taken from it."""

    source: str
    target: str
    name: str | None
    when: When
    line: int

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}" + (f" ({self.name})" if self.name else "")


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the two packages."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def graph() -> dict[str, list[Import]]:
    """Module -> all its imports, wherever in the file they stand."""
    known = modules()
    return {
        name: list(imports_of(name, path.read_text(encoding="utf-8"), known, package=path.name == "__init__.py"))
        for name, path in known.items()
    }


def imports_of(module: str, text: str, known: Mapping[str, object], *, package: bool = False) -> Iterator[Import]:
    """The imports in a module's source.

    Args:
        module: its dotted name, against which relative imports are resolved.
        text: its source.
        known: the modules that exist, to tell `from a import module` and `from a import function` apart.
        package: whether the source is an `__init__.py`.
    """
    tree = ast.parse(text)
    yield from _by_name(module, tree, known)
    for node, when in _statements(tree.body, "import"):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, None, when, node.lineno)
            continue
        base = _base(module, node, package)
        for alias in node.names:
            deeper = f"{base}.{alias.name}"
            if deeper in known:
                yield Import(module, deeper, None, when, node.lineno)
            else:
                yield Import(module, base, alias.name, when, node.lineno)


def _by_name(module: str, tree: ast.Module, known: Mapping[str, object]) -> Iterator[Import]:
    """The modules of ours that strings of a source name."""
    for node in ast.walk(tree):
        match = (
            _BY_NAME.fullmatch(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
        )
        if match and match.group(1) in known and match.group(1) != module:
            yield Import(module, match.group(1), None, "name", node.lineno)


def knots(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of two or more modules that reach each other (strongly connected components, Tarjan 1972), each sorted."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for target in edges.get(module, ()):
            if target not in number:
                visit(target)
            if target in stack:
                lowest[module] = min(lowest[module], lowest[target])
        if lowest[module] == number[module]:
            first = stack.index(module)
            if len(stack) - first > 1:
                found.append(sorted(stack[first:]))
            del stack[first:]

    for module in edges:
        if module not in number:
            visit(module)
    return found


def _base(module: str, node: ast.ImportFrom, package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _statements(body: list[ast.stmt], when: When) -> Iterator[tuple[ast.Import | ast.ImportFrom, When]]:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, when
            continue
        inner: When = when
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and when == "import":
            inner = "call"
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        yield from _statements(getattr(node, "body", []), "typing" if typing else inner)
        for part in ("orelse", "finalbody"):
            yield from _statements(getattr(node, part, []), inner)
        for branch in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
            yield from _statements(branch.body, inner)


def expect_none(found: Iterable[object]) -> None:
    """Fail with one offender a line, all of them."""
    lines = [str(item) for item in found]
    assert not lines, "\n" + "\n".join(lines)


def packages_above(module: str) -> list[str]:
    """`a.b.c` -> [`a`, `a.b`]: what Python imports on the way to it."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def eager_chains(roots: list[str], edges: Mapping[str, list[Import]]) -> dict[str, list[str]]:
    """Every module that importing a root also imports, with the chain of modules that leads to it."""
    chains: dict[str, list[str]] = {}
    waiting = [[root] for root in roots]
    while waiting:
        chain = waiting.pop(0)
        module = chain[-1]
        if module in chains or module not in edges:
            continue
        chains[module] = chain
        targets = [edge.target for edge in edges[module] if edge.when == "import"]
        above = [package for target in [module, *targets] for package in packages_above(target)]
        waiting += [[*chain, target] for target in [*targets, *above]]
    return chains
