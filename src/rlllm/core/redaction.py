"""Leave secrets out of what a run writes down and shows: by the name of a setting, by their shape, and by their value.

A run that uses a secret has it in memory as before. What is written has `<redacted>` in its place; of settings, the key is
left out as well. Three strengths:

    without_secrets       settings and commands        by name, by shape, by value
    without_keys          messages, pages, verdicts    by shape, by value
    without_own_secrets   rows, completions, state     by value, since a text of that shape may be what the model is to learn
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Any, overload

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
    r"|\b(?i:bearer|basic) (?=[\w+/.=~-]*\d)[\w+/.=~-]{12,}"  # an Authorization header that a server repeats
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"  # the user part of a URL
    r"|(?<=[?&])(?i:key|token|sig|signature|auth|pass|pwd|[\w-]*(?:api[_-]?key|_token|-token|secret|password|signature))"
    r"=[^\s&#\"']+",
    re.DOTALL,
)
_SHORTEST = 8
_GIVEN: set[str] = set()
"""Secrets that this process was given, other than by a variable of the environment whose name says so."""


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
    content = _OPTION.sub(rf"\g<1>{_REDACTED}", _replaced(content, sorted(known, key=len, reverse=True)))
    return str(without_keys(_IN_TEXT.sub(rf"\g<1>{_REDACTED}", content)))


def without_keys(content: Any) -> Any:
    """A text, or what JSON can hold, without what looks like a key of a service and without the secrets of this process."""
    own = _own_secrets()
    return _each_text(content, lambda text: _SHAPES.sub(_REDACTED, _replaced(text, own)))


def without_own_secrets(content: Any) -> Any:
    """A text, or what JSON can hold, without the secrets of this process.

    Those are the secrets of its settings, the keys of its servers, and what its environment holds under a telling name.
    """
    own = _own_secrets()
    return _each_text(content, lambda text: _replaced(text, own)) if own else content


def secrets_in(content: Any) -> frozenset[str]:
    """The secrets that stand in nested settings; whatever this process writes from now on is without them."""
    found = frozenset(_secrets(content))
    for secret in found:
        remember(secret)
    return found


def remember(secret: str) -> None:
    """Leave a value out of whatever this process writes from now on. Short ones are not kept: they stand in other words."""
    if len(secret) >= _SHORTEST:
        _GIVEN.add(secret)


def names_a_secret(parameter: str) -> bool:
    """Whether the parameter of a URL's query holds a key, whatever its value."""
    return bool(_NAME.search(parameter) or _MAYBE.search(parameter))


def _own_secrets() -> list[str]:
    """The longest first, since one may be a part of another."""
    return sorted(_GIVEN.union(_of_environment()), key=len, reverse=True)


def _replaced(text: str, secrets: Collection[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _REDACTED)
    return text


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _each_text(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(item, change) for item in value]
    return value


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
    return (value for name, value in os.environ.items() if _is_secret_variable(name) and _looks_secret(value))


@cache
def _is_secret_variable(name: str) -> bool:
    return names_a_secret(name) or name.upper().endswith(("TOKEN", "APIKEY"))


def _is_secret(name: object, value: object) -> bool:
    """Whether a key, perhaps with the section before it as in `trainer.hub_token`, names a secret."""
    if _NAME.search(str(name)):
        return not isinstance(value, bool)
    return bool(_MAYBE.search(str(name))) and isinstance(value, str) and _looks_secret(value)


def _looks_secret(value: str) -> bool:
    """Whether a text may be a key: one long word of letters and digits that is no path and no address."""
    plain = value.isascii() and value.isprintable() and not any(sign in value for sign in " /<>\\{}()")
    return plain and len(value) >= 12 and any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _value(value: Any, known: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value, known)
    if isinstance(value, list | tuple):
        return [_value(item, known) for item in value]
    return without_keys(value) if isinstance(value, str) else value
