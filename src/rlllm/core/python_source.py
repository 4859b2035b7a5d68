"""The syntax tree of Python source, safe to ask for from several threads."""

from __future__ import annotations

import ast
import threading

_ONE_AT_A_TIME = threading.Lock()
"""CPython counts the depth of a tree under construction in one place for all threads (3.11; cpython#106905 mended only
one thread that enters twice). Where a garbage collection lets a second thread in, a valid source ended with
"SystemError: AST constructor recursion depth mismatch"."""


def module_tree(source: str | bytes) -> ast.Module:
    """`ast.parse` of a module, by one thread at a time.

    Raises:
        SyntaxError, ValueError, MemoryError, RecursionError: as `ast.parse`.
    """
    with _ONE_AT_A_TIME:
        return ast.parse(source)


def expression_tree(source: str) -> ast.expr:
    """The tree of one expression, by one thread at a time.

    Raises:
        SyntaxError, ValueError, MemoryError, RecursionError: as `ast.parse`.
    """
    with _ONE_AT_A_TIME:
        return ast.parse(source, mode="eval").body
