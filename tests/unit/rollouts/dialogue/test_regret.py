"""Regret matching: literal numbers of one update, and the bound on average regret."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.rollouts.dialogue.regret import RegretTable, counted


def test_first_update_from_uniform():
    table = RegretTable()
    table.update(counted([("k", -1.0, 1.0)]))
    assert table.to_json()["k"]["regrets"] == [-1.0, 1.0]
    assert (table.probability("k"), table.average("k")) == (1.0, 0.5)


def test_ties_and_unseen_keys_are_uniform():
    table = RegretTable()
    table.update(counted([("tie", 0.5, 0.5)]))
    assert [table.probability(key) for key in ("tie", "unseen")] == [0.5, 0.5]
    assert table.average("unseen") == 0.5


VISITS = st.lists(st.tuples(st.sampled_from("ab"), st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=40)


@given(rounds=st.lists(VISITS, min_size=1, max_size=6), plus=st.booleans())
def test_average_regret_never_exceeds_the_bound(rounds, plus):
    table = RegretTable(plus=plus)
    for visits in rounds:
        table.update(counted(visits))
        assert all(table.regret(key) <= table.bound(key) + 1e-9 for key in table.keys)


@given(visits=VISITS)
def test_single_visits_keep_the_bound_of_the_papers_table(visits):
    table = RegretTable()
    for visit in visits:
        table.update(counted([visit]))
    assert table.average_regret <= 2 * math.sqrt(2 * len(table.keys) / len(visits)) + 1e-9


@given(visits=VISITS)
def test_external_and_swap_regret_of_two_actions_are_one_number(visits):
    """R(0) is the sum over visits of p(1) (v(0) - v(1)), with the probability that was played."""
    table, expected = RegretTable(), {"a": 0.0, "b": 0.0}
    for key, silent, acting in visits:
        expected[key] += table.probability(key) * (silent - acting)
        table.update(counted([(key, silent, acting)]))
    for key in table.keys:
        assert table.to_json()[key]["regrets"][0] == pytest.approx(expected[key], abs=1e-9)


def test_state_survives_json():
    table = RegretTable(plus=True)
    table.update(counted([("k", -1.0, 1.0), ("k", 0.5, -0.25)]))
    again = RegretTable.from_json(table.to_json(), plus=True)
    assert again == table
