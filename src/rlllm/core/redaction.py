"""Leave secrets out of what a run writes down and shows: by the name of a setting, by their shape, and by their value.

A run that uses a secret has it in memory as before. What is written has `<redacted>` in its place, and mappings lose the key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, overload
from urllib.parse import parse_qsl, urlsplit

from rlllm.core.errors import ConfigError

_REDACTED = "<redacted>"
_KINDS_OF_TOKEN = "hub|auth|access|api|refresh|session|security|bearer|secret|hf|wandb|github|gh|gitlab|slack"
_NAMED = (
    r"(?:api|access|secret|private|auth|account|signing|encryption)[_-]?key(?:[_-]?id)?|secret|password|passwd|passphrase"
    rf"|authorization|credentials?|(?:{_KINDS_OF_TOKEN})[_-]?token"
)
_NAME = re.compile(rf"(?:^|[._-])(?:{_NAMED})$", re.IGNORECASE)
"""Ends of the names that hold a secret; `pad_token`, `max_tokens` and `key_env` are none."""
_MAYBE = re.compile(r"(?:^|[._-])(?:token|key|auth|pwd|pass|bearer|sig|signature)$", re.IGNORECASE)
"""Names that hold one where the value looks like a secret."""
_IN_TEXT = re.compile(
    rf"""((?:(?<!\w)|(?<=_))(?:{_NAMED})["']?\s*[=:]\s*)(?:(?:Bearer|Basic)\s+)?["']?[^\s"',}}&]+["']?""",
    re.IGNORECASE,
)
_OPTION = re.compile(rf"(--[\w.-]*?(?:{_NAMED})\s+)[\"']?[^\s\"',}}]+[\"']?", re.IGNORECASE)
_SHAPES = re.compile(
    r"\bhf_[A-Za-z0-9]{16,}"  # Hugging Face
    r"|\bsk-(?=[\w-]*\d)[\w-]{16,}"  # OpenAI, Anthropic, OpenRouter
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"  # GitHub, GitLab
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}|\bya29\.[\w-]{16,}"  # AWS, Google
    r"|\bxox[abeprs]-[\w-]{10,}|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{30,}|\bgsk_[A-Za-z0-9]{20,}"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"  # JSON Web Token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"  # the user part of a URL
    r"|(?<=[?&])(?:key|token|sig|signature|auth|pass|pwd|[\w-]*(?:api[_-]?key|_token|-token|secret|password|signature))"
    r"=[^\s&#\"']+",
    re.IGNORECASE | re.DOTALL,
)
_MARKS = (
    "hf_",
    "sk-",
    "gh",
    "glpat-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "xox",
    "npm_",
    "pypi-",
    "gsk_",
    "eyJ",
    "PRIVATE KEY",
)
_SHORTEST = 8
_WITHIN: set[str] = set()
"""Secrets among the settings of this process."""


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
        return {key: _value(value, known) for key, value in content.items() if not _is_secret(key, value)}
    for secret in sorted(known, key=len, reverse=True):
        content = content.replace(secret, _REDACTED)
    content = _OPTION.sub(rf"\g<1>{_REDACTED}", content)
    return without_shapes(_IN_TEXT.sub(rf"\g<1>{_REDACTED}", content))


def without_shapes(text: str) -> str:
    """A text without what looks like a key of a known service, and without the secrets of this process."""
    text = without_known(text)
    if "://" in text or any(mark in text for mark in _MARKS):
        return _SHAPES.sub(_REDACTED, text)
    return text


def without_known(text: str) -> str:
    """A text without the secrets of this process: those of its settings, and those that its environment names as such.

    For rows of data, in which a text of that shape may be what the model is to learn.
    """
    for secret in sorted(_WITHIN | set(_of_environment()), key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, _REDACTED)
    return text


def secrets_in(content: Any) -> frozenset[str]:
    """The secrets that stand in nested settings; whatever this process writes from now on is without them."""
    found = frozenset(_secrets(content))
    _WITHIN.update(secret for secret in found if len(secret) >= _SHORTEST)
    return found


def refuse_keys_in_addresses(content: Any, place: str = "") -> None:
    """Raise ConfigError for a URL among nested settings that holds a password or a key: URLs stand in logs and reports."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            refuse_keys_in_addresses(value, f"{place}.{key}" if place else str(key))
    elif isinstance(content, list | tuple):
        for item in content:
            refuse_keys_in_addresses(item, place)
    elif isinstance(content, str) and (held := _held_by(content)):
        raise ConfigError(
            f"a URL with {held} is shown in logs and reports",
            given=f"{place or 'url'}: {without_shapes(content)}",
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
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    named = next((name for name in names if _NAME.search(name) or _MAYBE.search(name)), None)
    return f"a key in its query ({named}=...)" if named else None


def _secrets(content: Any) -> Iterator[str]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            if _is_secret(key, value) and value:
                yield from _texts(value)
            else:
                yield from _secrets(value)
    elif isinstance(content, list | tuple):
        for item in content:
            yield from _secrets(item)
    elif isinstance(content, str):
        yield from _SHAPES.findall(content)


def _texts(value: Any) -> Iterator[str]:
    """The texts in the value of a secret setting, which may be a mapping of headers."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif not isinstance(value, bool):
        yield str(value).strip()


def _of_environment() -> Iterator[str]:
    """Values of environment variables that hold a secret by their name, and look like one."""
    for name, value in os.environ.items():
        if (_NAME.search(name) or _MAYBE.search(name) or name.upper().endswith(("TOKEN", "APIKEY"))) and _looks_secret(
            value
        ):
            yield value


def _is_secret(key: Any, value: Any) -> bool:
    """Whether a key, perhaps with the section before it as in `trainer.hub_token`, names a secret."""
    name = str(key)
    if _NAME.search(name):
        return not isinstance(value, bool)
    return bool(_MAYBE.search(name)) and isinstance(value, str) and _looks_secret(value)


def _looks_secret(value: str) -> bool:
    """Whether a text may be a key: one long word of letters and digits that is no path and no address."""
    plain = value.isascii() and value.isprintable() and not any(sign in value for sign in " /<>\\{}()")
    return plain and len(value) >= 12 and any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _value(value: Any, known: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value, known)
    if isinstance(value, list | tuple):
        return [_value(item, known) for item in value]
    return without_shapes(value) if isinstance(value, str) else value
