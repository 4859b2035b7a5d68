"""The checks of IFEval as they are published, where they differ from ours: what they accept is counted, too.

Behaviour of lm-evaluation-harness 0.4.13 (`tasks/ifeval`), which follows google-research's. Two of its parts cannot be
reproduced: sentences are counted by rule instead of NLTK's trained model, and the language of a text is py3langid's most
probable one instead of langdetect's.
"""

from __future__ import annotations

import json
import re

from rlllm.rewards.verifiers.instructions.words import compared
from rlllm.rewards.verifiers.language import base_code, most_probable

_FENCE_OPENERS = ("```json", "```Json", "```JSON", "```")
_POSTSCRIPTS = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
_TOKEN = re.compile(
    r"n't\b|'(?:s|m|d|re|ve|ll)\b|[\w.]*\w(?:-\w+)*(?=n't\b)|\w[\w.]*\w(?:[-/.]\w+)*\.?|\w", re.IGNORECASE
)
"""A word as a treebank tokenizer cuts it: contractions apart, hyphens and dots inside."""


def has_placeholders(text: str, num_placeholders: int) -> bool:
    """At least so many pairs of square brackets within a line, empty ones too."""
    return len(re.findall(r"\[.*?\]", text)) >= num_placeholders


def has_bullets(text: str, num_bullets: int) -> bool:
    """Exactly so many lines that begin with `-`, or with one `*` and another character; dividers count."""
    stars = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE)
    dashes = re.findall(r"^\s*-.*$", text, re.MULTILINE)
    return len(stars) + len(dashes) == num_bullets


def is_constrained_response(text: str) -> bool:
    """One of the three options stands in the text, whatever else does."""
    return any(f"My answer is {word}." in text for word in ("yes", "no", "maybe"))


def has_highlights(text: str, num_highlights: int) -> bool:
    """At least so many stretches between asterisks; one between double asterisks counts twice where it is found twice."""
    single = [part for part in re.findall(r"\*[^\n\*]*\*", text) if part.strip("*").strip()]
    double = [part for part in re.findall(r"\*\*[^\n\*]*\*\*", text) if part[2:-2].strip()]
    return len(single) + len(double) >= num_highlights


def has_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """At least so many places where the word and a number stand, anywhere in a line, with or without text behind."""
    return len(re.findall(rf"\s?{section_spliter}\s?\d+\s?", text)) >= num_sections


def has_paragraph_count(text: str, num_paragraphs: int) -> bool:
    """Exactly so many paragraphs between dividers `***`; an empty one is allowed at either end only."""
    parts = re.split(r"\s?\*\*\*\s?", text)
    if any(not part.strip() for part in parts[1:-1]):
        return False
    return sum(bool(part.strip()) for part in parts) == num_paragraphs


def has_postscript(text: str, postscript_marker: str) -> bool:
    """The marker stands in the text, in any case, with or without text behind."""
    pattern = _POSTSCRIPTS.get(postscript_marker.strip(), postscript_marker.strip().lower())
    return re.search(pattern, text.lower()) is not None


def has_keywords(text: str, keywords: list[str]) -> bool:
    """Every keyword is found as a regular expression, in any case."""
    return all(re.search(keyword, text, re.IGNORECASE) for keyword in keywords)


def has_keyword_frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    """The keyword is found so often as a regular expression, in any case."""
    return compared(len(re.findall(keyword.strip(), text, re.IGNORECASE)), relation, frequency)


def has_no_forbidden_words(text: str, forbidden_words: list[str]) -> bool:
    """None of the words is found as a regular expression between word boundaries."""
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in forbidden_words)


def is_json(text: str) -> bool:
    """The text without a fence around it is JSON, by Python's parser (NaN and repeated keys included)."""
    body = text.strip()
    for opener in _FENCE_OPENERS:
        body = body.removeprefix(opener)
    try:
        json.loads(body.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def has_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Exactly so many paragraphs between blank lines, and the nth piece between two line breaks begins with the word."""
    pieces = text.split("\n\n")
    count = sum(bool(piece.strip()) for piece in pieces)
    if not 1 <= nth_paragraph <= count or not pieces[nth_paragraph - 1].strip():
        return False
    word = pieces[nth_paragraph - 1].split(maxsplit=1)[0].lstrip("'").lstrip('"')
    return count == num_paragraphs and re.split(r"[.,?!'\"]", word)[0].lower() == first_word.lower()


def repeats_prompt(text: str, prompt_to_repeat: str) -> bool:
    """The request comes first, in any case; nothing has to follow."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def has_title(text: str) -> bool:
    """Text between `<<` and `>>` in a line."""
    return any(title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text))


def has_capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """So many words without a small letter, contractions cut apart."""
    return compared(sum(word.isupper() for word in _TOKEN.findall(text)), capital_relation, capital_frequency)


def is_in_language(text: str, language: str) -> bool:
    """The most probable language is this one; a text in which no language is found passes."""
    found = most_probable(text)
    return found is None or base_code(found) == base_code(language)


def is_english_in_capitals(text: str) -> bool:
    """No small letter, and English by `is_in_language`."""
    return text.isupper() and is_in_language(text, "en")


def is_english_in_small_letters(text: str) -> bool:
    """No capital letter, and English by `is_in_language`."""
    return text.islower() and is_in_language(text, "en")


def has_no_comma(text: str) -> bool:
    """No ASCII comma; those of other scripts are allowed."""
    return "," not in text


def is_quoted(text: str) -> bool:
    """A double quotation mark at either end, with nothing between allowed."""
    body = text.strip()
    return len(body) > 1 and body[0] == body[-1] == '"'
