"""Every page of the documentation can be reached from its index, and every decision from the index of decisions."""

from __future__ import annotations

import re
from pathlib import Path

from docs_pages import ROOT

DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)#\s]+\.md)")


def linked(page: Path) -> set[Path]:
    targets = {(page.parent / target).resolve() for target in LINK.findall(page.read_text(encoding="utf-8"))}
    return {target for target in targets if target.is_relative_to(DOCS) and target.is_file()}


def reached(start: Path) -> set[Path]:
    pages, waiting = {start}, [start]
    while waiting:
        new = linked(waiting.pop()) - pages
        pages |= new
        waiting += new
    return pages


def test_every_page_can_be_reached_from_the_index() -> None:
    every = {page.resolve() for page in DOCS.rglob("*.md")}
    assert sorted(str(page.relative_to(DOCS)) for page in every - reached(DOCS / "README.md")) == []


def test_every_decision_is_in_the_index_of_decisions() -> None:
    text = (DOCS / "decisions.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\d{4}-\d\d-\d\d: .+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
    assert anchors
    assert [anchor for anchor in anchors if f"](#{anchor})" not in text] == []


def test_every_kind_of_plugin_has_its_page_in_the_index_of_plugins() -> None:
    folder = DOCS / "guides" / "plugins"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [
        page.name for page in folder.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index
    ] == []
