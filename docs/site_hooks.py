"""Hooks of MkDocs: pages link to files of the repository outside of `docs/`, which have to be in the site as well.

`README.md`, `CONTRIBUTING.md`, `SECURITY.md`, `CHANGELOG.md` and the recipes go under `repository/`, and links between
them and the pages of `docs/` are rewritten. Entries `folder/*` of the navigation become the pages of that folder.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PLACE = "repository"
"""Folder of the site for what stands outside of `docs/`."""
OUTSIDE = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE", "recipes/**/*.yaml"]
_LINK = re.compile(r"(\]\()([^)\s]+)(?=\))")
_TITLE = re.compile(r"^( *```\w+ title=)([^\s\"]+)$", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Write the navigation out."""
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    named = set(_named(config.nav or []))
    config.nav = _expanded(config.nav or [], pages - named)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the repository that pages link to."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            place = f"{PLACE}/{path.relative_to(ROOT).as_posix()}"
            files.append(File.generated(config, place, content=path.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point relative links at the place of their target in the site, and quote the titles of fences, as pymdownx asks for."""
    here = page.file.src_uri

    def moved(match: re.Match[str]) -> str:
        target, mark, anchor = match[2].partition("#")
        if not target or "://" in target or target.startswith(("mailto:", "/")):
            return match[0]
        place = _in_site(posixpath.normpath(posixpath.join(posixpath.dirname(_in_repository(here)), target)))
        return f"{match[1]}{posixpath.relpath(place, posixpath.dirname(here) or '.')}{mark}{anchor}"

    return _TITLE.sub(r'\1"\2"', _LINK.sub(moved, markdown))


def _in_repository(place: str) -> str:
    return place.removeprefix(f"{PLACE}/") if place.startswith(f"{PLACE}/") else f"docs/{place}"


def _in_site(path: str) -> str:
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{PLACE}/{path}"


def _named(nav: list[Any]) -> list[str]:
    """The pages a navigation names, at any depth."""
    pages = []
    for entry in nav:
        values = list(entry.values()) if isinstance(entry, dict) else [entry]
        for value in values:
            pages += _named(value) if isinstance(value, list) else [value]
    return pages


def _expanded(nav: list[Any], free: set[str]) -> list[Any]:
    """The navigation with every `folder/*` written out, `README.md` of a folder first."""
    entries: list[Any] = []
    for entry in nav:
        if isinstance(entry, dict):
            entries.append({title: _expanded(v, free) if isinstance(v, list) else v for title, v in entry.items()})
        elif entry.endswith("/*"):
            inside = [page for page in free if posixpath.dirname(page) == entry[:-2]]
            entries += sorted(inside, key=lambda page: (not page.endswith("README.md"), page))
        else:
            entries.append(entry)
    return entries
