"""Text of others on a terminal: what a model, a row or a server wrote is shown, and steers nothing."""

from __future__ import annotations

import unicodedata

_STEERING = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
"""Unicode's categories of control characters, invisible formats (text directions among them), half characters and odd lines."""
_KEPT = frozenset("\n\t\u200c\u200d")
"""Lines, tabs, and the joiners that Persian and emoji are written with."""


def visible(text: str) -> str:
    """Text whose control characters are spelled out: what a model wrote must not steer the terminal."""
    return text if text.isprintable() else "".join(ascii(sign)[1:-1] if _steers(sign) else sign for sign in text)


def visible_json(document: str) -> str:
    r"""A JSON document whose control characters are JSON's own `\u....`, so that it reads back as it was."""
    if document.isascii():
        return document.replace("\x7f", "\\u007f")
    return "".join(_json_escape(sign) if sign == "\x7f" or _steers(sign) else sign for sign in document)


def _steers(sign: str) -> bool:
    return sign not in _KEPT and unicodedata.category(sign) in _STEERING


def _json_escape(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
