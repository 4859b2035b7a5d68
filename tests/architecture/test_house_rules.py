"""Rules about the files themselves: sizes, names, and what may not be written into them."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from source_graph import ROOT, expect_none

CODE = ("src", "cli", "tests", "bench", "docs")
LONGEST_FILE = 800
"""Lines. A hint of about 400 is in CONTRIBUTING.md; this is where a file holds more than one idea for certain."""
LONGEST_FUNCTION = 60
LARGEST_FILE = 6_000_000
"""Bytes; the limit the embedded model has to keep as well."""
CATCH_ALL = {"utils", "util", "helpers", "misc"}
BANNED = re.compile(r"(click|mock|unittest\.mock)(\.|$)")
FOREIGN = re.compile(
    "|".join(
        [r"\bpypi\.", r"python" + r"hosted", r"https?://\S*/sim" + r"ple\b", r"-index-" + r"url\b", r"/wo" + r"rk/"]
    )
)
"""Package registries belong to the machine that installs, and paths to the machine that wrote them."""


def python_files() -> list[Path]:
    return sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py"))


def parsed() -> Iterator[tuple[str, ast.Module]]:
    for path in python_files():
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def project_files() -> list[Path]:
    """What is in version control or would be added to it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def only_refuses(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function does nothing but raise NotImplementedError."""
    body = [node for node in function.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    return len(body) == 1 and isinstance(body[0], ast.Raise) and "NotImplemented" in ast.dump(body[0])


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_file_is_longer_than_800_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()
    }
    expect_none({name: length for name, length in lengths.items() if length > LONGEST_FILE}.items())


def test_no_function_is_longer_than_60_lines() -> None:
    spans = {f"{name}:{f.name}": (f.end_lineno or 0) - f.lineno + 1 for name, tree in parsed() for f in functions(tree)}
    expect_none({name: span for name, span in spans.items() if span > LONGEST_FUNCTION}.items())


def test_no_function_only_refuses() -> None:
    expect_none([f"{name}:{f.lineno} {f.name}" for name, tree in parsed() for f in functions(tree) if only_refuses(f)])


def test_there_is_no_catch_all_module() -> None:
    parts = {path.relative_to(ROOT): {*path.relative_to(ROOT).with_suffix("").parts} for path in python_files()}
    expect_none([str(path) for path, names in parts.items() if names & CATCH_ALL])


def test_every_module_says_what_it_is_for() -> None:
    expect_none(name for name, tree in parsed() if "fixtures" not in name and not ast.get_docstring(tree))


def test_click_is_never_imported_and_nothing_is_mocked() -> None:
    expect_none(f"{name}: {module}" for name, tree in parsed() for module in imported(tree) if BANNED.match(module))


def test_recipes_and_cli_are_folders_and_not_packages() -> None:
    assert not (ROOT / "recipes" / "__init__.py").exists()
    assert not (ROOT / "cli" / "__init__.py").exists()
    expect_none([path for path in (ROOT / "recipes").rglob("*") if path.is_file() and path.suffix != ".yaml"])


def test_the_only_command_is_rlllm() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"rlllm": "rlllm_cli.main:run"}


def test_every_direct_dependency_is_pinned_to_a_version_it_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    pins = {_normal(name): version for name, _, version in (line.partition("==") for line in lines)}
    wanted = [Requirement(text) for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]]
    expect_none([str(need) for need in wanted if not need.specifier.contains(pins.get(_normal(need.name), "0"))])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_file_is_larger_than_6_megabytes() -> None:
    expect_none([str(path.relative_to(ROOT)) for path in project_files() if path.stat().st_size > LARGEST_FILE])


def test_no_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    hits = []
    for path in project_files():
        text = path.read_text(encoding="utf-8", errors="ignore")
        hits += [f"{path.relative_to(ROOT)}: {found.group()}" for found in FOREIGN.finditer(text)]
    expect_none(hits)


def test_only_one_file_of_the_package_builds_syntax_trees() -> None:
    """Rewards run in threads, and CPython's own count of the depth of a tree does not stand two of them.

    Those that run in a sandbox have a process of their own, and parse before anything else runs in it.
    """
    allowed = {"core/python_source.py", "rewards/code/assembly.py", "rewards/code/tests_program.py"}
    package = ROOT / "src" / "rlllm"
    sources = (path for path in package.rglob("*.py") if path.relative_to(package).as_posix() not in allowed)
    expect_none(str(path) for path in sources if "ast.parse(" in path.read_text(encoding="utf-8"))
