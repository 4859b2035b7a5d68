"""Word n-grams of texts as 64-bit hashes, computed for many texts at once. Near-duplicates and contamination compare these.

Case, white space, punctuation and Unicode's different encodings of one character do not count. Numbers, decimal points, signs
of arithmetic and logic, and symbols do, since they change a problem. In scripts without spaces each character is a word.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

_BLOCK = 1 << 20
"""Bytes hashed at a time: the working arrays take some 60 bytes for each."""
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_BLANK, _LETTER, _DIGIT, _SIGN = 0, 1, 2, 3
_SIGNS = "+*/=<>^%-&|~"
_OTHER = re.compile(rf"[^\w\s.{re.escape(_SIGNS)}]")
_UNSPACED = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff])")
_SPELLINGS = str.maketrans(
    {"\u2212": "-", "\u00d7": "*", "\u00f7": "/", "\u2264": "<=", "\u2265": ">=", "\u2260": "<>", "\u2019": "", "'": ""}
)
_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion"
)


def _normalise(text: str) -> bytes:
    """The text in one case and one encoding, its punctuation blank beyond ASCII, which is left to the byte classes."""
    if text.isascii():
        return text.lower().replace("'", "").encode()
    text = unicodedata.normalize("NFKC", text.translate(_SPELLINGS)).casefold()
    text = _UNSPACED.sub(r" \1 ", _OTHER.sub(_spaced, text))
    return text.encode(errors="surrogatepass")


def _spaced(match: re.Match[str]) -> str:
    """A symbol becomes a word, a combining mark stays, punctuation and control characters become a blank."""
    group = unicodedata.category(match[0])[0]
    return f" {match[0]} " if group == "S" else match[0] if group == "M" else " "


@dataclass(frozen=True)
class Words:
    """The words of several texts, one after the other."""

    hashes: Hashes
    """(W,) one hash for each word."""
    starts: Places
    """(texts + 1,) where the words of each text begin, and the end."""
    numeric: NDArray[np.bool_]
    """(W,) whether the word is a number, in digits or spelled out in English."""

    @cached_property
    def counts(self) -> Places:
        """(texts,) words of each text."""
        return np.diff(self.starts)

    @cached_property
    def rows(self) -> Places:
        """(W,) the text each word is of."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def text_hashes(self) -> Hashes:
        """(texts,) one number for the whole sequence of words."""
        return _sequence_hashes(self.hashes, self.starts)

    @cached_property
    def number_hashes(self) -> Hashes:
        """(texts,) one number for the sequence of numbers in the text; equal texts with other numbers differ."""
        return _sequence_hashes(self.hashes[self.numeric], _starts(self.rows[self.numeric], len(self.counts)))

    def masked(self) -> Words:
        """The same texts with every number, and every run of numbers, replaced by one sign."""
        first = np.ones(len(self.hashes), dtype=bool)
        first[1:] = ~(self.numeric[1:] & self.numeric[:-1] & (self.rows[1:] == self.rows[:-1]))
        hashes = np.where(self.numeric, np.uint64(_BASE), self.hashes)[first]
        return Words(hashes, _starts(self.rows[first], len(self.counts)), self.numeric[first])

    def ngrams(self, size: int) -> tuple[Hashes, Places]:
        """Hashes of all runs of `size` words and the text of each, in order; a shorter text is a single gram."""
        total = len(self.hashes)
        grams = np.zeros(total, dtype=np.uint64)
        is_gram = np.zeros(total, dtype=bool)
        if total >= size:
            runs = total - size + 1
            for offset in range(size):
                grams[:runs] = grams[:runs] * np.uint64(_BASE) + self.hashes[offset : offset + runs]
            is_gram[:runs] = self.rows[:runs] == self.rows[size - 1 :]
        short = np.flatnonzero((self.counts > 0) & (self.counts < size))
        places = self.starts[short]
        grams[places], is_gram[places] = self.text_hashes[short], True
        return mix(grams[is_gram]), self.rows[is_gram]


def words_of(texts: Sequence[str]) -> Words:
    """The words of these texts. A text without any, such as `?!`, has none; two such texts are told apart by their signs."""
    encoded = [_normalise(text) for text in texts]
    ends = np.cumsum([len(text) + 1 for text in encoded], dtype=np.int64)
    data = b"\n".join([*encoded, b""])
    hashes, starts, numeric = [], [], []
    for begin, end in _blocks(data):
        block_words = _words(np.frombuffer(data, dtype=np.uint8, count=end - begin, offset=begin))
        hashes.append(block_words[0])
        starts.append(block_words[1] + begin)
        numeric.append(block_words[2])
    joined = np.concatenate([np.zeros(0, dtype=np.uint64), *hashes])
    rows = np.searchsorted(ends, np.concatenate([np.zeros(0, dtype=np.int64), *starts]), side="right")
    spelled = np.isin(joined, _number_words()) if len(joined) else np.zeros(0, dtype=bool)
    return Words(joined, _starts(rows, len(texts)), np.concatenate([np.zeros(0, dtype=bool), *numeric]) | spelled)


