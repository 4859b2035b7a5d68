"""Leave secrets out of what a run writes down."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, overload

_SECRETS = ("hub_token", "push_to_hub_token")
"""Settings of TRL that hold a credential."""
_IN_TEXT = re.compile(rf"""(\b(?:{"|".join(_SECRETS).replace("_", "[_-]")})["']?\s*[=:\s]\s*)["']?[^\s"',}}]+["']?""")
_REDACTED = "<redacted>"


@overload
def without_secrets(content: str, known: Collection[str] = ()) -> str: ...


@overload
def without_secrets(content: Mapping[str, Any], known: Collection[str] = ()) -> dict[str, Any]: ...


def without_secrets(content: str | Mapping[str, Any], known: Collection[str] = ()) -> str | dict[str, Any]:
    """A command line or YAML text with `<redacted>` in the place of secrets; a nested mapping without them.

    Args:
        content: to be written.
        known: values that are secrets, for a text that spells them in a way of its own (YAML has several).
    """
    if not isinstance(content, str):
        return {key: _value(value, known) for key, value in content.items() if not _is_secret(key)}
    for secret in known:
        content = content.replace(secret, _REDACTED)
    return _IN_TEXT.sub(rf"\g<1>{_REDACTED}", content)


def secrets_in(content: Any) -> frozenset[str]:
    """The secrets that stand in nested settings."""
    return frozenset(_secrets(content))


def _secrets(content: Any) -> Iterator[str]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            if _is_secret(key) and value:
                yield str(value)
            else:
                yield from _secrets(value)
    elif isinstance(content, list | tuple):
        for item in content:
            yield from _secrets(item)


def _is_secret(key: Any) -> bool:
    """Whether a key, perhaps with the section before it as in `trainer.hub_token`, names a secret."""
    return str(key).rpartition(".")[2] in _SECRETS


def _value(value: Any, known: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value, known)
    if isinstance(value, list | tuple):
        return [_value(item, known) for item in value]
    return value
