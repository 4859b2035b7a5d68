"""Every built-in method says its formula, its paper and its page, and the page is about it."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
from docs_pages import ROOT

from rlllm.algorithms.methods.base import Method, links
from rlllm.algorithms.registry import METHODS

LONGEST_LINE = 112
"""Characters of a line of a formula, so that `rlllm methods show` fits a terminal."""


def method(name: str) -> Method:
    loaded = METHODS.load(name)
    assert isinstance(loaded, Method)
    return loaded


@pytest.mark.parametrize("name", METHODS.builtins)
def test_a_method_has_a_formula_a_paper_and_a_page_that_names_it(name: str) -> None:
    described = method(name)
    assert described.name == name
    assert "=" in described.formula
    assert all(len(line) <= LONGEST_LINE for line in described.formula.splitlines())
    assert links(described)
    page = (ROOT / described.page).read_text(encoding="utf-8")
    assert re.search(rf"`{re.escape(name)}`|--method {re.escape(name)}\b", page), (
        f"{described.page} does not name {name}"
    )


@pytest.mark.parametrize("name", METHODS.builtins)
def test_the_file_of_a_method_begins_with_its_summary(name: str) -> None:
    module = import_module(METHODS.builtins[name].target.partition(":")[0])
    summary = method(name).summary
    assert module.__doc__ == f"{summary[0].upper()}{summary[1:]}."


def test_links_are_the_arxiv_numbers_of_the_paper_in_their_order() -> None:
    paper = "Yuan et al. 2024, arXiv 2401.10020; Xu et al. 2023, arXiv 2312.16682"
    made = Method(name="x", stages=("align",), trainer="dpo", summary="x", paper=paper)
    assert links(made) == ["https://arxiv.org/abs/2401.10020", "https://arxiv.org/abs/2312.16682"]
