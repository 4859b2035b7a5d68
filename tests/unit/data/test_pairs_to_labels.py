"""Pairs read as labelled completions, and labels read as pairs: nothing is lost, and it is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import DataError
from rlllm.core.records import LabelledCompletion, PreferencePair, Record
from rlllm.data.config import DataConfig
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.load import Loaded, load
from rlllm.data.pairs_to_labels import labels_of_pairs, pairs_of_labels

PAIRS: list[dict[str, Any]] = [
    {"prompt": f"p{n}", "chosen": f"good {n}", "rejected": f"bad {n}", "source": n} for n in range(4)
]
LABELS: list[dict[str, Any]] = [
    {"prompt": f"p{n}", "completion": f"{word} {n}", "label": word == "good"}
    for n in range(4)
    for word in ("bad", "good")
]


@pytest.fixture
def loaded(tmp_path: Path) -> Any:
    def call(given: list[dict[str, Any]], kind: type[Record], **settings: Any) -> Loaded:
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in given))
        return load(DataConfig(name=str(path), **settings), kind)

    return call


def test_a_file_of_pairs_gives_one_good_and_one_bad_completion_a_pair_and_says_so(loaded: Any) -> None:
    data = loaded(PAIRS, LabelledCompletion)
    assert [(row.prompt, row.completion, row.label) for row in data.train[:2]] == [
        ("p0", "good 0", True),
        ("p0", "bad 0", False),
    ]
    assert data.train[0].meta == data.train[1].meta == {"source": 0}
    assert "data.jsonl as 8 labelled completions from 4 pairs: 8 training rows" in data.source
    assert data.columns == {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}


def test_a_margin_is_kept_in_the_columns_of_both() -> None:
    good, bad = labels_of_pairs([PreferencePair("p", "yes", "no", 0.5, {"id": 1})], "here", BadRows())
    assert good.meta == bad.meta == {"id": 1, "margin": 0.5}


def test_rows_and_holdout_count_what_was_made_and_prompts_stay_whole(loaded: Any) -> None:
    data = loaded(PAIRS, LabelledCompletion, holdout=2, rows=5)
    assert (len(data.train), len(data.holdout)) == (5, 2)
    assert len({row.prompt for row in data.holdout}) == 1
    assert {row.prompt for row in data.holdout}.isdisjoint(row.prompt for row in data.train)
    assert len(loaded(PAIRS, LabelledCompletion, rows=3).train) == 3


def test_a_file_that_has_labels_of_its_own_is_read_as_it_stands(loaded: Any) -> None:
    rows = [{**pair, "completion": "mine", "label": False} for pair in PAIRS]
    data = loaded(rows, LabelledCompletion)
    assert [(row.completion, row.label) for row in data.train] == [("mine", False)] * 4
    assert "as 4" not in data.source


def test_columns_under_names_of_their_own_may_be_mapped(loaded: Any) -> None:
    rows = [{"prompt": "p", "better": "yes", "worse": "no"}]
    data = loaded(rows, LabelledCompletion, columns={"chosen": "better", "rejected": "worse"})
    assert [(row.completion, row.label) for row in data.train] == [("yes", True), ("no", False)]


def test_labels_that_pair_up_are_read_as_pairs_and_that_is_said(loaded: Any) -> None:
    data = loaded(LABELS, PreferencePair)
    assert [(pair.prompt, pair.chosen, pair.rejected) for pair in data.train] == [
        (f"p{n}", f"good {n}", f"bad {n}") for n in range(4)
    ]
    assert "data.jsonl as 4 pairs from 8 labelled completions: 4 training rows" in data.source


def test_columns_that_differ_between_the_two_of_a_pair_keep_both_values() -> None:
    rows = [
        LabelledCompletion("p", "yes", True, {"task": "t", "gold": 2.0}),
        LabelledCompletion("p", "no", False, {"task": "t", "gold": 1.0}),
    ]
    [pair] = pairs_of_labels(rows, "here", BadRows())
    assert pair.meta == {"task": "t", "gold_chosen": 2.0, "gold_rejected": 1.0}


UNEVEN = [
    ([*LABELS, {"prompt": "p0", "completion": "another", "label": True}], "1 of 9", "'p0' has 2 good and 1 bad"),
    (LABELS[:-1], "1 of 7", "'p3' has 0 good and 1 bad"),
    ([row for row in LABELS if row["label"]], "4 of 4", "'p0' has 1 good and 0 bad"),
]


@pytest.mark.parametrize(("rows", "left", "where"), UNEVEN)
def test_labels_that_would_leave_rows_over_are_no_pairs(
    loaded: Any, rows: list[dict[str, Any]], left: str, where: str
) -> None:
    with pytest.raises(DataError) as caught:
        loaded(rows, PreferencePair)
    assert f"{left} would be left over ({where})" in str(caught.value)
    assert "--method kto" in str(caught.value)


def test_an_empty_completion_is_nothing_to_label(loaded: Any) -> None:
    with pytest.raises(DataError, match="rejected of pair 2 is empty"):
        loaded([PAIRS[0], {**PAIRS[1], "rejected": " "}], LabelledCompletion)
    with pytest.raises(DataError, match=r"completion at line 2 of .* is empty"):
        loaded([LABELS[0], {**LABELS[1], "completion": ""}], LabelledCompletion)


def test_rows_of_neither_kind_name_the_columns_of_the_kind_that_was_asked_for(loaded: Any) -> None:
    with pytest.raises(DataError, match="no column for label, which LabelledCompletion rows need"):
        loaded([{"prompt": "p", "completion": "c"}], LabelledCompletion)
    with pytest.raises(DataError, match="no column for chosen and rejected, which PreferencePair rows need"):
        loaded([{"prompt": "p", "completion": "c"}], PreferencePair)


TEXT = st.text(st.characters(categories=["L"]), min_size=1, max_size=3)


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=8))
def test_pairs_survive_the_way_there_and_back(texts: list[tuple[str, str, str]]) -> None:
    pairs = [PreferencePair(*three) for three in texts]
    back = pairs_of_labels(labels_of_pairs(pairs, "here", BadRows()), "here", BadRows())
    assert sorted(map(repr, back)) == sorted(map(repr, pairs))


def test_a_pair_without_a_rejected_completion_is_skipped_and_counted_where_bad_rows_may_be(loaded: Any) -> None:
    rows = [*PAIRS, {"prompt": "p9", "chosen": "good 9", "rejected": ""}]
    data = loaded(rows, LabelledCompletion, on_bad_row="skip")
    assert (len(data.train), data.skipped) == (8, 1)
    assert data.skipped_examples == ("rejected of pair 5 is empty: no completion to label",)
    with pytest.raises(DataError, match="1 of 1 rows do not fit"):
        loaded(rows[-1:], LabelledCompletion, on_bad_row="skip")
