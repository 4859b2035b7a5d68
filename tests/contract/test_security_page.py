"""SECURITY.md names tests and attacks that exist, and every layer and limit of the sandbox."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from rlllm.sandbox import layers, worker
from rlllm.sandbox.jobs import Limits

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", PAGE)))
QUOTED = re.compile(r'"([^"]+)"')


def rows(heading: str) -> dict[str, str]:
    """First cell -> last cell of the table under this head."""
    lines = PAGE.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    table = lines[start + 2 :]
    cells = [line.strip("|").split(" | ") for line in table[: table.index("")]]
    return {row[0].strip(): row[-1].strip() for row in cells}


@pytest.fixture(scope="module")
def programs() -> Iterator[set[str]]:
    """Names of the hostile programs."""
    place = str(ROOT / "tests" / "faults" / "sandbox")
    sys.path.insert(0, place)
    from attacks import ATTACKS
    from bombs import BOMBS

    yield {one.name for one in (*ATTACKS, *BOMBS)}
    sys.path.remove(place)


@pytest.mark.parametrize("name", TESTS)
def test_a_test_that_the_page_names_exists(name: str) -> None:
    path, _, function = name.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert not function or function in found


def test_every_layer_is_attacked_by_what_exists(programs: set[str]) -> None:
    table = rows("layer")
    assert set(table) == set(layers.LAYERS)
    for layer, attacked in table.items():
        assert QUOTED.findall(attacked) or "`tests/" in attacked, layer
        assert set(QUOTED.findall(attacked)) <= programs, layer


def test_every_layer_that_the_worker_enters_is_known() -> None:
    source = Path(worker.__file__).read_text(encoding="utf-8")
    entered = set(re.findall(r"""(?:_layer\(|LayerMissingError\(|append\(\()"([a-z ]+)\"""", source))
    assert len(entered) > 5
    assert entered - {"packages"} <= set(layers.LAYERS)
    namespaces = re.search(r"for name in (\(.*\)):\n +flag", source)
    assert namespaces is not None
    assert {f"{name.lower()} namespace" for name in ast.literal_eval(namespaces[1])} <= set(layers.LAYERS)


def test_every_limit_has_its_bombs(programs: set[str]) -> None:
    table = rows("limit")
    assert set(table) == {limit.name for limit in fields(Limits)}
    for limit, attacked in table.items():
        assert QUOTED.findall(attacked), limit
        assert set(QUOTED.findall(attacked)) <= programs, limit
