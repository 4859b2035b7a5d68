"""Duplicate rows: equal except for case and punctuation, or nearly equal by MinHash. The first row of a group stays.

MinHash (Broder 1997) with 128 permutations over word n-grams. Candidates come from banded locality-sensitive hashing; each is
then checked with its whole sketch, which keeps eight bits of each permutation (b-bit minwise hashing, Li & König 2010).
Memory: 128 bytes of sketch and 4 bytes a band for each row, about 210 in all. Rows whose numbers differ are not duplicates,
unless `same_numbers` is off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlllm.data.prepare.settings import NearDuplicates
from rlllm.data.prepare.shingles import Hashes, Places, Words, mix, text_keys, words_of

_PERMUTATIONS = 128
_SEED = 20260
_RECALL = 0.97
"""Least chance that a pair just at the threshold shares a band."""
_VERIFIED = 1 << 16
"""Pairs whose sketches are compared at a time."""
Signatures = NDArray[np.uint32]
Sketches = NDArray[np.uint8]


class MinHash:
    """128 fixed permutations, so that signatures of different calls can be compared."""

    def __init__(self) -> None:
        generator = np.random.Generator(np.random.PCG64(_SEED))
        self._factors = generator.integers(0, 1 << 32, _PERMUTATIONS, dtype=np.uint32) | np.uint32(1)
        self._offsets = generator.integers(0, 1 << 32, _PERMUTATIONS, dtype=np.uint32)

    def signatures(self, words: Words, size: int) -> Signatures:
        """(texts, 128) least permuted hash over the n-grams of each text; a text without words has the greatest number."""
        grams, rows = words.ngrams(size)
        minima = np.full((_PERMUTATIONS, len(words.counts)), np.iinfo(np.uint32).max, dtype=np.uint32)
        if not len(grams):
            return minima.T
        values = (grams >> np.uint64(32)).astype(np.uint32)
        starts = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
        filled = rows[starts]
        permuted = np.empty_like(values)
        for number in range(_PERMUTATIONS):
            np.multiply(values, self._factors[number], out=permuted)
            np.add(permuted, self._offsets[number], out=permuted)
            minima[number, filled] = np.minimum.reduceat(permuted, starts)
        return np.ascontiguousarray(minima.T)


def bands_for(threshold: float) -> tuple[int, int]:
    """Bands and rows of a band: the most selective choice that still proposes 97 % of the pairs at the threshold."""
    for rows in range(_PERMUTATIONS, 1, -1):
        bands = _PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** bands >= _RECALL:
            return bands, rows
    return _PERMUTATIONS, 1


def band_keys(signatures: Signatures, threshold: float, salt: Hashes | None = None) -> Signatures:
    """(texts, bands) one number a band; texts that share one are candidates. `salt` keeps unlike texts apart."""
    bands, rows = bands_for(threshold)
    keys = np.empty((len(signatures), bands), dtype=np.uint32)
    for band in range(bands):
        key = np.full(len(signatures), band, dtype=np.uint64) if salt is None else salt + np.uint64(band)
        for column in signatures[:, band * rows : (band + 1) * rows].T:
            key = mix(key) + column
        keys[:, band] = mix(key) >> np.uint64(32)
    return keys


def sketches(signatures: Signatures) -> Sketches:
    """(texts, 128) eight well-mixed bits of each number."""
    return ((signatures * np.uint32(0x9E3779B1)) >> np.uint32(24)).astype(np.uint8)


def similarity(left: Sketches, right: Sketches) -> NDArray[np.float64]:
    """(pairs,) estimated Jaccard similarity of the n-gram sets; its standard error is at most 0.045."""
    chance = 1 / 256
    return ((left == right).mean(axis=1) - chance) / (1 - chance)


@dataclass(frozen=True)
class Duplicates:
    """Which row each row repeats."""

    first: Places
    """(rows,) the row that stays of the group; itself where the row stays."""
    exact: int
    """Rows dropped as equal but for case, white space and punctuation."""
    near: int
    """Rows dropped as nearly equal."""

    @property
    def stays(self) -> NDArray[np.bool_]:
        """(rows,) True for the rows to keep."""
        return self.first == np.arange(len(self.first))

    def groups(self, limit: int = 20) -> list[list[int]]:
        """The largest groups, each with its members in order; the first of each stays."""
        members: dict[int, list[int]] = defaultdict(list)
        for row in np.flatnonzero(~self.stays):
            members[int(self.first[row])].append(int(row))
        largest = sorted(members, key=lambda first: (-len(members[first]), first))[:limit]
        return [[first, *members[first]] for first in largest]


class DuplicateFinder:
    """Finds groups of duplicates among rows that are added in order, some at a time."""

    def __init__(self, config: NearDuplicates) -> None:
        self._config = config
        self._minhash = MinHash()
        self._keys: list[Hashes] = []
        self._sketches: list[Sketches] = []
        self._bands: list[Signatures] = []
        self._blank: list[NDArray[np.bool_]] = []

    def add(self, texts: Sequence[str], labels: Sequence[str] = ()) -> None:
        """Add the texts of the next rows, a few thousand at a time to keep memory low.

        Args:
            texts: the texts that are compared.
            labels: one label for each text; rows with different labels are never duplicates. Empty where rows have no labels.
        """
        words = words_of(texts)
        apart = words_of(labels).text_hashes if labels else np.zeros(len(texts), dtype=np.uint64)
        self._keys.append(text_keys(texts, words) ^ apart)
        self._blank.append(words.counts == 0)
        if self._config.threshold < 1:
            signatures = self._minhash.signatures(words, self._config.words)
            salt = words.number_hashes ^ apart if self._config.same_numbers else apart
            self._bands.append(band_keys(signatures, self._config.threshold, salt))
            self._sketches.append(sketches(signatures))

    def find(self) -> Duplicates:
        """The groups. Exact ones come first, so that a near group compares one row of each; near is transitive."""
        keys = np.concatenate([np.zeros(0, dtype=np.uint64), *self._keys])
        _, index, inverse = np.unique(keys, return_index=True, return_inverse=True)
        first = index[inverse].astype(np.int64)
        exact = int((first != np.arange(len(first))).sum())
        if not self._bands:
            return Duplicates(first, exact, 0)
        rows = np.flatnonzero((first == np.arange(len(first))) & ~np.concatenate(self._blank))
        near = self._near(rows, len(first))
        dropped = int((near[rows] != rows).sum())
        return Duplicates(near[first], exact, dropped)

    def _near(self, rows: Places, total: int) -> Places:
        """(total,) the first row of each near group; of other rows, themselves."""
        groups = _Groups(total)
        stored = np.concatenate(self._sketches)
        for band in range(self._bands[0].shape[1]):
            keys = np.concatenate([chunk[:, band] for chunk in self._bands])[rows]
            for left, right in _candidates(rows, keys):
                apart = groups.roots[left] != groups.roots[right]
                left, right = left[apart], right[apart]
                for begin in range(0, len(left), _VERIFIED):
                    part = slice(begin, begin + _VERIFIED)
                    alike = similarity(stored[left[part]], stored[right[part]]) >= self._config.threshold
                    groups.join(left[part][alike], right[part][alike])
        return groups.roots


def _candidates(rows: Places, keys: Signatures) -> list[tuple[Places, Places]]:
    """Pairs of rows of one band: each row with the first and with the one before it of those that share its key."""
    order = np.argsort(keys, kind="stable")
    rows, keys = rows[order], keys[order]
    same = np.flatnonzero(keys[1:] == keys[:-1]) + 1
    if not len(same):
        return []
    begins = np.concatenate([[True], keys[1:] != keys[:-1]])
    leader = np.maximum.accumulate(np.where(begins, np.arange(len(keys)), 0))
    return [(rows[leader[same]], rows[same]), (rows[same - 1], rows[same])]


class _Groups:
    """Disjoint sets of rows, each known by its smallest."""

    def __init__(self, total: int) -> None:
        self.roots: Places = np.arange(total, dtype=np.int64)

    def join(self, left: Places, right: Places) -> None:
        """Unite the sets of each pair, and point every row at its root again."""
        if not len(left):
            return
        for left_row, right_row in zip(left.tolist(), right.tolist(), strict=True):
            low, high = sorted((self._root(left_row), self._root(right_row)))
            self.roots[high] = low
        while True:
            shorter = self.roots[self.roots]
            if np.array_equal(shorter, self.roots):
                return
            self.roots = shorter

    def _root(self, row: int) -> int:
        while self.roots[row] != row:
            row = int(self.roots[row])
        return row
