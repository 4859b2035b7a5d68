"""Procedural worlds: disjoint splits, determinism, right solutions, stated noise."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError, DataError, UnknownNameError
from rlllm.core.records import Conversation, PromptTask, Sample
from rlllm.data.procedural.arithmetic import arithmetic
from rlllm.data.procedural.countdown import countdown
from rlllm.data.procedural.gold_utility import CONCISE_WEIGHT, appraise, gold_utility
from rlllm.data.procedural.lists import OPERATIONS, WORDINGS, lists
from rlllm.data.procedural.problems import split_of
from rlllm.data.procedural.world import TIERS, world
from rlllm.data.request import DataRequest
from rlllm.parsing.answers import extract_answer
from rlllm.parsing.expressions import countdown_fault

ALL = [(task, level) for task in (arithmetic, countdown, lists) for level in task.tiers]
IDS = [f"{task.name}-{level}" for task, level in ALL]
each_tier = pytest.mark.parametrize(("task", "level"), ALL, ids=IDS)


def judge(record):
    return appraise(Sample(record.prompt, record.completion, record.meta["answer"], record.meta))


@each_tier
def test_no_problem_is_in_both_splits_whatever_the_seeds(task, level):
    train = {row.prompt for seed in (0, 1) for row in task(DataRequest(PromptTask, "train", 400, seed, level))}
    held = {row.prompt for seed in (0, 1, 7) for row in task(DataRequest(PromptTask, "holdout", 400, seed, level))}
    assert train
    assert held
    assert not train & held


@given(st.sampled_from(sorted(TIERS)), st.integers())
def test_the_wording_and_the_order_of_operands_do_not_move_a_problem_to_the_other_split(tier, seed):
    problem = TIERS[tier](random.Random(seed))
    assert split_of(problem.key) in ("train", "holdout")
    assert problem.prompt not in problem.key


def test_sums_that_commute_share_a_key():
    keys = {}
    generator = random.Random(0)
    for _ in range(3000):
        problem = TIERS["arithmetic:1"](generator)
        terms = re.findall(r"[\d+]", problem.prompt)
        if "+" in terms:
            keys.setdefault(frozenset(terms), set()).add(problem.key)
    assert all(len(found) == 1 for found in keys.values())


@each_tier
def test_the_same_request_gives_the_same_rows_and_another_seed_gives_others(task, level):
    request = DataRequest(Conversation, "train", 50, 3, level)
    assert task(request) == task(request)
    assert task(request) != task(DataRequest(Conversation, "train", 50, 4, level))


@each_tier
def test_a_longer_request_begins_with_the_shorter_one(task, level):
    longer = task(DataRequest(Conversation, "train", 60, 0, level))
    assert longer[:25] == task(DataRequest(Conversation, "train", 25, 0, level))


@each_tier
def test_every_clean_solution_is_correct_well_formed_and_short(task, level):
    rows = task(DataRequest(Conversation, "train", 200, 0, level, {"clean": True}))
    appraisals = [judge(row) for row in rows]
    assert all(appraisal.correct and appraisal.well_formed for appraisal in appraisals)


@settings(max_examples=200)
@given(st.sampled_from(sorted(TIERS)), st.integers())
def test_a_slip_always_gives_a_wrong_answer_and_its_absence_a_right_one(tier, seed):
    problem = TIERS[tier](random.Random(seed))
    for slip in (False, True):
        solution = problem.solve(random.Random(seed), slip)
        sample = problem.sample(f"#### {solution.answer}")
        assert appraise(sample).correct is not slip


@settings(max_examples=200)
@given(st.integers(1, 4), st.integers())
def test_every_countdown_problem_is_solved_by_its_own_answer(level, seed):
    problem = TIERS[f"countdown:{level}"](random.Random(seed))
    assert len(problem.extra["numbers"]) == level + 1
    assert countdown_fault(problem.answer, problem.extra["numbers"], problem.extra["target"]) is None


@given(st.integers(1, 3), st.integers())
def test_sums_agree_with_the_prompt(level, seed):
    problem = TIERS[f"arithmetic:{level}"](random.Random(seed))
    expression = "".join(character for character in problem.prompt if character in "0123456789+-")
    assert int(problem.answer) == eval(expression.replace("-", " - ").replace("+", " + "), {}) >= 0


@given(st.integers(1, 4), st.integers())
def test_lists_agree_with_the_operations_named_in_the_prompt(level, seed):
    problem = TIERS[f"lists:{level}"](random.Random(seed))
    order, _, items = problem.prompt.partition(": ")
    value = tuple(items.split())
    for wording in order.lower().split(", then "):
        value = next(OPERATIONS[name] for name, words in WORDINGS.items() if words == wording)(value)
    assert problem.answer == " ".join(value)


RATES = [
    ("error_rate", lambda row, look: not solved(row)),
    ("verbose_rate", lambda row, look: "Ones:" in row.completion),
]


def solved(row):
    lines = row.completion.replace("So it is ", "#### ").replace("Answer: ", "#### ").rstrip(".")
    return extract_answer(lines.replace("\nThat is it", "").rstrip(".")) == row.meta["answer"]


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("name", "shows"), RATES, ids=[name for name, _ in RATES])
def test_the_writer_errs_at_the_stated_rate(name, shows, rate):
    params = {"error_rate": 0, "tricky_error_rate": 0, "verbose_rate": 0, "malformed_rate": 0, name: rate}
    if name == "error_rate":
        params["tricky_error_rate"] = rate
    rows = arithmetic(DataRequest(Conversation, "train", 2000, 0, 2, params))
    found = sum(shows(row, None) for row in rows) / len(rows)
    assert abs(found - rate) <= 4 * (rate * (1 - rate) / len(rows)) ** 0.5


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_endings_are_broken_at_the_stated_rate(rate):
    rows = arithmetic(DataRequest(Conversation, "train", 2000, 0, 2, {"malformed_rate": rate}))
    broken = sum(not judge(row).well_formed for row in rows) / len(rows)
    assert abs(broken - rate) <= 4 * (rate * (1 - rate) / len(rows)) ** 0.5


def test_a_sum_with_a_carry_goes_wrong_more_often_than_one_without():
    rates = {"error_rate": 0.1, "tricky_error_rate": 0.8, "malformed_rate": 0}
    rows = arithmetic(DataRequest(Conversation, "train", 3000, 0, 2, rates))
    wrong = sum(not judge(row).correct for row in rows) / len(rows)
    assert 0.3 < wrong < 0.55


def test_completions_of_the_default_tier_fit_into_96_bytes():
    rows = arithmetic(DataRequest(Conversation, "train", 3000))
    assert max(len(row.completion.encode()) for row in rows) < 96
    assert {row.meta["level"] for row in rows} == {2}


def test_problems_are_not_repeated_while_there_are_others():
    rows = arithmetic(DataRequest(PromptTask, "train", 2000))
    assert len({row.prompt for row in rows}) == 2000
    assert len(arithmetic(DataRequest(PromptTask, "train", 2000, 0, 1))) == 2000


def test_a_level_with_few_problems_has_a_short_held_out_split_rather_than_repeated_items():
    rows = arithmetic(DataRequest(PromptTask, "holdout", 500, 0, 1))
    assert 0 < len(rows) < 40
    assert len({(row.prompt, row.answer) for row in rows}) == len(rows)


def test_the_world_mixes_its_tiers_by_weight():
    weights = {"arithmetic:2": 3, "lists:1": 1, "countdown:1": 0}
    rows = world(DataRequest(Conversation, "train", 2000, 0, None, {"weights": weights}))
    tiers = [(row.meta["task"], row.meta["level"]) for row in rows]
    assert set(tiers) == {("arithmetic", 2), ("lists", 1)}
    assert abs(tiers.count(("lists", 1)) / 2000 - 0.25) < 0.04


def test_a_tier_whose_held_out_problems_are_used_up_leaves_the_mixture():
    weights = {"arithmetic:1": 1, "arithmetic:2": 1}
    rows = world(DataRequest(PromptTask, "holdout", 500, 0, None, {"weights": weights}))
    assert len(rows) == 500
    assert sum(row.meta["level"] == 1 for row in rows) < 40


def test_the_world_is_disjoint_too():
    train, held = (
        {row.prompt for row in world(DataRequest(PromptTask, split, 3000))} for split in ("train", "holdout")
    )
    assert not train & held


def test_a_right_short_solution_is_worth_the_full_utility():
    row = arithmetic(DataRequest(Conversation, "train", 1, 0, 2, {"clean": True}))[0]
    assert gold_utility(Sample(row.prompt, row.completion, row.meta["answer"])) == 1.5 + CONCISE_WEIGHT


MISTAKES = [
    (arithmetic, {}, 9, ConfigError, "levels 1 to 5"),
    (arithmetic, {}, 0, ConfigError, "levels 1 to 5"),
    (arithmetic, {"error_rat": 0.1}, None, UnknownNameError, "did you mean error_rate"),
    (arithmetic, {"error_rate": "often"}, None, ConfigError, "data.params.error_rate"),
    (arithmetic, {"error_rate": 1.5}, None, ConfigError, "data.params.error_rate"),
    (arithmetic, {"temperature": -1}, None, ConfigError, "data.params.temperature"),
    (world, {"weights": {"arithmetic:9": 1}}, None, UnknownNameError, "arithmetic:9"),
    (world, {"weights": {"arithmetic:2": -1}}, None, ConfigError, "negative"),
    (world, {"weights": {"arithmetic:2": 0}}, None, ConfigError, "all be zero"),
    (world, {}, 2, ConfigError, "mixes levels"),
]


@pytest.mark.parametrize(("task", "params", "level", "error", "words"), MISTAKES)
def test_a_wrong_setting_is_named(task, params, level, error, words):
    with pytest.raises(error, match=words):
        task(DataRequest(Conversation, "train", 5, 0, level, params))


def test_a_record_type_that_is_not_made_here_is_an_error():
    with pytest.raises(DataError, match="make no Sample records"):
        arithmetic(DataRequest(Sample, "train", 5))


def test_each_task_names_the_reward_that_fits_it():
    assert (arithmetic.rewards, countdown.rewards, lists.rewards, world.rewards) == (
        ("exact",),
        ("countdown",),
        ("exact",),
        ("gold",),
    )
