"""Pairs whose better side a column names: by a column map, and in the schemas of published data sets."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import PreferencePair
from rlllm.data.config import DataConfig
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.formats import number_rows
from rlllm.data.to_records import adapt


def pairs(rows: list[dict[str, Any]], columns: str = "", bad: BadRows | None = None) -> list[tuple[Any, str, str]]:
    config = DataConfig.checked({"name": "rows", **({"columns": columns} if columns else {})})
    records, _ = adapt(number_rows(rows, "rows"), PreferencePair, config.columns, "rows", bad)
    return [(record.prompt, record.chosen, record.rejected) for record in records]


def row(winner: Any, **other: Any) -> dict[str, Any]:
    return {"task": "p", "response_a": "A", "response_b": "B", "winner": winner, **other}


MAP = "prompt=task,first=response_a,second=response_b,winner=winner"


@pytest.mark.parametrize(
    ("winner", "columns", "better"),
    [
        ("response_a", MAP, "A"),
        ("Response_B", MAP, "B"),
        ("a", MAP, "A"),
        ("B", MAP, "B"),
        ("model_b", MAP, "B"),
        (1, MAP + ":1/0", "A"),
        (0, MAP + ":1/0", "B"),
        (1.0, MAP + ":1/0", "A"),
        ("1", MAP + ":1/2", "A"),
        (2, MAP + ":1/2", "B"),
        (True, MAP + ":true/false", "A"),
        (False, MAP + ":true/false", "B"),
        ("left", MAP + ":left/right", "A"),
        ("tie", MAP, None),
        ("tie (bothbad)", MAP, None),
        (None, MAP, None),
        (float("nan"), MAP, None),
    ],
)
def test_the_value_of_a_mapped_column_picks_the_better_answer(winner: Any, columns: str, better: str | None) -> None:
    bad = BadRows()
    expected = [] if better is None else [("p", better, {"A": "B", "B": "A"}[better])]
    assert pairs([row(winner)], columns, bad) == expected
    assert bad.undecided == (better is None)


@pytest.mark.parametrize("winner", [0, 1, "c", "left", True, 3])
def test_a_value_that_means_neither_answer_is_refused_with_a_map_to_type(winner: Any) -> None:
    with pytest.raises(DataError, match="means neither response_a nor response_b") as caught:
        pairs([row(winner)], MAP)
    assert caught.value.hint == "say which values mean the first and the second: --columns winner=winner:A/B"


def test_numbers_of_the_columns_are_their_values() -> None:
    rows = [{"prompt": "p", "response_0": "A", "response_1": "B", "safer_response_id": side} for side in (0, 1)]
    columns = "prompt=prompt,first=response_0,second=response_1,winner=safer_response_id"
    assert pairs(rows, columns) == [("p", "A", "B"), ("p", "B", "A")]
    assert pairs([{**rows[0], "better_response_id": 1}], columns) == [("p", "A", "B")]


def test_the_winner_may_stand_in_a_nested_column_and_stays_among_the_others() -> None:
    rows = [{"task": "p", "response_a": "A", "response_b": "B", "vote": {"by": "me", "side": "b"}}]
    config = DataConfig.checked(
        {"name": "x", "columns": "prompt=task,first=response_a,second=response_b,winner=vote.side"}
    )
    (record,), _ = adapt(number_rows(rows, "rows"), PreferencePair, config.columns, "rows")
    assert (record.chosen, record.meta) == ("B", {"vote": {"by": "me", "side": "b"}})


@pytest.mark.parametrize(
    ("columns", "error", "problem"),
    [
        ("first=response_a,second=response_b", DataError, "no column for winner"),
        (
            "first=response_a,second=response_b,winner=won",
            DataError,
            "there is no column won, which is mapped to winner",
        ),
        ("first=response_a,rejected=response_b,winner=winner", ConfigError, "do not go together"),
    ],
)
def test_an_incomplete_map_is_refused(columns: str, error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        pairs([row("a")], columns)


def conversation(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]


ARENA = {"winner": "model_a", "conversation_a": conversation("q", "A"), "conversation_b": conversation("q", "B")}
SAFE = {"prompt": "p", "response_0": "A", "response_1": "B", "better_response_id": 0}
SHP = {"history": "p", "human_ref_A": "A", "human_ref_B": "B", "labels": 1}
SWIFT = {"messages": conversation("q", "A"), "rejected_response": "B"}
VOTES = {"prompt": '["q"]', "response_a": '["A"]', "response_b": '["B"]'}
OUTCOME = {"winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}
TWO_TURNS = {"conversation_a": conversation("q", "A", "r", "C"), "conversation_b": conversation("q", "B", "r", "D")}


@pytest.mark.parametrize(
    ("good", "changed", "problem"),
    [
        (ARENA, TWO_TURNS, "differ before their last turn"),
        (ARENA, {"winner": "model_c"}, "has the winner 'model_c'"),
        (ARENA, {"conversation_b": conversation("q")}, "does not end with an answer"),
        (ARENA, {"conversation_b": "q"}, "no messages in conversation_b"),
        (SAFE, {"better_response_id": 2}, "2 in better_response_id"),
        (SAFE, {"response_1": ""}, "no text in response_1"),
        (SHP, {"labels": None}, "None in labels"),
        (SHP, {"labels": True}, "True in labels"),
        (SWIFT, {"rejected_response": None}, "no text in rejected_response"),
        (SWIFT, {"messages": conversation("q", "A", "r")}, "does not end with an answer"),
        ({**VOTES, **OUTCOME}, {"winner_tie": 1}, "not exactly one outcome"),
        ({**VOTES, **OUTCOME}, {"prompt": '["q", "r"]'}, "several turns"),
        ({**VOTES, **OUTCOME}, {"response_b": "B"}, "no JSON list of turns in response_b"),
    ],
)
def test_a_row_of_a_published_schema_that_holds_no_pair_says_why(
    good: dict[str, Any], changed: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        pairs([good, {**good, **changed}])
    bad = BadRows("skip")
    assert len(pairs([good, {**good, **changed}], bad=bad)) == 1
    assert bad.count == 1


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"turn": 1, **TWO_TURNS}, [(conversation("q"), "A", "B")]),
        ({"winner": "model_b"}, [(conversation("q"), "B", "A")]),
        ({"winner": "tie"}, []),
        ({"winner": "both_bad"}, []),
        ({"conversation_a": '[{"role": "user", "content": "q"}, {"role": "assistant", "content": "A"}]'}, None),
    ],
)
def test_conversations_of_the_arena_give_their_last_answers(
    changed: dict[str, Any], expected: list[tuple[Any, str, str]] | None
) -> None:
    assert pairs([{**ARENA, **changed}]) == ([(conversation("q"), "A", "B")] if expected is None else expected)


def test_the_rejected_conversation_of_ms_swift_may_be_whole() -> None:
    rejected = conversation("q", "B")
    assert pairs([{"messages": conversation("q", "A"), "rejected_messages": rejected}]) == [
        (conversation("q"), "A", "B")
    ]
