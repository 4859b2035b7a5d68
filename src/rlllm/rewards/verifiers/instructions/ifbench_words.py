"""IFBench's checks of words and counts (Pyatkin et al. 2025, arXiv 2507.02833). Argument names are those of its rows.

Where a published check passes a text that has nothing to count (no sentence of either kind, no word at all), these refuse it.
"""

# ruff: noqa: N803 (N is the rows' name)

from __future__ import annotations

import re
import string
from collections import Counter
from itertools import pairwise

from rlllm.rewards.verifiers.instructions.words import split_sentences

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]")
_JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxyz]{2}")
_PRIMES = frozenset({2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47})
_CONJUNCTIONS = frozenset({"and", "but", "for", "nor", "or", "so", "yet"})
_PRONOUNS = frozenset(
    [
        "i",
        "me",
        "my",
        "mine",
        "myself",
        "we",
        "us",
        "our",
        "ours",
        "ourselves",
        "you",
        "your",
        "yours",
        "yourself",
        "yourselves",
        "he",
        "him",
        "his",
        "himself",
        "she",
        "her",
        "hers",
        "herself",
        "it",
        "its",
        "itself",
        "they",
        "them",
        "their",
        "theirs",
        "themselves",
    ]
)
_STOP_WORDS = _PRONOUNS | frozenset(
    [
        "a",
        "about",
        "above",
        "after",
        "again",
        "against",
        "all",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "below",
        "between",
        "both",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "doing",
        "don",
        "down",
        "during",
        "each",
        "few",
        "for",
        "from",
        "further",
        "had",
        "has",
        "have",
        "having",
        "here",
        "how",
        "if",
        "in",
        "into",
        "is",
        "just",
        "ll",
        "more",
        "most",
        "no",
        "nor",
        "not",
        "now",
        "of",
        "off",
        "on",
        "once",
        "only",
        "or",
        "other",
        "out",
        "over",
        "own",
        "re",
        "s",
        "same",
        "should",
        "so",
        "some",
        "such",
        "t",
        "than",
        "that",
        "the",
        "then",
        "there",
        "these",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "until",
        "up",
        "ve",
        "very",
        "was",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whom",
        "why",
        "will",
        "with",
        "won",
        "would",
        "d",
        "m",
    ]
)
"""English function words; the published check takes NLTK's list, of which some rare contractions are missing here."""
_NAMES = [
    "Emma",
    "Liam",
    "Sophia",
    "Jackson",
    "Olivia",
    "Noah",
    "Ava",
    "Lucas",
    "Isabella",
    "Mason",
    "Mia",
    "Ethan",
    "Charlotte",
    "Alexander",
    "Amelia",
    "Benjamin",
    "Harper",
    "Leo",
    "Zoe",
    "Daniel",
    "Chloe",
    "Samuel",
    "Lily",
    "Matthew",
    "Grace",
    "Owen",
    "Abigail",
    "Gabriel",
    "Ella",
    "Jacob",
    "Scarlett",
    "Nathan",
    "Victoria",
    "Elijah",
    "Layla",
    "Nicholas",
    "Audrey",
    "David",
    "Hannah",
    "Christopher",
    "Penelope",
    "Thomas",
    "Nora",
    "Andrew",
    "Aria",
    "Joseph",
    "Claire",
    "Ryan",
    "Stella",
    "Jonathan",
]
"""The names that the instruction lists."""


def _bare_words(text: str) -> list[str]:
    """Words between blanks in small letters, without punctuation; none of them empty."""
    return text.lower().translate(_NO_PUNCTUATION).split()


def has_word_range(text: str, min_words: int, max_words: int) -> bool:
    return min_words <= len(_WORD.findall(text)) <= max_words


def has_unique_words(text: str, N: int) -> bool:
    return len({word.strip(string.punctuation) for word in text.lower().split()} - {""}) >= N


def has_few_stop_words(text: str, percentage: float) -> bool:
    words = [word.lower() for word in _WORD.findall(text)]
    return bool(words) and 100 * sum(word in _STOP_WORDS for word in words) / len(words) <= percentage


def has_conjunctions(text: str, small_n: int) -> bool:
    return len(_CONJUNCTIONS & {word.strip(string.punctuation).lower() for word in text.split()}) >= small_n


