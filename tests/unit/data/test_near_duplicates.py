"""Which rows are found to say the same, against exact sets of n-grams, and what must never be taken for the same."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.data.prepare.near_duplicates import DuplicateFinder, Duplicates, MinHash, bands_for, similarity, sketches
from rlllm.data.prepare.settings import NearDuplicates
from rlllm.data.prepare.shingles import words_of

VOCABULARY = [f"w{number}x" for number in range(400)]


def find(rows: list[str], chunk: int = 1000, **settings: object) -> Duplicates:
    finder = DuplicateFinder(NearDuplicates(**settings))
    for start in range(0, len(rows), chunk):
        finder.add(rows[start : start + chunk])
    return finder.find()


def sentence(draw: random.Random, words: int = 60) -> str:
    return " ".join(draw.choices(VOCABULARY, k=words))


def changed(text: str, draw: random.Random, words: int = 1) -> str:
    parts = text.split()
    for place in draw.sample(range(len(parts)), words):
        parts[place] = "other"
    return " ".join(parts)


def jaccard(left: str, right: str, size: int) -> float:
    """The oracle: sets of tuples of words."""
    one, other = (
        {tuple(words[at : at + size]) for at in range(len(words) - size + 1)} for words in (left.split(), right.split())
    )
    return len(one & other) / len(one | other)


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        ([], []),
        (["one row"], [0]),
        (["What is 3 + 4?", "what is  3 + 4", "What is 3 - 4?"], [0, 0, 2]),
        (["", "", "a"], [0, 0, 2]),
        (["?!", "!?", "?!"], [0, 1, 0]),
        (["Straße", "STRASSE", "strasse!"], [0, 0, 0]),
        (["caf\u00e9", "cafe\u0301"], [0, 0]),
        (["x * y", "x + y", "x - y", "x y"], [0, 1, 2, 3]),
        (["x & y", "x | y", "~x y"], [0, 1, 2]),
        (["what is \U0001f642", "what is \U0001f643", "What is\u200b \U0001f642?"], [0, 1, 0]),
        (["\u0915\u093f", "\u0915\u0940"], [0, 1]),
        (["pi is 3.14", "pi is 314"], [0, 1]),
        (["a well-known **fact**", "A well known fact"], [0, 0]),
        (["- one\n- two", "one two"], [0, 0]),
        (["don't", "don\u2019t", "dont"], [0, 0, 0]),
        (["\ud83d broken", "\ud83d broken"], [0, 0]),
    ],
)
def test_rows_equal_but_for_case_space_and_punctuation_are_one(rows: list[str], first: list[int]) -> None:
    assert find(rows).first.tolist() == first


def test_estimated_similarity_is_that_of_the_sets_within_its_error() -> None:
    draw = random.Random(0)
    left = [sentence(draw) for _ in range(200)]
    right = [changed(text, draw, draw.randint(0, 8)) for text in left]
    made = [sketches(MinHash().signatures(words_of(texts), 3)) for texts in (left, right)]
    errors = similarity(*made) - np.array([jaccard(one, other, 3) for one, other in zip(left, right, strict=True)])
    assert abs(errors.mean()) < 0.01
    assert np.sqrt((errors**2).mean()) < 0.045


def test_pairs_over_the_threshold_are_found_and_pairs_under_it_are_kept() -> None:
    draw = random.Random(1)
    rows = [sentence(draw) for _ in range(2000)]
    near = [changed(text, draw) for text in rows[:300]]
    far = [changed(text, draw, 8) for text in rows[300:600]]
    found = find(rows + near + far, threshold=0.7)
    assert jaccard(rows[0], near[0], 5) > 0.8 > 0.5 > jaccard(rows[300], far[0], 5)
    assert (found.first[2000:2300] == np.arange(300)).mean() > 0.99
    assert found.stays[2300:].all()
    assert found.stays[:2000].all()
    assert found.near == int((~found.stays).sum())
    assert found.groups(1)[0] == [0, 2000]


def test_problems_with_other_numbers_are_other_problems() -> None:
    text = "A farmer has {} sheep and sells a third of them at the market before noon, how many sheep does the farmer have left"
    rows = [text.format(count) for count in range(50)]
    assert find(rows, threshold=0.5).stays.all()
    assert find(rows, threshold=0.5, same_numbers=False).stays.sum() == 1
    assert find([rows[0], rows[0].replace("noon", "midday")], threshold=0.5).near == 1


def test_texts_shorter_than_an_ngram_repeat_only_when_equal() -> None:
    assert find(["name a prime", "name a prince", "name one prime"], threshold=0.1).stays.all()


def test_the_result_does_not_depend_on_how_rows_are_handed_over() -> None:
    draw = random.Random(2)
    rows = [sentence(draw, 20) for _ in range(300)]
    rows += [changed(text, draw) for text in rows[:100]] + rows[50:70]
    assert find(rows, chunk=7, threshold=0.6).first.tolist() == find(rows, threshold=0.6).first.tolist()


def test_a_threshold_of_one_needs_equality_and_keeps_no_sketches() -> None:
    draw = random.Random(3)
    rows = [sentence(draw) for _ in range(10)]
    found = find([*rows, changed(rows[0], draw), rows[1].upper()], threshold=1)
    assert (found.exact, found.near, found.first[-1]) == (1, 0, 1)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95])
def test_bands_propose_what_stands_at_the_threshold(threshold: float) -> None:
    bands, rows = bands_for(threshold)
    assert bands * rows <= 128
    assert 1 - (1 - threshold**rows) ** bands >= 0.97


@given(st.lists(st.text(max_size=30), max_size=12))
def test_any_text_can_be_compared_and_the_first_of_equals_stays(texts: list[str]) -> None:
    found = find(texts + texts, chunk=5)
    assert (found.first <= np.arange(2 * len(texts))).all()
    assert (found.first[len(texts) :] < max(1, len(texts))).all()


@given(st.lists(st.sampled_from(["a", "b ", "3", "\n", ".", "-", "*", "é", "ß "]), max_size=40).map("".join))
def test_words_do_not_depend_on_the_texts_around(text: str) -> None:
    alone, among = words_of([text]), words_of(["first 1", text, "last"])
    start, end = among.starts[1:3]
    assert alone.hashes.tolist() == among.hashes[start:end].tolist()
    assert alone.text_hashes[0] == among.text_hashes[1]
    assert alone.number_hashes[0] == among.number_hashes[1]


def test_texts_longer_than_a_block_are_read_whole() -> None:
    text = "word another " * 120_000
    words = words_of([text, "end"])
    assert words.counts.tolist() == [240_000, 1]
    assert len(np.unique(words.hashes)) == 3


def test_rows_with_different_labels_do_not_repeat_each_other() -> None:
    text = sentence(random.Random(3))
    finder = DuplicateFinder(NearDuplicates())
    finder.add([text, text.upper(), f"{text} yes", f"{text} no", text], ["True", "False", "True", "False", "True"])
    assert finder.find().first.tolist() == [0, 1, 0, 1, 0]
