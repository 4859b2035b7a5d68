"""The 29 further instructions of IFBench's training set (IF-RLVR, arXiv 2507.02833), as open-instruct's rows name them.

Argument names are those of the rows. Keywords are text here, never patterns.
"""

# ruff: noqa: N803 (N is the rows' name)

from __future__ import annotations

import re
import string
from itertools import pairwise

from rlllm.rewards.verifiers.instructions.words import compared, has_paragraph_count, split_sentences

_TOKEN = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]")
_SIX_STARS = "******"


def _same(text: str, wanted: str) -> bool:
    return text.strip().lower() == wanted.strip().lower()


def copies(text: str, prompt_to_repeat: str) -> bool:
    """The request and nothing else, in any case."""
    return _same(text, prompt_to_repeat)


def copies_times(text: str, prompt_to_repeat: str, N: int) -> bool:
    """The request so many times, with six asterisks between."""
    copied = text.split(_SIX_STARS)
    return len(copied) == N and all(_same(part, prompt_to_repeat) for part in copied)


def copies_span(text: str, prompt_to_repeat: str, n_start: int, n_end: int) -> bool:
    """The characters of the request from `n_start` up to `n_end`, counted from 0; the latter is left out, or not."""
    return any(_same(text, prompt_to_repeat[n_start:end]) for end in (n_end, n_end + 1))


def repeats_phrase(text: str, phrase: str, small_n: int) -> bool:
    """The phrase exactly so many times, each time with just one other word, which is not its first or last."""
    wanted = phrase.split()
    pattern = rf"(?<!\w){re.escape(wanted[0])}\s.*?\s{re.escape(wanted[-1])}(?!\w)"
    found = [match.split() for match in re.findall(pattern, text)]
    if len(found) != small_n or any(len(words) != len(wanted) for words in found):
        return False
    return all(sum(a != b for a, b in zip(words, wanted, strict=True)) == 1 for words in found)


def has_hyphens_between_sentences(text: str) -> bool:
    """Sentences with one hyphen and no blank between them."""
    parts = text.strip().split("-")
    return not re.search(r"[.!?]\s+\S", text) and all(
        part == part.strip() and len(split_sentences(part)) == 1 for part in parts
    )


def has_no_adjacent_letters(text: str) -> bool:
    """No word begins with the letter of the alphabet that follows the one before it."""
    firsts = [word[0].lower() for word in text.split()]
    return all(ord(after) - ord(before) != 1 for before, after in pairwise(firsts))


def has_brackets_around_words(text: str) -> bool:
    return all(re.fullmatch(r"\[[^\[\]]+\]", word) for word in text.split())


def has_keyword_once(text: str, keyword: str) -> bool:
    return text.lower().count(keyword.strip().lower()) == 1


def has_keyword_times(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return compared(text.lower().count(keyword.strip().lower()), relation, frequency)


def has_no_keyword(text: str, keyword: str) -> bool:
    """The word does not stand in the text as a word of its own, in this case."""
    return re.search(rf"(?<!\w){re.escape(keyword.strip())}(?!\w)", text) is None


def has_two_divided_paragraphs(text: str) -> bool:
    return has_paragraph_count(text, 2)


def has_two_paragraphs(text: str) -> bool:
    """Two paragraphs, with one blank line between."""
    return len(text.strip().split("\n\n")) == 2


def starts_sentences_with(text: str, first_word: str) -> bool:
    return all(_same(_bare(sentence.split()[0]), first_word) for sentence in split_sentences(text))


def starts_with(text: str, first_word: str) -> bool:
    return _same(_bare(text.split()[0]), first_word)


def ends_sentences_with(text: str, last_word: str) -> bool:
    return all(_same(_bare(sentence.split()[-1]), last_word) for sentence in split_sentences(text))


def ends_with_word(text: str, last_word: str) -> bool:
    return _same(_bare(text.split()[-1]), last_word)


def _bare(word: str) -> str:
    return word.strip(string.punctuation + "\u201c\u201d\u2018\u2019")


def has_wrapped_bigrams(text: str) -> bool:
    """Every two words stand between `<<` and `>>`; a last single word may stand alone."""
    words = text.split()
    pairs = list(zip(words[::2], words[1::2], strict=False))
    return bool(pairs) and all(re.fullmatch(r"<<(?!<)\S*[^\s>] [^\s<]\S*>>\S?", " ".join(pair)) for pair in pairs)


def has_no_dot(text: str) -> bool:
    return "." not in text


def has_no_exclamation(text: str) -> bool:
    return "!" not in text


def has_few_lowercase_words(text: str, N: int) -> bool:
    """At most so many words of small letters alone."""
    return len(re.findall(r"\b[a-z]+\b", text)) <= N


def has_letters(text: str, N: int, relation: str) -> bool:
    return compared(len(re.findall(r"[a-zA-Z]", text)), relation, N)


def has_composition(text: str, n_sent: int, n_words: int) -> bool:
    """Three paragraphs between dividers (`***` or `* * *`), with so many sentences of so many words each."""
    paragraphs = [part for part in re.split(r"\*\s?\*\s?\*", text) if part.strip()]
    sentences = [split_sentences(paragraph) for paragraph in paragraphs]
    return len(paragraphs) == 3 and all(
        len(group) == n_sent and all(len(re.findall(r"\w+(?:['\u2019-]\w+)*", one)) == n_words for one in group)
        for group in sentences
    )


def has_unique_words(text: str) -> bool:
    """No word stands twice, in any case."""
    words = re.findall(r"\w+(?:['\u2019-]\w+)*", text.lower())
    return len(set(words)) == len(words)


def has_one_and_two(text: str, keyword1: str, keyword2: str) -> bool:
    """The first keyword stands once in the text, and the second twice."""
    return [text.lower().count(keyword.strip().lower()) for keyword in (keyword1, keyword2)] == [1, 2]


def has_palindrome(text: str) -> bool:
    """A word of three letters or more that reads the same backwards, in any case."""
    words = [_bare(word).lower() for word in text.split()]
    return any(len(word) >= 3 and word == word[::-1] for word in words)


def has_equal_ends(text: str) -> bool:
    """The first and the last word are the same, in any case, and no punctuation follows."""
    tokens = [token.lower() for token in _TOKEN.findall(text)]
    return len(tokens) > 1 and tokens[0] == tokens[-1] and tokens[0][0].isalnum()
