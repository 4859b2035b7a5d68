"""The simulated annotator."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import DataError
from rlllm.core.records import LabelledCompletion, PreferencePair, Sample
from rlllm.data.procedural.annotator import AnnotatorParams, prefers
from rlllm.data.procedural.arithmetic import arithmetic
from rlllm.data.procedural.countdown import countdown
from rlllm.data.procedural.gold_utility import gold_utility
from rlllm.data.procedural.lists import lists
from rlllm.data.procedural.world import world
from rlllm.data.request import DataRequest

EXACT = {"temperature": 0, "flip_rate": 0}


def pairs(rows, split="train", source=arithmetic, **params):
    return source(DataRequest(PreferencePair, split, rows, 0, None, params))


def reversed_share(rows):
    return sum(row.meta["gold_chosen"] < row.meta["gold_rejected"] for row in rows) / len(rows)


@pytest.mark.parametrize("source", [arithmetic, countdown, lists, world])
def test_a_pair_has_two_texts_of_different_worth_and_says_what_they_are_worth(source):
    for row in pairs(300, source=source):
        assert row.chosen != row.rejected
        assert row.meta["gold_chosen"] != row.meta["gold_rejected"]
        for text, stated in ((row.chosen, row.meta["gold_chosen"]), (row.rejected, row.meta["gold_rejected"])):
            assert gold_utility(Sample(row.prompt, text, row.meta["answer"], row.meta)) == stated


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_without_temperature_choices_are_reversed_at_the_flip_rate(rate):
    found = reversed_share(pairs(2000, temperature=0, flip_rate=rate))
    assert abs(found - rate) <= 4 * math.sqrt(rate * (1 - rate) / 2000)


@pytest.mark.parametrize(("gap", "temperature", "flip_rate"), [(0.5, 0.5, 0), (1.0, 0.5, 0.1), (-0.3, 1.0, 0.2)])
def test_choices_follow_bradley_terry(gap, temperature, flip_rate):
    generator = random.Random(0)
    annotator = AnnotatorParams(temperature=temperature, flip_rate=flip_rate)
    found = sum(prefers(gap, generator, annotator) for _ in range(20000)) / 20000
    probability = 1 / (1 + math.exp(-gap / temperature))
    assert found == pytest.approx(probability * (1 - flip_rate) + (1 - probability) * flip_rate, abs=0.015)


@given(st.floats(-2, 2).filter(lambda gap: gap != 0), st.floats(1e-6, 10))
def test_no_gap_and_no_temperature_overflows(gap, temperature):
    assert prefers(gap, random.Random(0), AnnotatorParams(temperature=temperature)) in (True, False)


def test_the_held_out_split_is_noiseless_unless_it_is_asked_for():
    assert reversed_share(pairs(500, "holdout", flip_rate=0.3)) == 0
    assert reversed_share(pairs(500, "holdout", flip_rate=0.3, noisy_holdout=True)) > 0.2


def test_noise_in_the_labels_leaves_the_candidates_as_they_are():
    noisy = pairs(200, temperature=0, flip_rate=1.0)
    exact = pairs(200, **EXACT)
    assert [{row.chosen, row.rejected} for row in noisy] == [{row.chosen, row.rejected} for row in exact]


def test_the_margin_is_the_gap_in_gold_utility_and_given_on_request():
    assert all(row.margin is None for row in pairs(20))
    for row in pairs(50, margin=True):
        assert row.margin == abs(row.meta["gold_chosen"] - row.meta["gold_rejected"]) > 0


def test_a_clean_writer_leaves_nothing_to_prefer():
    with pytest.raises(DataError, match="nothing to prefer"):
        pairs(5, clean=True)


def labelled(rows, split="train", source=arithmetic, **params):
    return source(DataRequest(LabelledCompletion, split, rows, 0, None, params))


@pytest.mark.parametrize("source", [arithmetic, countdown, lists, world])
def test_without_noise_a_thumb_is_up_exactly_above_the_threshold(source):
    rows = labelled(200, source=source, threshold=0.6, **EXACT)
    assert {row.label for row in rows} == {True, False}
    for row in rows:
        assert row.meta["gold"] == gold_utility(Sample(row.prompt, row.completion, row.meta["answer"], row.meta))
        assert row.label == (row.meta["gold"] > 0.6)


def test_the_default_threshold_parts_right_from_wrong():
    rows = labelled(400, verbose_rate=0, **EXACT)
    assert {row.label for row in rows} == {True, False}
    assert all(row.label == (row.meta["gold"] > 1.0) for row in rows)


def test_thumbs_follow_bradley_terry_against_the_threshold():
    rows = labelled(4000, temperature=0.5, flip_rate=0.1)
    for utility in {row.meta["gold"] for row in rows}:
        same = [row.label for row in rows if row.meta["gold"] == utility]
        if len(same) >= 300:
            probability = 1 / (1 + math.exp(-(utility - 1.0) / 0.5))
            wanted = 0.9 * probability + 0.1 * (1 - probability)
            assert sum(same) / len(same) == pytest.approx(wanted, abs=4 * math.sqrt(0.25 / len(same)))


def test_held_out_thumbs_are_noiseless():
    assert all(row.label == (row.meta["gold"] > 1.0) for row in labelled(100, split="holdout", flip_rate=0.5))


def test_a_reference_is_a_faultless_solution_and_changes_no_pair():
    plain, third = pairs(50), pairs(50, reference=True)
    for one, other in zip(plain, third, strict=True):
        assert (one.chosen, one.rejected) == (other.chosen, other.rejected)
        sample = Sample(other.prompt, other.meta["reference"], other.meta["answer"], other.meta)
        assert gold_utility(sample) >= 1.5
    assert "reference" not in plain[0].meta
