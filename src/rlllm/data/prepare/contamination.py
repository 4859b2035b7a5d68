"""Training rows that contain evaluation prompts, exactly or reworded.

There are four rules; of those that match a row, the first counts. `exact`: the row's prompt is the evaluation prompt, except
for case, white space and punctuation. `n-gram`: the row holds enough of the prompt's word 8-grams (Brown et al. 2020,
appendix C; PaLM, section 8). `numbers`: the same with every number masked. `near`: MinHash finds the two prompts similar, and
their numbers are equal.

Prompts made from one template differ only by numbers or a few words, and are no copies of each other. Rarity tells the two
apart. An n-gram in many evaluation prompts is not counted. `numbers` and `near` count only n-grams that occur in few
different training prompts, and only evaluation prompts that few different training prompts match. If more than one in fifty
prompts of an evaluation set match another prompt of the set by one of these two rules, that rule is not used for the set.
A prompt with images is held only by a row that is the same by `exact`, images included: another picture is another question.
Memory: a few numbers for each n-gram of the evaluation sets and for each hit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlllm.data.prepare.near_duplicates import MinHash, Signatures, band_keys
from rlllm.data.prepare.settings import ContaminationRules
from rlllm.data.prepare.shingles import Hashes, Places, Words, text_keys, words_of

_RULES = ("exact", "n-gram", "numbers", "near")
"""The strongest first."""
_NEAR_WORDS = 2
_NEAR_SHARE = 0.2
"""Least share of the prompt's rare n-grams in a row that is `near`: with one word in ten reworded, two fifths are left."""
_FILTER_BITS = 22
_SIBLINGS = 0.02
"""Most prompts of an evaluation set that may match another of the set; more, and the set is made from templates."""
_Shares = NDArray[np.float64]


class Item(NamedTuple):
    """An evaluation prompt."""

    source: str
    number: int
    """Its row in the source, from 1."""
    text: str
    shows: bool = False
    """Whether the prompt has images; `text` then holds their digests."""


class RowText(NamedTuple):
    """The texts of a training row."""

    prompt: str
    text: str
    """All text of the row, the prompt included."""


class Hit(NamedTuple):
    """A training row that holds an evaluation prompt."""

    row: int
    item: Item
    rule: str
    score: float
    """Share of the prompt's n-grams, or estimated similarity; 1 for `exact`."""


@dataclass(frozen=True)
class ContaminationReport:
    """Every contaminated row with its strongest hit."""

    items: Sequence[Item]
    rows: Places
    """(hits,) training rows, in order, from 0."""
    rule: NDArray[np.int8]
    item: NDArray[np.int32]
    score: NDArray[np.float32]

    def by_rule(self) -> dict[str, int]:
        """Rows for each rule that hit."""
        counts = np.bincount(self.rule, minlength=len(_RULES)) if len(self.rule) else np.zeros(len(_RULES), dtype=int)
        return {name: int(count) for name, count in zip(_RULES, counts, strict=True) if count}

    def by_source(self) -> dict[str, tuple[int, int]]:
        """Evaluation set to the number of its prompts that some row holds, and of all its prompts."""
        matched_items = set(self.item.tolist())
        sizes: dict[str, tuple[int, int]] = {}
        for index, item in enumerate(self.items):
            matched, total = sizes.get(item.source, (0, 0))
            sizes[item.source] = matched + (index in matched_items), total + 1
        return sizes

    def hits(self) -> Iterator[Hit]:
        """In the order of the rows."""
        for row, rule, item, score in zip(self.rows, self.rule, self.item, self.score, strict=True):
            yield Hit(int(row), self.items[item], _RULES[rule], float(score))


