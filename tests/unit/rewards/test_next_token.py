"""The reward `next-token` against the definition of RPT: a prefix of the truth, in bytes, that ends on a token boundary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.verifiers.next_token import NextToken


def _sample(completion: str, answer: str | None, ends: list[int] | None = None) -> Sample:
    return Sample("a prefix", completion, answer, {} if ends is None else {"boundaries": ends})


def _oracle(prediction: str, tokens: list[bytes]) -> float:
    """RPT's formula on bytes: r = 1 if y = x[:l] for an l in L, the cumulative byte lengths of the true tokens."""
    y, x, length, lengths = prediction.encode(), b"".join(tokens), 0, set()
    for token in tokens:
        length += len(token)
        lengths.add(length)
    return float(len(y) in lengths and x[: len(y)] == y)


CASES = [
    (" the", 1.0),
    (" the cat", 1.0),
    (" the cat sat", 1.0),
    ("", 0.0),
    (" ", 0.0),
    (" th", 0.0),
    ("the", 0.0),
    (" the c", 0.0),
    (" the cat sat on", 0.0),
    (" The", 0.0),
    (" the ", 0.0),
    ("thinking </think> the", 1.0),
    ("thinking </think>", 0.0),
    (" the cat</think> dog", 0.0),
    ("a</think> dog</think> the cat", 1.0),
]


@pytest.mark.parametrize(("completion", "value"), CASES)
def test_a_prediction_is_right_if_it_ends_where_a_token_ends(completion: str, value: float) -> None:
    assert NextToken()(_sample(completion, " the cat sat", [4, 8, 12])).value == value
    assert NextToken()(_sample(completion, " the cat sat")).value == value  # words, where nothing says what a token is


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=6), st.integers(0, 20), st.text(max_size=2))
def test_it_is_the_formula_of_the_paper(tokens: list[str], length: int, more: str) -> None:
    truth, ends, end = "".join(tokens), [], 0
    for token in tokens:
        end += len(token)
        ends.append(end)
    prediction = truth[:length] + more
    expected = _oracle(prediction, [token.encode() for token in tokens])
    assert NextToken(marker="\0\0\0")(_sample(prediction, truth, ends)).value == expected


def test_a_token_that_ends_inside_a_character_ends_no_prediction() -> None:
    """Byte-level tokens cut the three bytes of one character; only whole characters are in `boundaries`."""
    tokens = ["日".encode()[:2], "日".encode()[2:], "本".encode()]
    assert _oracle("日", tokens) == NextToken()(_sample("日", "日本", [1, 2])).value == 1.0
    assert NextToken()(_sample(b"\xe6\x97".decode(errors="replace"), "日本", [1, 2])).value == 0.0


def test_white_space_at_the_beginning_counts_unless_it_is_free() -> None:
    sample = _sample("hm</think>\n\nthe cat", " the cat sat", [4, 8, 12])
    assert NextToken()(sample).value == 0.0
    assert NextToken(blanks="free")(sample).value == 1.0
    assert NextToken(blanks="free")(_sample(" \n", " the", [4])).value == 0.0


def test_without_a_reference_there_is_nothing_to_judge() -> None:
    assert NextToken()(_sample(" the", None)).value is None
    assert NextToken()(_sample(" the", "")).value is None


def test_a_completion_without_a_thought_may_be_asked_for_its_first_token_alone() -> None:
    first = NextToken(unmarked="first")
    assert first(_sample(" the dog", " the cat", [4, 8])).value == 1.0
    assert first(_sample(" a cat", " the cat", [4, 8])).value == 0.0
    assert first(_sample("", " the cat", [4, 8])).value == 0.0
    assert (
        first(_sample("x</think> the dog", " the cat", [4, 8])).value == 0.0
    )  # a thought says where a prediction begins


def test_an_empty_marker_is_refused() -> None:
    with pytest.raises(ConfigError, match="the marker is a text"):
        NextToken(marker="")
