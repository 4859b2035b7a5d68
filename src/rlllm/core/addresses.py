"""Addresses that hold a key are refused: a URL stands in logs, recipes and reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from rlllm.core.errors import ConfigError
from rlllm.core.redaction import names_a_secret, without_keys


def refuse_keys_in_addresses(content: Any, place: str = "") -> None:
    """Raise ConfigError for a URL among nested settings that holds a password or a key.

    Args:
        content: settings, or one URL.
        place: the setting that it is.
    """
    if isinstance(content, Mapping):
        for key, value in content.items():
            refuse_keys_in_addresses(value, f"{place}.{key}" if place else str(key))
    elif isinstance(content, list | tuple):
        for item in content:
            refuse_keys_in_addresses(item, place)
    elif isinstance(content, str) and (held := _held_by(content)):
        raise ConfigError(
            f"a URL with {held} is shown in logs and reports",
            given=f"{place or 'url'}: {without_keys(content)}",
            hint="put the key into an environment variable, and name that with key_env (rewards, judges and servers); "
            "data that needs one is downloaded first",
        )


def _held_by(text: str) -> str | None:
    """What secret an address holds, in words."""
    start = re.search(r"https?://", text[:40])
    if start is None or " " in text.strip():
        return None
    try:
        parts = urlsplit(text[start.start() :].strip())
    except ValueError:
        return None
    if "@" in parts.netloc:
        return "a user name or password"
    named = next((name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if names_a_secret(name)), None)
    return f"a key in its query ({named}=...)" if named else None
