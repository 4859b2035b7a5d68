"""HTML elements. A plain `str` is always escaped; only `Html`, which this file makes, is inserted as it is.

Text is also made visible: control characters, lone surrogates and direction overrides, which a completion may well
hold, are shown as symbols instead of acting on the page (or breaking its encoding).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TypeAlias

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_ACTING = re.compile(r"[\x80-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_VOID = {"meta", "br", "img"}


class Html(str):
    """Markup that is safe to insert as it is."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"
"""Html goes in as it is, other text is escaped, None is left out, an iterable gives its members."""


def text(value: object) -> Html:
    """Any value as visible, escaped text."""
    shown = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", str(value))
    shown = _CONTROL.sub(lambda match: "␡" if match[0] == "\x7f" else chr(0x2400 + ord(match[0])), shown)
    shown = _ACTING.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", shown)
    return Html(html.escape(shown, quote=True))


def tag(name: str, /, *children: Child, **attributes: object) -> Html:
    """An element. `class_` and `aria_label` become `class` and `aria-label`; None and False leave an attribute out."""
    pairs = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    opened = "".join(
        f" {key}" if value is True else f' {key}="{text(value)}"'
        for key, value in pairs.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{opened}>")
    return Html(f"<{name}{opened}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Children one after another."""
    return Html("".join(_render(child) for child in children))


def style_sheet(css: str) -> Html:
    """A style element around the package's own style sheet, which is not escaped."""
    return Html(f"<style>{css}</style>")


def document(head: Html, body: Html) -> str:
    """A whole page."""
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>{body}</body>\n</html>\n'


def _render(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return text(child)
    return join(child)
