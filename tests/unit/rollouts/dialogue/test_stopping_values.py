"""Stopping: votes, fitted values, and the game in which dynamic programming knows the optimum."""

import importlib.util
import random
from pathlib import Path

import pytest

from rlllm.rollouts.dialogue.stopping import StopValues, Votes, attempts, keys, visits_of

ROOT = Path(__file__).resolve().parents[4]
RIGHT, WRONG, OTHER = "so #### 4", "#### 5", "\\boxed{6}"


def test_votes_of_marked_answers():
    votes = Votes()
    for text in (WRONG, RIGHT, "no answer", RIGHT, OTHER):
        votes.add(text)
    assert votes.ranked == [("4", 2), ("5", 1), ("6", 1)]
    assert (votes.attempts, votes.lead, votes.key, votes.solution) == (5, 1, "5/1", RIGHT)
    assert (Votes().lead, Votes().solution) == (0, "")


def test_utility_of_each_attempt():
    run = attempts([WRONG, RIGHT, RIGHT], {RIGHT: True, WRONG: False}, 0.1)
    assert run.keys == ["1/1", "2/0", "3/1"]
    assert run.utilities == pytest.approx([-0.1, -0.2, 0.7])
    assert [run.stopped(stops) for stops in ([True] * 3, [False, True, False], [False] * 3)] == [0, 1, 2]
    assert run.stopped([True, True, False], 1) == 1
    assert run.regret(0) == pytest.approx(0.8)


def test_values_are_fitted_backward_and_not_by_the_maximum_of_a_run():
    """Two runs that begin alike: going on is worth the mean of what follows, although in each run one end was better."""
    values = StopValues(2)
    up, down = attempts([RIGHT, RIGHT], {RIGHT: True}, 0.1), attempts([RIGHT, WRONG], {RIGHT: True, WRONG: False}, 0.1)
    values.update(*visits_of([up, down]))
    assert values.stopping("1/1") == pytest.approx(0.9)
    assert values.going_on("1/1") == pytest.approx(0.8)
    assert values.value("1/1") == pytest.approx(0.9)
    assert values.stops("1/1")
    assert values.stops("2/2")
    assert not values.stops("1/0")
    assert StopValues.from_json(values.to_json(), most=2) == values


def test_a_decay_forgets():
    values = StopValues(2, decay=0.5)
    for utility in (0.0, 1.0):
        values.update({"1/1": (1.0, utility)}, {})
    assert values.stopping("1/1") == pytest.approx(1 / 1.5)


def test_every_state_of_a_run_is_declared():
    rng, declared = random.Random(0), set(keys(6))
    for _ in range(200):
        run = attempts([rng.choice([RIGHT, WRONG, OTHER, "?"]) for _ in range(6)], {}, 0.0)
        assert declared.issuperset(run.keys)


@pytest.fixture(scope="module")
def game():
    """The recorded game, `bench/stopping_game.py`."""
    spec = importlib.util.spec_from_file_location("stopping_game", ROOT / "bench" / "stopping_game.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OPTIMA = [(0.01, 0.675, 4.03), (0.05, 0.569, 1.0), (0.15, 0.469, 1.0)]


@pytest.mark.parametrize(("price", "utility", "made"), OPTIMA)
def test_the_optimum_has_the_numbers_of_the_specification(game, price, utility, made):
    assert game.exact(game.optimum(price), price) == (pytest.approx(utility, abs=0.002), pytest.approx(made, abs=0.02))


@pytest.mark.parametrize("price", [0.01, 0.05, 0.15])
@pytest.mark.parametrize(("form", "groups"), [("by_outcome", 1500), ("by_hindsight", 200), ("by_regret", 200)])
def test_each_form_is_within_two_percent_of_dynamic_programming(game, form, groups, price):
    policy = getattr(game, form)(random.Random(0), price, groups, 16)
    assert game.exact(policy, price)[0] >= 0.98 * game.exact(game.optimum(price), price)[0]


@pytest.mark.parametrize("form", ["by_hindsight", "by_regret"])
def test_a_higher_price_never_stops_later(game, form):
    made = [
        game.exact(getattr(game, form)(random.Random(1), price, 150, 16), price)[1] for price in (0.0, 0.01, 0.05, 0.15)
    ]
    assert made == sorted(made, reverse=True)
