"""`rlllm compare` and `rlllm report` of several runs. The evaluations are run directories as the eval verb writes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Rlllm

from rlllm.core.runs import Run, append_jsonl, write_json

Evaluated = Callable[..., Run]


@pytest.fixture
def evaluated(tmp_path: Path) -> Evaluated:
    def build(name: str, passed: int, task: str = "sums") -> Run:
        """40 problems, of which the first `passed` are solved."""
        run = Run(tmp_path / "runs" / name)
        write_json(run.path / "config.json", {"stage": "eval", "command": "rlllm eval", "settings": {}})
        run.set_status("done")
        value = {"estimate": passed / 40, "low": None, "high": None, "n": 40, "method": "none"}
        details = {"hash": "h", "metric": "pass", "items": 40, "samples": 2, "values": {"pass@1": value}}
        write_json(run.path / "results.json", {"tasks": {task: details}})
        rows = [{"task": task, "id": str(n), "prompt": "p", "scores": [float(n < passed)] * 2} for n in range(40)]
        append_jsonl(run.path / "items.jsonl", rows)
        return run

    return build


def test_two_evaluations_make_a_table_and_a_sentence(evaluated: Evaluated, rlllm: Rlllm) -> None:
    evaluated("a", 8)
    evaluated("b", 24)
    said = rlllm("compare runs/a runs/b")
    assert (said.code, said.err) == (0, "")
    header, row, sentence = said.out.splitlines()
    columns = [
        "task",
        "metric",
        "items",
        "before",
        "after",
        "change",
        "p",
        "p holm",
        "gained",
        "lost",
        "crossover k",
        "mde",
    ]
    assert re.split(r"  +", header) == columns
    cells = dict(zip(columns, re.split(r"  +", row), strict=True))
    assert (cells["task"], cells["items"], cells["gained"], cells["lost"]) == ("sums", "40", "16", "0")
    assert cells["crossover k"] == "none up to 2"
    assert sentence.startswith("b is better than a on sums (+0.40 [+")


def test_each_of_several_evaluations_is_compared_with_the_first(evaluated: Evaluated, rlllm: Rlllm) -> None:
    for name, passed in (("a", 8), ("b", 24), ("c", 9)):
        evaluated(name, passed)
    said = rlllm("compare runs/a runs/b runs/c")
    assert [line.split()[0] for line in said.out.splitlines()] == ["run", "b", "c", "b", "the"]
    assert "the data cannot tell a from c on sums (smallest detectable change" in said.out
    found = rlllm("compare runs/a runs/b runs/c --json").json
    assert [one["b"] for one in found] == ["runs/b", "runs/c"]
    assert found[0]["conclusion"].startswith("b is better than a")
    assert found[0]["tasks"][0]["p_holm"] >= found[0]["tasks"][0]["difference"]["p_value"]


def test_a_comparison_is_also_written_as_a_page(evaluated: Evaluated, rlllm: Rlllm, tmp_path: Path) -> None:
    evaluated("a", 8)
    evaluated("b", 24)
    assert rlllm("compare runs/a runs/b --html page.html").code == 0
    assert "b is better than a on sums" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert rlllm("compare runs/a runs/b --html nowhere/page.html").code == 2


def test_tasks_that_one_run_alone_has_are_named(evaluated: Evaluated, rlllm: Rlllm) -> None:
    evaluated("a", 8)
    other = evaluated("b", 24)
    tasks = other.results["tasks"]
    write_json(other.path / "results.json", {"tasks": {**tasks, "lists": tasks["sums"]}})
    assert rlllm("compare runs/a runs/b").err == "only in b: lists\n"


def test_evaluations_without_a_common_task_cannot_be_compared(evaluated: Evaluated, rlllm: Rlllm) -> None:
    evaluated("a", 8)
    evaluated("b", 24, task="lists")
    said = rlllm("compare runs/a runs/b")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: the two runs have no task in common")


def test_several_runs_or_a_folder_of_them_make_one_page(evaluated: Evaluated, rlllm: Rlllm, tmp_path: Path) -> None:
    evaluated("a", 8)
    evaluated("b", 24)
    assert rlllm("report runs/a runs/b").out == "comparison.html\n"
    assert rlllm("report runs").out == "runs/comparison.html\n"
    assert rlllm("report runs/a runs/b -o mine.html").out == "mine.html\n"
    pages = [
        (tmp_path / name).read_text(encoding="utf-8")
        for name in ("comparison.html", "runs/comparison.html", "mine.html")
    ]
    assert all("<h1>b against a</h1>" in page for page in pages)


@pytest.mark.parametrize("words", ["report runs/a nowhere", "report runs/a runs/a", "report runs"])
def test_what_makes_no_comparison_is_refused_in_words(words: str, evaluated: Evaluated, rlllm: Rlllm) -> None:
    evaluated("a", 8)
    said = rlllm(words)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ")
