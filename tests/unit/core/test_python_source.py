"""Syntax trees from many threads at once, with garbage collections that let another thread in."""

from __future__ import annotations

import ast
import gc
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from rlllm.core.python_source import expression_tree, module_tree

DEEP = "(" * 30 + "1" + "+ 1)" * 30
FLAT = "\n".join(f"a{number} = [{number}, {number}]" for number in range(60))


class Cycle:
    """Garbage that only a collection finds, and whose end gives up the interpreter lock."""

    def __init__(self) -> None:
        self.self = self

    def __del__(self) -> None:
        time.sleep(0.0005)


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Without the lock, 10 runs of 10 ended in a SystemError."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(20)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)


def build(number: int) -> str:
    Cycle()
    return ast.unparse(expression_tree(DEEP) if number % 2 else module_tree(FLAT))


@pytest.mark.usefixtures("frequent_switches")
def test_trees_from_many_threads_at_once() -> None:
    expected = [build(0), build(1)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(build, range(800)))
    assert found == expected * 400


def test_what_is_not_python_is_a_syntax_error() -> None:
    with pytest.raises(SyntaxError):
        module_tree("def")
    with pytest.raises(SyntaxError):
        expression_tree("a = 1")
