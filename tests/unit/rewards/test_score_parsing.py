"""What is read out of what a reward returns: a score, or a failure that is named and never a number."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.records import Sample, Score
from rlllm.core.stop_signals import like_ctrl_c
from rlllm.rewards.score_parsing import Failure, read, scored


def samples(*completions: str) -> list[Sample]:
    return [Sample("question", completion, "7") for completion in completions]


class OwnError(BaseException):
    pass


class HostileError(Exception):
    def __str__(self) -> str:
        raise ValueError


def raises(error: BaseException) -> Any:
    def reward(_: Any) -> float:
        raise error

    return reward


def torn(_: Any) -> Any:
    yield 1.0
    raise OSError("half way")


def forever(_: Any) -> Any:
    while True:
        yield 1.0


RETURNED: list[tuple[Any, Any]] = [
    (True, Score(1.0)),
    (3, Score(3.0)),
    (Fraction(1, 4), Score(0.25)),
    (None, Score(None)),
    (Score(None, note="?"), Score(None, note="?")),
    (float("nan"), Failure("returned NaN")),
    (Score(float("-inf")), Failure("returned -inf")),
    (10**400, Failure("returned a number too large for a float")),
    ("1.0", Failure("returned str, not a number")),
    ([1.0], Failure("returned list, not a number")),
    (1j, Failure("returned complex, not a number")),
    (Failure("took longer"), Failure("took longer")),
]


@pytest.mark.parametrize(("raw", "meant"), RETURNED, ids=[repr(raw)[:20] for raw, _ in RETURNED])
def test_what_is_returned_is_a_score_or_a_named_failure(raw: Any, meant: object) -> None:
    assert read(raw) == meant


def test_scalars_of_numpy_are_numbers_and_arrays_and_tensors_are_not() -> None:
    import numpy
    import torch

    assert read(numpy.float32(0.5)) == Score(0.5)
    assert read(numpy.int64(2)) == Score(2.0)
    assert read(numpy.ones(1)) == Failure("returned numpy.ndarray, not a number")
    assert read(torch.tensor(1.0)) == Failure("returned torch.Tensor, not a number")


BATCHES: list[tuple[Any, Any]] = [
    ((1, 2), [Score(1.0), Score(2.0)]),
    ({1: 2, 3: 4}, Failure("returned dict from score_batch, not a list")),
    ({1, 2}, Failure("returned set from score_batch, not a list")),
    ("ab", Failure("returned str from score_batch, not a list")),
    (b"ab", Failure("returned bytes from score_batch, not a list")),
    (None, Failure("returned NoneType from score_batch, not a list")),
    ([1], Failure("returned 1 values from score_batch for 2 samples")),
    ([1, 2, 3], Failure("returned more values from score_batch than the 2 samples it was given")),
    (forever(0), Failure("returned more values from score_batch than the 2 samples it was given")),
    ([1, "b"], [Score(1.0), Failure("returned str, not a number")]),
]


@pytest.mark.parametrize(("raw", "meant"), BATCHES, ids=[repr(raw)[:20] for raw, _ in BATCHES])
def test_what_a_batch_returns_is_one_score_a_sample_or_a_named_failure(raw: Any, meant: Any) -> None:
    def batch(_: Sequence[Sample]) -> Any:
        return raw

    assert scored(None, batch, samples("a", "b")) == ([meant] * 2 if isinstance(meant, Failure) else meant)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (HostileError(), "raised HostileError ("),
        (RecursionError("deep"), "raised RecursionError: deep ("),
        (MemoryError(), "raised MemoryError ("),
        (SystemExit(3), "raised SystemExit: 3 ("),
        (OwnError("mine"), "raised OwnError: mine (test_score_parsing.py, line "),
        (ValueError("x" * 10_000), "raised ValueError: xxx"),
    ],
)
def test_whatever_a_reward_raises_is_named(error: BaseException, words: str) -> None:
    for results in (scored(raises(error), None, samples("a")), scored(None, raises(error), samples("a"))):
        assert isinstance(results[0], Failure)
        assert results[0].phrase.startswith(words)
        assert len(results[0].phrase) < 400
    assert isinstance(scored(None, torn, samples("a", "b"))[1], Failure)


def test_ctrl_c_is_not_an_error_of_the_reward() -> None:
    with pytest.raises(KeyboardInterrupt):
        scored(raises(KeyboardInterrupt()), None, samples("a"))


def test_ctrl_c_that_a_reward_swallows_is_still_ctrl_c() -> None:
    def zero_for_everything(sample: Sample) -> float:
        try:
            signal.raise_signal(signal.SIGINT)
            return 1.0
        except:  # noqa: E722 - as rewards have it
            return 0.0

    def another_error(sample: Sample) -> float:
        try:
            signal.raise_signal(signal.SIGINT)
            return 1.0
        except BaseException as error:
            raise ValueError("not my fault") from error

    for reward in (zero_for_everything, another_error):
        with pytest.raises(KeyboardInterrupt), like_ctrl_c():
            scored(reward, None, samples("a", "b"))
        assert scored(lambda _: 1.0, None, samples("a")) == [Score(1.0)]  # the next run knows nothing of it


@given(
    st.one_of(
        st.floats(), st.integers(), st.booleans(), st.none(), st.text(), st.lists(st.floats()), st.complex_numbers()
    )
)
def test_no_failure_is_ever_a_number_and_no_number_ever_lost(raw: Any) -> None:
    result = read(raw)
    good = raw is None or (isinstance(raw, int | float) and abs(raw) <= 1.7976931348623157e308)
    assert isinstance(result, Score) == good
    if isinstance(result, Score):
        assert result.value == (None if raw is None else float(raw))  # as float() rounds, past 2**53