class Contamination:
    """Finds the training rows that contain one of the items. Rows are added in order, some at a time."""

    def __init__(self, items: Sequence[Item], rules: ContaminationRules) -> None:
        self._items, self._rules = items, rules
        words = words_of([item.text for item in items])
        keys = text_keys([item.text for item in items], words)
        self._keys, self._item_of_key = np.unique(keys, return_index=True)
        used = np.zeros(len(items), dtype=bool)
        used[self._item_of_key] = True
        used &= words.counts >= rules.words
        used &= ~np.array([item.shows for item in items], dtype=bool)
        common = min(rules.variants, max(1, len(self._keys) // 2))
        self._plain = _NgramIndex(words, used, rules.words, common)
        self._masked = _NgramIndex(words.masked(), used, rules.words, common)
        self._near = _NearIndex(words, used, rules.similarity)
        self._certain: list[_Hits] = []
        self._rare = {
            "numbers": _Candidates(self._masked, len(items), rules.variants, rules.overlap),
            "near": _Candidates(self._plain, len(items), rules.variants, _NEAR_SHARE),
        }
        self._rows = 0
        self_matches = self._masked.shares(self._masked.find(words.masked())).at_least(rules.overlap)
        self._rare["numbers"].leave_out(self._templates(self_matches))
        self._rare["near"].leave_out(self._templates(self._near.match(words)))

    def _templates(self, self_matches: _Hits) -> NDArray[np.bool_]:
        """(items,) whether an item is of a set whose items match each other; `self_matches` are matches of items with items."""
        sources, source = np.unique(np.array([item.source for item in self._items], dtype=object), return_inverse=True)
        matched = np.zeros(len(self._items), dtype=bool)
        matched[self_matches.items[self_matches.rows != self_matches.items]] = True
        sizes = np.bincount(source, minlength=len(sources))
        siblings = np.bincount(source[matched], minlength=len(sources))
        return (siblings > np.maximum(2, _SIBLINGS * sizes))[source]

    def add(self, rows: Sequence[RowText]) -> None:
        """Add the next rows, a few thousand at a time to keep memory low."""
        prompts = [row.prompt for row in rows]
        prompt_words, texts = words_of(prompts), words_of([row.text for row in rows])
        keys = text_keys(prompts, prompt_words)
        least = self._rules.overlap
        plain, masked = self._plain.find(texts), self._masked.find(texts.masked())
        self._plain.note(plain, keys)
        self._masked.note(masked, keys)
        hits_by_rule = {"exact": self._exact(keys), "n-gram": self._plain.shares(plain).at_least(least)}
        self._certain += [hits.later(self._rows, rule) for rule, hits in hits_by_rule.items()]
        self._rare["numbers"].add(self._rows, self._masked.shares(masked).at_least(least), masked, keys)
        self._rare["near"].add(self._rows, self._near.match(prompt_words), plain, keys)
        self._rows += len(rows)

    def report(self) -> ContaminationReport:
        """The contaminated rows among all that were added."""
        all_hits = [*self._certain, *(candidates.hits(rule) for rule, candidates in self._rare.items())]
        rows, items, scores, rules = (np.concatenate(part) for part in zip(*map(_Hits.columns, all_hits), strict=True))
        order = np.lexsort((items, -scores, rules, rows))
        order = order[_first(rows[order])]
        return ContaminationReport(
            self._items,
            rows[order],
            rules[order].astype(np.int8),
            items[order].astype(np.int32),
            scores[order].astype(np.float32),
        )

    def _exact(self, keys: Hashes) -> _Hits:
        if not len(self._keys):
            return _Hits.none()
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        rows = np.flatnonzero(self._keys[place] == keys)
        return _Hits(rows, self._item_of_key[place[rows]], np.ones(len(rows)))


class _Hits(NamedTuple):
    """Rows, the items that they contain, and the scores."""

    rows: Places
    items: Places
    scores: _Shares
    rules: Places = np.zeros(0, dtype=np.int64)

    @classmethod
    def none(cls) -> _Hits:
        empty = np.zeros(0, dtype=np.int64)
        return cls(empty, empty, np.zeros(0), empty)

    def at_least(self, least: float) -> _Hits:
        enough = self.scores >= least
        return _Hits(self.rows[enough], self.items[enough], self.scores[enough])

    def later(self, offset: int, rule: str) -> _Hits:
        """The best hit of each row, with rows counted from the first of all."""
        order = np.lexsort((self.items, -self.scores, self.rows))
        order = order[_first(self.rows[order])]
        rules = np.full(len(order), _RULES.index(rule))
        return _Hits(self.rows[order] + offset, self.items[order], self.scores[order], rules)

    def columns(self) -> tuple[Places, Places, _Shares, Places]:
        return self.rows, self.items, self.scores, self.rules


def _first(rows: Places) -> NDArray[np.bool_]:
    """Which of the sorted numbers are the first of their kind."""
    return np.concatenate([np.ones(min(1, len(rows)), dtype=bool), rows[1:] != rows[:-1]])


class _GramMatches(NamedTuple):
    """N-grams of items in rows: one entry for each row, each distinct n-gram of an item in it, and each item of the n-gram."""

    rows: Places
    items: Places
    grams: Places
    """Numbers of n-grams in the index."""


class _NgramIndex:
    """The n-grams of items, each with the items that contain it; those in more than `common` items are left out."""

    def __init__(self, words: Words, used: NDArray[np.bool_], size: int, common: int) -> None:
        self._size = size
        grams, items = words.ngrams(size)
        kept = (used & (words.counts >= size))[items]
        pairs = np.unique(np.stack([grams[kept], items[kept].astype(np.uint64)]), axis=1)
        unique, _begins, counts = np.unique(pairs[0], return_index=True, return_counts=True)
        rare = counts <= common
        self._grams, self._counts = unique[rare], counts[rare]
        self.items = pairs[1].astype(np.int64)[np.repeat(rare, counts)]
        """Items of each n-gram in turn."""
        self._begins = np.cumsum(self._counts) - self._counts
        self.totals = np.bincount(self.items, minlength=len(used))
        self._prompts = _Distinct(len(self._grams))
        self._filter = np.zeros(1 << _FILTER_BITS, dtype=bool)
        self._filter[_slot(self._grams)] = True

    def find(self, words: Words) -> _GramMatches:
        """The n-grams that these rows hold."""
        empty = np.zeros(0, dtype=np.int64)
        if not len(self._grams):
            return _GramMatches(empty, empty, empty)
        hashes, rows = words.ngrams(self._size)
        likely = self._filter[_slot(hashes)]
        hashes, rows = hashes[likely], rows[likely]
        place = np.minimum(np.searchsorted(self._grams, hashes), len(self._grams) - 1)
        in_index = self._grams[place] == hashes
        row_and_gram = np.unique(rows[in_index] * len(self._grams) + place[in_index])
        rows, grams = row_and_gram // len(self._grams), row_and_gram % len(self._grams)
        counts = self._counts[grams]
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        items = self.items[np.repeat(self._begins[grams], counts) + offsets]
        return _GramMatches(np.repeat(rows, counts), items, np.repeat(grams, counts))

    def note(self, matches: _GramMatches, prompts: Hashes) -> None:
        """Count the different prompts of rows in which each n-gram occurs."""
        self._prompts.add(matches.grams, prompts[matches.rows])

    def shares(self, matches: _GramMatches) -> _Hits:
        """For each row and item the share of the item's n-grams that the row holds."""
        pairs, hits = np.unique(matches.rows * len(self.totals) + matches.items, return_counts=True)
        rows, items = np.divmod(pairs, max(1, len(self.totals)))
        return _Hits(rows, items, hits / np.maximum(1, self.totals[items]))

    def rare(self, limit: int) -> NDArray[np.bool_]:
        """Which n-grams stood in at most `limit` different prompts of the rows."""
        return self._prompts.counts() <= limit

    def totals_of(self, grams: NDArray[np.bool_]) -> Places:
        """(items,) how many of these n-grams each item has."""
        return np.bincount(self.items[np.repeat(grams, self._counts)], minlength=len(self.totals))


def _slot(grams: Hashes) -> Places:
    return (grams & np.uint64((1 << _FILTER_BITS) - 1)).astype(np.int64)


class _Distinct:
    """Approximate number of distinct values of each thing, up to about forty: one bit of 64 a value (linear counting)."""

    def __init__(self, things: int) -> None:
        self._bits = np.zeros(things, dtype=np.uint64)

    def add(self, things: Places, values: Hashes) -> None:
        np.bitwise_or.at(self._bits, things, np.uint64(1) << (values >> np.uint64(58)))

    def counts(self) -> Places:
        """(things,) values seen; ten different ones set nine or ten bits."""
        return np.unpackbits(self._bits.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1).astype(np.int64)


class _Candidates:
    """Hits that count only if they rest on n-grams that are rare over all rows."""

    def __init__(self, index: _NgramIndex, items: int, limit: int, least: float) -> None:
        self._index, self._limit, self._least = index, limit, least
        self._matched = _Distinct(items)
        self._out = np.zeros(items, dtype=bool)
        self._hits: list[_Hits] = []
        self._matches: list[_GramMatches] = []

    def leave_out(self, items: NDArray[np.bool_]) -> None:
        """Ignore candidates of these items."""
        self._out = items

    def add(self, offset: int, hits: _Hits, matches: _GramMatches, prompts: Hashes) -> None:
        """Candidates among the next rows, with the n-grams that each row holds of its item."""
        self._matched.add(hits.items, prompts[hits.rows])
        few = (self._matched.counts()[hits.items] <= self._limit) & ~self._out[hits.items]
        hits = _Hits(hits.rows[few], hits.items[few], hits.scores[few])
        total = max(1, len(self._index.totals))
        of_hits = np.isin(matches.rows * total + matches.items, hits.rows * total + hits.items)
        self._hits.append(_Hits(hits.rows + offset, hits.items, hits.scores))
        self._matches.append(
            _GramMatches(matches.rows[of_hits] + offset, matches.items[of_hits], matches.grams[of_hits])
        )

    def hits(self, rule: str) -> _Hits:
        """The candidates with enough rare n-grams of an item that few prompts match."""
        if not self._hits:
            return _Hits.none()
        rows, items, scores = (np.concatenate(part) for part in list(zip(*self._hits, strict=True))[:3])
        entries = _GramMatches(*(np.concatenate(part) for part in zip(*self._matches, strict=True)))
        rare = self._index.rare(self._limit)
        totals, counted = self._index.totals_of(rare), rare[entries.grams]
        wide = max(1, len(totals))
        pairs, rare_counts = np.unique((entries.rows * wide + entries.items)[counted], return_counts=True)
        enough = rare_counts >= self._least * totals[pairs % wide]
        few = self._matched.counts()[items] <= self._limit
        counting = few & np.isin(rows * wide + items, pairs[enough])
        return _Hits(
            rows[counting], items[counting], scores[counting], np.full(int(counting.sum()), _RULES.index(rule))
        )


class _NearIndex:
    """Items by MinHash over word pairs; only a row with the same numbers is compared."""

    def __init__(self, words: Words, used: NDArray[np.bool_], threshold: float) -> None:
        self._minhash, self._threshold = MinHash(), threshold
        self._numbers = words.number_hashes
        self._signatures: Signatures = self._minhash.signatures(words, _NEAR_WORDS)
        keys = band_keys(self._signatures, threshold, words.number_hashes)
        items = np.flatnonzero(used)
        self._bands = [self._sorted(keys[items, band], items) for band in range(keys.shape[1])] if len(items) else []

    @staticmethod
    def _sorted(keys: Signatures, items: Places) -> tuple[Signatures, Places]:
        order = np.argsort(keys, kind="stable")
        return keys[order], items[order]

    def match(self, words: Words) -> _Hits:
        """Rows, items and their estimated similarity, where it reaches the threshold."""
        if not self._bands:
            return _Hits.none()
        signatures = self._minhash.signatures(words, _NEAR_WORDS)
        keys = band_keys(signatures, self._threshold, words.number_hashes)
        pairs = []
        for band, (band_keys_of_items, items) in enumerate(self._bands):
            begins = np.searchsorted(band_keys_of_items, keys[:, band], side="left")
            counts = np.searchsorted(band_keys_of_items, keys[:, band], side="right") - begins
            offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            rows = np.repeat(np.arange(len(keys)), counts)
            pairs.append(rows * len(self._numbers) + items[np.repeat(begins, counts) + offsets])
        rows, candidates = np.divmod(np.unique(np.concatenate(pairs)), len(self._numbers))
        alike = (signatures[rows] == self._signatures[candidates]).mean(axis=1) if len(rows) else np.zeros(0)
        same = words.number_hashes[rows] == self._numbers[candidates]
        return _Hits(rows[same], candidates[same], alike[same]).at_least(self._threshold)
