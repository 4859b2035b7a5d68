"""The documentation builds as a site: no broken link or anchor, and no page that loads anything from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import ROOT

pytest.importorskip("material", reason="the extra `docs` is not installed")
LOADED = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(?:https?:)?//[^>]+>")


SOURCES = ("docs", "recipes", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE", "mkdocs.yml")


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Without `--quiet`, under which `--strict` overlooks warnings."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_broken_link_and_a_broken_anchor_stop_the_build(tmp_path: Path) -> None:
    for name in SOURCES:
        path = ROOT / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / name)
    with (tmp_path / "docs" / "glossary.md").open("a", encoding="utf-8") as page:
        page.write("\n[gone](nowhere.md) [other](README.md#no-such-heading)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr
    assert "#no-such-heading" in done.stderr


def test_the_index_of_the_docs_is_the_front_page(site: Path) -> None:
    heading = (ROOT / "docs" / "README.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    assert heading in (site / "index.html").read_text(encoding="utf-8")


def test_every_page_is_there_with_the_files_of_the_repository_it_links_to(site: Path) -> None:
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md") if path.name != "README.md"]
    assert [path for path in sources if not (site / path.with_suffix(".html")).is_file()] == []
    assert (site / "repository" / "CONTRIBUTING.html").is_file()
    assert (site / "repository" / "recipes" / "pipelines" / "demo.yaml").is_file()


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = {path.relative_to(site): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert {str(path): found for path, text in pages.items() if (found := LOADED.findall(text))} == {}


def test_titles_of_files_are_shown_above_them(site: Path) -> None:
    page = (site / "repository" / "CONTRIBUTING.html").read_text(encoding="utf-8")
    assert '<span class="filename">true_steps.py</span>' in page