def has_person_names(text: str, N: int) -> bool:
    return sum(re.search(rf"\b{name}\b", text) is not None for name in _NAMES) >= N


def has_numbers(text: str, N: int) -> bool:
    """Exactly so many runs of digits, where 1,000 and 3.5 are one."""
    return len(re.findall(r"\d+", text.translate(_NO_PUNCTUATION))) == N


def has_pronouns(text: str, N: int) -> bool:
    return sum(word in _PRONOUNS for word in _bare_words(text.replace("/", " "))) >= N


def has_japanese_words(text: str, N: int) -> bool:
    """Every N-th word has a Japanese character; numbers are left out."""
    words = [word.strip(string.punctuation) for word in text.split()]
    chosen = [word for word in words[N - 1 :: N] if word and not word.isdigit()]
    return all(_JAPANESE.search(word) for word in chosen)


def has_keywords_multiple(text: str, keyword1: str, keyword2: str, keyword3: str, keyword4: str, keyword5: str) -> bool:
    """The five keywords come 1, 2, 3, 5 and 7 times."""
    keywords = (keyword1, keyword2, keyword3, keyword4, keyword5)
    return [text.lower().count(keyword.lower()) for keyword in keywords] == [1, 2, 3, 5, 7]


def has_keyword_at(text: str, keyword: str, n: int, m: int) -> bool:
    """The m-th token of the n-th sentence is the keyword; punctuation is a token."""
    sentences = split_sentences(text)
    tokens = _TOKEN.findall(sentences[n - 1]) if 1 <= n <= len(sentences) else []
    return 1 <= m <= len(tokens) and tokens[m - 1] == keyword


def has_keyword_second_and_second_last(text: str, keyword: str) -> bool:
    tokens = _TOKEN.findall(text)
    return len(tokens) >= 2 and tokens[1] == tokens[-2] == keyword


def has_keyword_in_sentence(text: str, word: str, N: int) -> bool:
    sentences = split_sentences(text)
    return 1 <= N <= len(sentences) and word.lower() in sentences[N - 1].lower()


def follows_alphabet(text: str) -> bool:
    """Each word begins with the letter behind that of the word before; `a` follows `z`."""
    firsts = [ord(word[0]) - ord("a") for word in _bare_words(text)]
    return all(0 <= first < 26 for first in firsts) and all(
        after == (before + 1) % 26 for before, after in pairwise(firsts)
    )


def has_three_vowels(text: str) -> bool:
    """One paragraph with at most three different vowels."""
    return "\n" not in text.strip() and len(set("aeiou") & set(text.lower())) <= 3


def has_consonant_clusters(text: str) -> bool:
    return all(_CONSONANTS.search(word) for word in text.lower().split())


def has_palindromes(text: str) -> bool:
    """Ten palindromes of five letters or more."""
    return sum(len(word) >= 5 and word == word[::-1] for word in _bare_words(text)) >= 10


def has_prime_lengths(text: str) -> bool:
    return all(len(word) in _PRIMES for word in _bare_words(text))


def repeats_few_words(text: str, small_n: int) -> bool:
    return max(Counter(_bare_words(text)).values(), default=0) <= small_n


def has_no_consecutive_first_letters(text: str) -> bool:
    words = _bare_words(text)
    return all(before[0] != after[0] for before, after in pairwise(words))


def starts_with_last_words(text: str) -> bool:
    """Each sentence begins with the last word of the one before."""
    ends = [(words[0], words[-1]) for sentence in split_sentences(text) if (words := _bare_words(sentence))]
    return all(before[1] == after[0] for before, after in pairwise(ends))


def has_paragraphs_with_equal_ends(text: str) -> bool:
    """Each line ends with the word it begins with."""
    lines = [
        line.lower().strip(string.punctuation + string.whitespace).split() for line in text.split("\n") if line.strip()
    ]
    return all(words and words[0] == words[-1] for words in lines)


def has_overlap(text: str, reference_text: str, percentage: float) -> bool:
    """The share of the text's different runs of three characters that the reference has, within two points."""
    runs = {text[start : start + 3] for start in range(len(text) - 2)}
    known = {reference_text[start : start + 3] for start in range(len(reference_text) - 2)}
    return bool(runs) and abs(100 * len(runs & known) / len(runs) - percentage) <= 2
