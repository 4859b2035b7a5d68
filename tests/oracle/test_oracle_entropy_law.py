"""The fitted entropy law against NumPy's least squares, and against laws whose numbers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rlllm.report.entropy_law import MIN_STEPS, fit, fit_if_informative

PAIRS = st.lists(st.tuples(st.floats(0, 3), st.floats(-2, 2)), min_size=3, max_size=40)


@given(PAIRS)
def test_the_fit_is_numpys_least_squares_on_exp_of_entropy(pairs: list[tuple[float, float]]) -> None:
    x, r = np.exp([h for h, _ in pairs]), np.array([reward for _, reward in pairs])
    assume(np.ptp(x) > 1e-3 and np.ptp(r) > 1e-3)
    design = np.stack([-x, np.ones_like(x)], axis=1)
    (a, b), *_ = np.linalg.lstsq(design, r, rcond=None)
    law = fit(pairs)
    assert law is not None
    assert law.a == pytest.approx(a, rel=1e-5, abs=1e-6)
    assert law.b == pytest.approx(b, rel=1e-5, abs=1e-6)
    assert law.r2 == pytest.approx(1 - ((r - design @ [a, b]) ** 2).sum() / ((r - r.mean()) ** 2).sum(), abs=1e-6)


@pytest.mark.parametrize(("a", "b"), [(0.3, 1.2), (0.05, 0.6), (1.0, 2.5)])
def test_a_run_that_follows_a_law_gives_its_numbers_back(a: float, b: float) -> None:
    law = fit_if_informative([(h, b - a * math.exp(h)) for h in np.linspace(0.05, 1.0, MIN_STEPS)])
    assert law is not None
    assert (law.a, law.b, law.r2) == pytest.approx((a, b, 1.0))
    assert law.ceiling == pytest.approx(b - a)
    assert law.reward(0.0) == pytest.approx(law.ceiling)


NOISE = np.random.default_rng(0).normal(size=(60, 2))
NOTHING = {
    "no steps": [],
    "one step": [(0.5, 0.5)],
    "entropy stands still": [(0.5, 0.01 * step) for step in range(40)],
    "reward stands still": [(0.01 * step, 0.5) for step in range(40)],
    "too few steps": [(0.1 * step, 1 - 0.1 * math.exp(0.1 * step)) for step in range(MIN_STEPS - 1)],
    "reward rises with entropy": [(0.02 * step, 0.1 * math.exp(0.02 * step)) for step in range(40)],
    "noise": [(abs(h), r) for h, r in NOISE.tolist()],
    "only numbers that are not finite": [(math.nan, 0.1), (0.1, math.inf)] * 20,
}


@pytest.mark.parametrize("pairs", NOTHING.values(), ids=NOTHING)
def test_what_determines_no_law_is_not_shown_as_one(pairs: list[tuple[float, float]]) -> None:
    assert fit_if_informative(pairs) is None
