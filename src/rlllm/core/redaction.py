"""Leave secrets out of what a run writes down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, overload

_SECRETS = ("hub_token", "push_to_hub_token")
"""Settings of TRL that hold a credential."""
_IN_TEXT = re.compile(rf"""(\b(?:{"|".join(_SECRETS)})["']?\s*[=:\s]\s*)["']?[^\s"',}}]+["']?""")
_REDACTED = "<redacted>"


@overload
def without_secrets(content: str) -> str: ...


@overload
def without_secrets(content: Mapping[str, Any]) -> dict[str, Any]: ...


def without_secrets(content: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """A command line or YAML text with `<redacted>` in the place of secrets; a nested mapping without them."""
    if isinstance(content, str):
        return _IN_TEXT.sub(rf"\g<1>{_REDACTED}", content)
    return {key: _value(value) for key, value in content.items() if key not in _SECRETS}


def _value(value: Any) -> Any:
    return without_secrets(value) if isinstance(value, Mapping) else value
