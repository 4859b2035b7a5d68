"""The judgement on a copy of the policy by log-probabilities alone: what is found, and what is not called wrong."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlllm.rollouts.engines.served.proof import Scores, judge, probe_rows

TOLERANCE = 1e-3
N = 256


def pair(seed: int, step: float, noise: float, made: float = 1.0) -> tuple[Scores, Scores]:
    """Scores before and after a step of the policy of which the copy made a share."""
    generator = torch.Generator().manual_seed(seed)
    start, move, first, second = (torch.randn(N, generator=generator, dtype=torch.float64) for _ in range(4))
    before = Scores(start, start + noise * first)
    return before, Scores(start + step * move, start + made * step * move + noise * second)


@given(st.integers(0, 10_000), st.sampled_from([1e-8, 1e-5, 1e-3, 1.0]), st.sampled_from([1e-6, 1e-4]))
def test_a_right_sync_is_never_called_wrong(seed: int, step: float, noise: float) -> None:
    before, now = pair(seed, step, noise)
    assert judge(now, before, TOLERANCE) is None
    assert judge(now, None, TOLERANCE) is None


@given(
    st.integers(0, 10_000),
    st.sampled_from([1e-4, 1e-2, 1.0]),
    st.floats(0.0, 0.02) | st.floats(0.08, 0.9),  # a share of .05 may be called either
    st.sampled_from([1e-7, 1e-6]),
)
def test_a_share_of_a_step_that_is_missing_is_found_below_the_tolerance(
    seed: int, step: float, made: float, noise: float
) -> None:
    before, now = pair(seed, step, noise, made)
    finding = judge(now, before, TOLERANCE)
    assert finding is not None
    assert finding.kind == ("stale" if made < 0.05 else "partial")
    assert finding.missing == pytest.approx(1 - made, abs=0.05)


def rounded(seed: int, step: float, made: float) -> tuple[Scores, Scores]:
    """As `pair`, where both sides round in 16 bits: by .07 nats on average, and one token in a hundred by far more."""
    generator = torch.Generator().manual_seed(seed)
    start, move = (torch.randn(4096, generator=generator, dtype=torch.float64) for _ in range(2))

    def rounding() -> torch.Tensor:
        noise = 0.06 * torch.randn(4096, generator=generator, dtype=torch.float64)
        return torch.where(torch.rand(4096, generator=generator) < 0.01, 10 * noise, noise)

    before = Scores(start + rounding(), start + rounding())
    return before, Scores(start + step * move + rounding(), start + made * step * move + rounding())


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.01, 0.1, 1.0, 5.0]))
def test_a_right_sync_in_16_bits_is_not_called_wrong(seed: int, step: float) -> None:
    before, now = rounded(seed, step, 1.0)
    assert judge(now, before, 0.2) is None
    assert judge(now, None, 0.2) is None


@given(st.integers(0, 10_000), st.sampled_from([0.6, 2.0, 5.0]), st.sampled_from([0.0, 0.5, 0.7]))
def test_a_share_of_a_step_that_stands_out_from_rounding_is_found(seed: int, step: float, made: float) -> None:
    before, now = rounded(seed, step, made)
    finding = judge(now, before, 0.2)
    assert finding is not None
    assert finding.kind == ("stale" if made == 0 else "partial")


@pytest.mark.parametrize(
    ("copy", "kind"),
    [(torch.tensor([-1.0, -2.0]), "stale"), (torch.tensor([-1.0, float("nan")]), "different")],
)
def test_the_same_numbers_after_a_step_and_no_numbers_are_found(copy: torch.Tensor, kind: str) -> None:
    before = Scores(torch.tensor([-1.0, -2.0]).double(), torch.tensor([-1.0, -2.0]).double())
    finding = judge(Scores(before.policy - 2e-6, copy.double()), before, TOLERANCE)
    assert finding is not None
    assert finding.kind == kind


def test_a_copy_that_had_other_weights_at_the_start_is_judged_by_where_it_is() -> None:
    """As when a run is resumed, on servers that were started with the model it began with."""
    before, now = pair(1, 0.5, 1e-6)
    elsewhere = Scores(before.policy, before.policy + 0.7 * torch.randn(N, dtype=torch.float64))
    assert judge(now, elsewhere, TOLERANCE) is None
    assert judge(now, Scores(before.policy, now.copy), TOLERANCE) is None  # it has these weights already, by accident


def test_probe_rows_are_the_same_each_time_and_leave_out_what_no_text_has() -> None:
    rows = probe_rows(50, {7}, [1, 2, 3], rows=4, length=5)
    assert rows == probe_rows(50, {7}, [1, 2, 3], rows=4, length=5)
    assert rows[:2] == [[1, 2, 3, 1, 2], [3, 1, 2, 3, 1]]
    assert [len(row) for row in rows] == [5] * 4
    assert not any(token == 7 or token >= 50 for row in rows for token in row)
    assert len(probe_rows(50, set(), [], rows=4, length=5)) == 4
