"""Frame of every page: head, table of contents, sections with their headings. No network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlllm.report.markup import Child, Html, document, join, style_sheet, tag
from rlllm.report.provenance import command_block

Part = tuple[str, str, Child]
"""Anchor, title and content of a section."""
_STYLE = Path(__file__).with_name("style.css")
_NO_NETWORK = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def page(title: str, header: Html, parts: Sequence[Part], sections: Sequence[Html]) -> str:
    """A whole page: `header`, a table of contents for `parts`, and the sections made of them."""
    head = join(
        [
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("meta", http_equiv="Content-Security-Policy", content=_NO_NETWORK),
            tag("meta", name="referrer", content="no-referrer"),
            tag("title", title),
            style_sheet(_STYLE.read_text(encoding="utf-8")),
        ]
    )
    skip = tag("a", "Skip to the contents", href="#main", class_="skip")
    return document(head, join([skip, header, _contents(parts), tag("main", sections, id="main")]))


def section(level: int, anchor: str, title: str, content: Child, kind: str | None = None) -> Html:
    heading = tag(f"h{level}", title, id=f"{anchor}-title")
    return tag("section", heading, content, id=anchor, class_=kind, aria_labelledby=f"{anchor}-title")


def reproduce(lines: Sequence[str]) -> Html:
    """Commands to type again."""
    return join([tag("p", "One click selects all of it.", class_="hint"), command_block(lines)])


def scrolled(title: str, table: Html) -> Html:
    """A table that may be wider than the screen: it scrolls by itself, with the keyboard as well."""
    return tag("div", table, class_="scroll", role="region", aria_label=title, tabindex="0")


def _contents(parts: Sequence[Part]) -> Html | None:
    if len(parts) < 2:
        return None
    entries = [tag("li", tag("a", title, href=f"#{anchor}")) for anchor, title, _ in parts]
    return tag("nav", tag("ul", entries), aria_label="Contents")
