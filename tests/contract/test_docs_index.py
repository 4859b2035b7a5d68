"""Every page of the documentation can be reached from its index, and what pages say of the code's files is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs_pages import ROOT, pages

DOCS = ROOT / "docs"
PACKAGE = ROOT / "src" / "rlllm"
ROOMS = "|".join(path.name for path in PACKAGE.iterdir() if path.is_dir() and not path.name.startswith("_"))
FILE = re.compile(rf"`((?:(?:src|tests|bench|cli|docs|recipes)/|(?:{ROOMS})/)[\w/.-]+\.(?:py|md|yaml|json))`")
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


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = [name for name in FILE.findall(page.read_text(encoding="utf-8")) if "NAME" not in name]
    assert [name for name in named if not (ROOT / name).exists() and not (PACKAGE / name).exists()] == []


def test_the_map_of_the_code_names_rooms_and_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```text\n(cli/.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert [name for name in ROOMS.split("|") if f"\n  {name}/ " not in shown and name != "assets"] == []
    files = {path.name for folder in (PACKAGE, ROOT / "cli") for path in folder.rglob("*.py")}
    inside = [path for top in ("src", "cli", "docs", "tests") for path in (ROOT / top).rglob("*")]
    folders = {path.name for path in [*inside, *ROOT.iterdir()] if path.is_dir()}
    assert [name for name in re.findall(r"\b\w+\.py\b", shown) if name not in files] == []
    assert [name for name in re.findall(r"\b(\w+)/(?=[\s,;)])", shown) if name not in folders] == []