def text_keys(texts: Sequence[str], words: Words) -> Hashes:
    """(texts,) equal for texts that are equal but for case, white space and punctuation.

    Where nothing but punctuation is there, the texts themselves are compared.
    """
    keys = words.text_hashes.copy()
    for row in np.flatnonzero(words.counts == 0).tolist():
        raw = texts[row].strip().encode(errors="surrogatepass")
        keys[row] = int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")
    return keys


def mix(values: Hashes) -> Hashes:
    """Every bit of the result depends on every bit of the value (the finaliser of MurmurHash3)."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))


def _blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Ranges of some megabyte that end behind a line break or a blank, so that no word is cut."""
    begin = 0
    while begin < len(data):
        end = min(begin + _BLOCK, len(data))
        if end < len(data):
            cut = max(data.rfind(b"\n", begin, end), data.rfind(b" ", begin, end)) + 1
            end = cut if cut > begin else data.find(b"\n", end) + 1
        yield begin, end
        begin = end


def _words(data: NDArray[np.uint8]) -> tuple[Hashes, Places, NDArray[np.bool_]]:
    """Hash, first byte and being a number of every word of one block."""
    inside, sign = _classes(data)
    before = np.concatenate([[False], inside[:-1]])
    after = np.concatenate([inside[1:], [False]])
    starts = np.flatnonzero((inside & ~before) | sign)
    ends = np.flatnonzero((inside & ~after) | sign) + 1
    powers, inverses = _powers(_BASE, len(data)), _powers(_INVERSE, len(data))
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum((data.astype(np.uint64) + np.uint64(1)) * powers)])
    polynomial = (sums[ends] - sums[starts]) * inverses[starts]
    return mix(polynomial + (ends - starts).astype(np.uint64)), starts, _KINDS[data[starts]] == _DIGIT


def _classes(data: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which bytes are inside of words, and which are signs of arithmetic or logic, each a word.

    A hyphen between letters, a bullet and Markdown's rules and emphasis are no signs; a point between digits is a decimal one.
    """
    kinds = _KINDS[data]
    padded = np.concatenate([[_BLANK], kinds, [_BLANK]])
    left, right = padded[:-2], padded[2:]
    point = (data == ord(".")) & (left == _DIGIT) & (right == _DIGIT)
    around = np.concatenate([[ord("\n")], data, [ord("\n")]])
    loose = (data == ord("-")) | (data == ord("*"))
    run = loose & ((around[:-2] == data) | (around[2:] == data))
    bullet = loose & (around[:-2] == ord("\n")) & (around[2:] == ord(" "))
    hyphen = (data == ord("-")) & (left == _LETTER) & (right == _LETTER)
    emphasis = (data == ord("*")) & ((left == _LETTER) & (right == _BLANK) | (left == _BLANK) & (right == _LETTER))
    sign = (kinds == _SIGN) & ~(run | bullet | hyphen | emphasis)
    return (kinds == _LETTER) | (kinds == _DIGIT) | point, sign


def _kinds() -> NDArray[np.uint8]:
    kinds = np.full(256, _BLANK, dtype=np.uint8)
    kinds[[*range(ord("a"), ord("z") + 1), ord("_"), *range(128, 256)]] = _LETTER
    kinds[list(range(ord("0"), ord("9") + 1))] = _DIGIT
    kinds[[ord(sign) for sign in _SIGNS]] = _SIGN
    return kinds


_KINDS = _kinds()
_TABLES: dict[int, Hashes] = {}


def _powers(base: int, length: int) -> Hashes:
    """(length,) base^0, base^1, ... modulo 2^64."""
    powers = _TABLES.get(base)
    if powers is None or len(powers) < length:
        steps = np.full(max(length, 4096), base, dtype=np.uint64)
        steps[0] = 1
        powers = _TABLES[base] = np.cumprod(steps)
    return powers[:length]


def _number_words() -> Hashes:
    if 0 not in _TABLES:
        _TABLES[0] = _words(np.frombuffer(_NUMBER_WORDS.encode(), dtype=np.uint8))[0]
    return _TABLES[0]


def _starts(rows: Places, texts: int) -> Places:
    return np.searchsorted(rows, np.arange(texts + 1)).astype(np.int64)


def _sequence_hashes(values: Hashes, starts: Places) -> Hashes:
    """One number for the sequence of values of each text, as a polynomial of their places."""
    counts = np.diff(starts)
    places = np.arange(len(values)) - np.repeat(starts[:-1], counts)
    terms = mix(values) * _powers(_BASE, int(counts.max(initial=0)) + 1)[places]
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(terms, dtype=np.uint64)])
    return mix(sums[starts[1:]] - sums[starts[:-1]] + counts.astype(np.uint64))
