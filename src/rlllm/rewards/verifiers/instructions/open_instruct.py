"""The checks that rows of open-instruct name by function (RLVR-IFeval, Tulu 3: arXiv 2411.15124, appendix).

Their instructions differ from IFEval's: counts are exact, or "at least", "around" and "at most"; dividers are `* * *`. A check
that IFEval has as well is ours, under the argument names of these rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from rlllm.core.errors import unknown
from rlllm.rewards.verifiers.instructions import structure, surface, words

_QUANTIFIERS = ("at least", "around", "at most")


def _quantified(count: int, limit: int, quantifier: str, tolerance: int) -> bool:
    """Whether a count is as wanted.

    Raises:
        ConfigError: an unknown quantifier.
    """
    if quantifier not in _QUANTIFIERS:
        raise unknown("quantifier", quantifier, _QUANTIFIERS)
    return {"at least": count >= limit, "at most": count <= limit, "around": abs(count - limit) <= tolerance}[
        quantifier
    ]


def _tenth(limit: int) -> int:
    return max(round(limit * 0.1), 1)


def _has_keyword_times(text: str, word: str, N: int) -> bool:  # noqa: N803 (the rows' names)
    """The word comes exactly so often, as a word of its own, in any case."""
    return re.findall(r"\w+", text.lower()).count(word.strip().lower()) == N


def _has_no_forbidden_words(text: str, forbidden_words: list[str]) -> bool:
    """None of the words stands in the text, also not inside of longer ones."""
    return not any(word.lower() in text.lower() for word in forbidden_words)


def _has_letter_times(text: str, letter: str, N: int) -> bool:  # noqa: N803
    """The letter comes exactly so often, in this case."""
    return text.count(letter) == N


def _has_paragraphs(text: str, N: int) -> bool:  # noqa: N803
    """Exactly so many paragraphs between dividers `* * *`, none of them empty."""
    paragraphs = text.split("* * *")
    return len(paragraphs) == N and all(paragraph.strip() for paragraph in paragraphs)


def _has_words(text: str, N: int, quantifier: str) -> bool:  # noqa: N803
    """So many words between blanks; "around" allows a tenth."""
    return _quantified(len(text.split()), N, quantifier, _tenth(N))


def _has_sentences(text: str, N: int, quantifier: str) -> bool:  # noqa: N803
    """So many sentences; "around" allows one more or fewer."""
    return _quantified(words.count_sentences(text), N, quantifier, 1)


def _has_paragraph_beginning(text: str, N: int, first_word: str, i: int) -> bool:  # noqa: N803
    """Exactly so many paragraphs between blank lines, and the i-th (from 1) begins with the word."""
    return words.has_first_word(text, N, i, first_word)


def _has_postscript(text: str, postscript_marker: str) -> bool:
    """The marker, and behind it some text."""
    return structure.has_postscript(text, postscript_marker)


def _has_placeholders(text: str, N: int) -> bool:  # noqa: N803
    return structure.has_placeholders(text, N)


def _has_bullets(text: str, N: int) -> bool:  # noqa: N803
    return structure.has_bullets(text, N)


def _is_one_of(text: str, options: list[str]) -> bool:
    """Just one of the options stands in the text, as a word of its own."""
    return sum(re.search(rf"(?<!\w){re.escape(option)}(?!\w)", text) is not None for option in options) == 1


def _has_highlights(text: str, N: int) -> bool:  # noqa: N803
    return structure.has_highlights(text, N)


def _has_sections(text: str, N: int, section_splitter: str) -> bool:  # noqa: N803
    return structure.has_sections(text, section_splitter, N)


def _repeats_prompt(text: str, original_prompt: str) -> bool:
    return surface.repeats_prompt(text, original_prompt)


def _is_in_capitals(text: str) -> bool:
    """No small letter."""
    return text == text.upper()


def _is_in_small_letters(text: str) -> bool:
    """No capital letter."""
    return text == text.lower()


def _has_capital_words(text: str, N: int, quantifier: str) -> bool:  # noqa: N803
    """So many words of capital letters alone; "around" allows a tenth."""
    return _quantified(len(re.findall(r"\b[A-Z]+\b", text)), N, quantifier, _tenth(N))


def _has_keywords(text: str, keyword_list: list[str]) -> bool:
    return words.has_keywords(text, keyword_list)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "verify_keywords": _has_keywords,
    "verify_keyword_frequency": _has_keyword_times,
    "validate_forbidden_words": _has_no_forbidden_words,
    "verify_letter_frequency": _has_letter_times,
    "validate_response_language": surface.is_in_language,
    "verify_paragraph_count": _has_paragraphs,
    "validate_word_constraint": _has_words,
    "verify_sentence_constraint": _has_sentences,
    "validate_paragraphs": _has_paragraph_beginning,
    "verify_postscript": _has_postscript,
    "validate_placeholders": _has_placeholders,
    "verify_bullet_points": _has_bullets,
    "validate_title": structure.has_title,
    "validate_choice": _is_one_of,
    "validate_highlighted_sections": _has_highlights,
    "validate_sections": _has_sections,
    "validate_json_format": structure.is_json,
    "validate_repeat_prompt": _repeats_prompt,
    "validate_two_responses": surface.has_two_responses,
    "validate_uppercase": _is_in_capitals,
    "validate_lowercase": _is_in_small_letters,
    "validate_frequency_capital_words": _has_capital_words,
    "validate_end": surface.ends_with,
    "validate_quotation": surface.is_quoted,
    "validate_no_commas": surface.has_no_comma,
}
"""Name of the function in `func_name` to check."""
