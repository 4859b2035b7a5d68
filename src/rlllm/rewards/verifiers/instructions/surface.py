"""Checks of a text's beginning and end, case, commas and language, and of texts made of several parts."""

from __future__ import annotations

import re

from rlllm.rewards.verifiers.instructions.words import compared
from rlllm.rewards.verifiers.language import SCRIPTS, base_code, is_in

_TOKEN = re.compile(r"[^\W_][\w'\u2019-]*")


def is_in_language(text: str, language: str) -> bool | None:
    """The text is in the language (ISO 639-1); None where that cannot be told."""
    code = base_code(language)
    return is_in(text, code) if code in SCRIPTS else None


def is_english_in_capitals(text: str) -> bool | None:
    """No small letter; and English, as far as that can be told."""
    return is_in_language(text, "en") if text.isupper() else False


def is_english_in_small_letters(text: str) -> bool | None:
    """No capital letter; and English, as far as that can be told."""
    return is_in_language(text, "en") if text.islower() else False


def has_capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """So many words in capitals throughout ("I" is one)."""
    return compared(sum(word.isupper() for word in _TOKEN.findall(text)), capital_relation, capital_frequency)


def has_no_comma(text: str) -> bool:
    """No comma of any script."""
    return not any(comma in text for comma in ",\u060c\uff0c\u3001")


def ends_with(text: str, end_phrase: str) -> bool:
    """The text ends with the phrase, in any case; closing double quotes do not count."""
    return text.strip().strip('"').casefold().endswith(end_phrase.strip().casefold())


def is_quoted(text: str) -> bool:
    """The whole text stands between double quotation marks."""
    body = text.strip()
    return len(body) > 2 and body.startswith('"') and body.endswith('"')


def has_two_responses(text: str) -> bool:
    """Two different responses, with six asterisks between them."""
    parts = [part.strip() for part in text.split("******")]
    inner = parts[1 if not parts[0] else 0 :]
    inner = inner[:-1] if inner and not inner[-1] else inner
    return len(inner) == 2 and all(inner) and inner[0] != inner[1]


def repeats_prompt(text: str, prompt_to_repeat: str) -> bool:
    """The request first, word for word, in any case, and then an answer."""
    request, body = prompt_to_repeat.strip().casefold(), text.strip().casefold()
    return bool(request) and body.startswith(request) and bool(body[len(request) :].strip())
