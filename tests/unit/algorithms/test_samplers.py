"""Samplers by themselves: what they accept, swap, show and remember, and that a state restores them."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlllm.algorithms.off_policy.demonstrations import Demonstrations, inserted
from rlllm.algorithms.protocols import Sampler, Setup, as_component
from rlllm.algorithms.samplers.dynamic_sampling import Dynamic, informative
from rlllm.algorithms.samplers.hints import Hints, beginning
from rlllm.algorithms.samplers.order import InOrder
from rlllm.algorithms.samplers.pass_band import PassBand
from rlllm.algorithms.samplers.pass_rates import PassRates
from rlllm.algorithms.samplers.prompt_stream import Stream
from rlllm.algorithms.samplers.replay import Replay
from rlllm.algorithms.stored_group import StoredGroup, spread
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import PromptTask

NAN = math.nan
GROUPS = [
    ([0.0, 1.0, 0.0], True),
    ([1.0, 1.0, 1.0], False),
    ([0.0, 0.0, 0.0], False),
    ([NAN, NAN, NAN], False),
    ([NAN, 1.0, 1.0], False),
    ([NAN, 1.0, 0.5], True),
    ([NAN, NAN, 0.5], False),
]


@pytest.mark.parametrize(("rewards", "expected"), GROUPS)
def test_a_group_is_informative_where_two_defined_rewards_differ(rewards: list[float], expected: bool) -> None:
    assert informative(torch.tensor([rewards])).tolist() == [expected]


@given(rows=st.integers(1, 20), seed=st.integers(0, 5), skip=st.integers(0, 50))
def test_a_stream_reads_every_prompt_once_a_pass_and_goes_on_from_its_cursor(rows: int, seed: int, skip: int) -> None:
    stream = Stream(rows, seed)
    read = [stream.next() for _ in range(3 * rows + skip)]
    assert all(sorted(read[turn * rows : (turn + 1) * rows]) == list(range(rows)) for turn in range(3))
    later = Stream(rows, seed, cursor=skip)
    assert [later.next() for _ in range(3 * rows)] == read[skip:]


@given(rows=st.integers(1, 12), count=st.integers(1, 30), tried=st.sets(st.integers(0, 11)))
def test_dynamic_draws_as_many_as_asked_and_no_tried_prompt_while_there_are_others(
    rows: int, count: int, tried: set[int]
) -> None:
    sampler = Dynamic()
    sampler.begin(rows, 0)
    tried = {row for row in tried if row < rows}
    drawn = sampler.draw(count, tried)
    others = rows - len(tried)
    assert len(drawn) == count
    assert len(set(drawn[:others]) - tried) == min(others, count)


def test_dynamic_resumes_at_its_cursor() -> None:
    first, second = Dynamic(), Dynamic()
    for sampler in (first, second):
        sampler.begin(9, 4)
    first.draw(5, [])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert first.draw(7, [1]) == second.draw(7, [1])


def test_a_pass_rate_is_an_exponential_mean_over_judged_completions() -> None:
    rates = PassRates(threshold=0.5, keep=0.7)
    rates.observe([3, 4], torch.tensor([[1.0, 0.4, NAN, 0.5], [NAN] * 4]))
    assert rates.seen == {3: (pytest.approx(2 / 3), 1)}
    rates.observe([3], torch.tensor([[0.0] * 4]))
    assert rates.seen[3] == (pytest.approx(0.7 * 2 / 3), 2)
    other = PassRates()
    other.load_state_dict(json.loads(json.dumps(rates.state_dict())))
    assert other.seen == rates.seen


def band(**settings: float) -> PassBand:
    sampler = PassBand(**settings)  # type: ignore[arg-type]
    sampler.begin(6, 0)
    sampler.observe([0, 1, 2], torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]))
    return sampler


def test_band_swaps_prompts_known_to_lie_outside_for_others_of_unknown_or_fitting_rate() -> None:
    proposed = band().propose([0, 1, 2, 3])
    assert proposed[2:] == [2, 3]
    assert sorted(proposed[:2]) == [4, 5]


def test_band_keeps_a_prompt_when_there_is_no_other() -> None:
    assert band().propose([0, 1, 2, 3, 4, 5]) == [0, 1, 2, 3, 4, 5]


def test_band_waits_until_a_prompt_is_known() -> None:
    assert band(patience=2).propose([0, 1]) == [0, 1]


def test_band_asks_a_prompt_again_every_revisit_th_time() -> None:
    sampler = band(revisit=3)
    assert [sampler.propose([0]) == [0] for _ in range(6)] == [False, False, True, False, False, True]


def test_band_restored_from_its_state_goes_on_alike() -> None:
    first, second = band(), PassBand()
    second.begin(6, 0)
    first.propose([0, 1])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.state_dict() == first.state_dict()
    assert [first.propose([0, 1]) for _ in range(5)] == [second.propose([0, 1]) for _ in range(5)]


def group(name: int, worth: float) -> StoredGroup:
    return StoredGroup(name, [1, 2], [{"completion_ids": [name]}] * 2, [[0.0], [1.0]], worth)


def test_replay_takes_the_most_mixed_first_then_the_oldest_and_none_too_often() -> None:
    sampler = Replay(size=3, uses=2, age=8)
    sampler.store([group(0, 0.2), group(1, 0.5)])
    sampler.store([group(2, 0.5)])
    assert [one.row for one in sampler.replay(2)] == [1, 2]
    sampler.store([])
    assert [one.row for one in sampler.replay(5)] == [1, 2, 0]
    sampler.store([])
    assert [one.row for one in sampler.replay(5)] == [0]
    sampler.store([])
    assert sampler.replay(5) == []


def test_replay_forgets_what_is_old_and_keeps_no_more_than_its_size() -> None:
    sampler = Replay(size=2, age=2)
    sampler.store([group(0, 1.0), group(1, 1.0), group(2, 1.0)])
    assert [kept.group.row for kept in sampler.buffer] == [1, 2]
    sampler.store([])
    sampler.store([])
    assert len(sampler.buffer) == 2
    sampler.store([])
    assert sampler.buffer == []


def test_replay_is_restored_to_the_bit() -> None:
    first, second = Replay(), Replay()
    odd = float(torch.tensor(-0.1).log1p())
    stored = StoredGroup(7, [1], [{"old_per_token_logps": [odd], "off_policy": [True]}], [[NAN], [0.1]], 0.3)
    first.store([stored, group(1, 0.5)])
    first.replay(1)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.state_dict() == first.state_dict()
    assert second.buffer[0].group.tokens == [{"old_per_token_logps": [odd], "off_policy": [True]}]


@pytest.mark.parametrize(
    ("rewards", "expected"), [([0.0, 1.0], 0.5), ([1.0, NAN, 1.0], 0.0), ([NAN], 0.0), ([0.0, 0.0, 3.0], math.sqrt(2))]
)
def test_spread_is_the_deviation_of_what_was_judged(rewards: list[float], expected: float) -> None:
    assert spread(rewards) == pytest.approx(expected)


TEXT = "4+5=9\n2+3=5\n#### 59"


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, ""), (0.24, ""), (0.25, "4+5=9"), (0.5, "4+5=9\n2+3=5"), (0.75, "4+5=9\n2+3=5\n####")]
)
def test_a_hint_is_the_first_words_with_their_line_breaks(share: float, expected: str) -> None:
    assert beginning(TEXT, share) == expected


def test_hints_show_more_the_lower_the_pass_rate_and_nothing_of_new_prompts() -> None:
    sampler = Hints(most=0.5)
    task = PromptTask("What is 45 + 14?", "59", {"solution": TEXT})
    assert sampler.show(0, task) is task.prompt
    sampler.observe([0, 1, 2], torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))
    assert sampler.show(0, task) == "What is 45 + 14?\nThe solution begins:\n4+5=9\n2+3=5"
    assert sampler.show(1, task) == "What is 45 + 14?\nThe solution begins:\n4+5=9"
    assert sampler.show(2, task) is task.prompt


def test_a_hint_stands_in_the_last_turn_of_a_chat_and_leaves_the_task_alone() -> None:
    sampler = Hints()
    sampler.observe([0], torch.tensor([[0.0]]))
    turns = [{"role": "system", "content": "Sums."}, {"role": "user", "content": "1+1?"}]
    shown = sampler.show(0, PromptTask(turns, "2", {"solution": "1+1=2 #### 2"}))
    assert shown[1]["content"] == "1+1?\nThe solution begins:\n1+1=2"  # type: ignore[index]
    assert turns[1]["content"] == "1+1?"


def setup(tasks: list[PromptTask], group_size: int = 8) -> Setup:
    return Setup(group_size, tasks, ["exact"], [1.0], "loss", off_policy=True)


WITHOUT = [PromptTask("a", "1", {"solution": "1"}), PromptTask("b", "2", {"solution": " ", "worked": "x"})]


@pytest.mark.parametrize("part", [Hints(), Demonstrations()], ids=["hints", "demonstrations"])
def test_rows_without_a_solution_are_refused_before_anything_runs(part: Hints | Demonstrations) -> None:
    with pytest.raises(ConfigError, match="1 of 2 rows") as caught:
        part.check(setup(WITHOUT))
    assert "worked" in caught.value.exists
    with pytest.raises(DataError, match="no text in the column solution"):
        Demonstrations().ids(WITHOUT[1], None, 4)


def test_demonstrations_are_the_last_of_each_group() -> None:
    assert Demonstrations(count=1).places(6, 3) == [2, 5]
    assert Demonstrations(count=2).places(6, 3) == [1, 2, 4, 5]
    assert inserted({2: ["t"], 5: ["u"]}, [["a"], ["b"], ["c"], ["d"]]) == [["a"], ["b"], ["t"], ["c"], ["d"], ["u"]]


WRONG = [
    lambda: Dynamic(max_rounds=0),
    lambda: PassBand(low=0.5, high=0.5),
    lambda: PassBand(patience=0),
    lambda: Replay(size=0),
    lambda: Hints(most=1.0),
    lambda: Demonstrations(count=0),
    lambda: Demonstrations(count=4).check(setup([], group_size=4)),
]


@pytest.mark.parametrize("make", WRONG, ids=range(len(WRONG)))
def test_values_that_make_no_sense_are_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]


def test_a_plain_function_is_a_sampler_that_only_orders() -> None:
    sampler = as_component("sampler", lambda rows, seed, epoch: [0] * rows)
    assert isinstance(sampler, Sampler)
    assert sampler(3, 0, 0) == [0, 0, 0]
    assert sampler.propose([2, 1]) == [2, 1]
    assert sampler.accepts(torch.zeros(2, 4)).tolist() == [True, True]
    assert (sampler.max_rounds, sampler.draw(3, []), sampler.replay(3)) == (0, [], [])
    in_order = InOrder()
    assert as_component("sampler", in_order) is in_order


def test_samplers_are_made_without_torch() -> None:
    names = (
        "samplers.order",
        "samplers.dynamic_sampling",
        "samplers.pass_band",
        "samplers.replay",
        "samplers.hints",
        "off_policy.demonstrations",
    )
    modules = ", ".join(f"rlllm.algorithms.{name}" for name in names)
    program = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
