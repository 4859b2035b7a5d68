"""Checks that count keywords, letters, words, sentences and paragraphs."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping

from rlllm.core.errors import unknown

_RELATIONS: Mapping[str, Callable[[int, int], bool]] = {"less than": operator.lt, "at least": operator.ge}
_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"[.!?]+[\"'\u201d\u2019)\]*_]*(?=\s|$)|[\u3002\uff01\uff1f\u0964\u061f]+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'])(?:[A-Za-z]|[A-Za-z]\.[A-Za-z]|mr|mrs|ms|dr|prof|sr|jr|st|vs|etc|fig|vol|approx|inc|ltd|co)$",
    re.IGNORECASE,
)
_BEHIND_WORD = ".,?!'\":;*_"


def _count_words(text: str) -> int:
    """Runs of letters, digits and underscores, as the benchmark counts them."""
    return len(_WORD.findall(text))


def count_sentences(text: str) -> int:
    """Number of sentences, as `split_sentences` splits them.

    The benchmark asks a trained model instead; counts of ordinary prose agree.
    """
    return len(split_sentences(text))


def split_sentences(text: str) -> list[str]:
    """Stretches with a word in them that end in `.`, `!` or `?` before a blank, or at the end of the text; stripped.

    Abbreviations and initials do not end a sentence, unless nothing follows.
    """
    sentences, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        if text[match.start() : match.end()].startswith(".") and _is_abbreviation(text, match):
            continue
        if _WORD.search(text, start, match.start()):
            sentences.append(text[start : match.end()].strip())
        start = match.end()
    return [*sentences, text[start:].strip()] if _WORD.search(text, start) else sentences


def _is_abbreviation(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - 8) : match.start()]
    return bool(text[match.end() :][:1]) and _ABBREVIATION.search(before) is not None and not before.endswith(" I")


def compared(count: int, relation: str, limit: int) -> bool:
    """Whether `count` stands in the relation ("less than", "at least") to `limit`.

    Raises:
        ConfigError: an unknown relation.
    """
    if relation not in _RELATIONS:
        raise unknown("relation", relation, _RELATIONS)
    return _RELATIONS[relation](count, limit)


def has_keywords(text: str, keywords: list[str]) -> bool:
    """Every keyword stands in the text, in any case, also inside longer words."""
    return all(keyword.casefold() in text.casefold() for keyword in keywords)


def has_no_forbidden_words(text: str, forbidden_words: list[str]) -> bool:
    """None of the words stands in the text as a word of its own, in any case."""
    return not any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in forbidden_words)


def has_keyword_frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    """The keyword comes so often, in any case, also inside longer words."""
    wanted = keyword.strip().casefold()
    return bool(wanted) and compared(text.casefold().count(wanted), relation, frequency)


def has_letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """The letter comes so often, in either case."""
    return compared(text.lower().count(letter.strip().lower() or letter), let_relation, let_frequency)


def has_word_count(text: str, num_words: int, relation: str) -> bool:
    """The text has so many words."""
    return compared(_count_words(text), relation, num_words)


def has_sentence_count(text: str, num_sentences: int, relation: str) -> bool:
    """The text has so many sentences."""
    return compared(count_sentences(text), relation, num_sentences)


def has_paragraph_count(text: str, num_paragraphs: int) -> bool:
    """Exactly so many paragraphs between dividers `***`; none of them empty."""
    paragraphs = [part.strip() for part in text.split("***")]
    outer = paragraphs[1 if not paragraphs[0] else 0 :]
    inner = outer[:-1] if outer and not outer[-1] else outer
    return all(inner) and len(inner) == num_paragraphs


def has_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Exactly so many paragraphs between blank lines, and the nth (from 1) begins with the word, in any case."""
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    if len(paragraphs) != num_paragraphs or not 1 <= nth_paragraph <= num_paragraphs:
        return False
    word = paragraphs[nth_paragraph - 1].split(maxsplit=1)[0].strip(_BEHIND_WORD)
    return word.casefold() == first_word.strip().casefold()
