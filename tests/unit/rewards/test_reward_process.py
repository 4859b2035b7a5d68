"""Rewards with a deadline and awaited rewards: real processes, real loops."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, ModelError, RewardError
from rlllm.core.records import Sample, Score
from rlllm.rewards.binding import bind
from rlllm.rewards.composition import Composition, build
from rlllm.rewards.config import DEADLINE, RewardSpec
from rlllm.rewards.isolation.memory import resident
from rlllm.rewards.score_parsing import Failure, scored

REWARDS = """
import asyncio, os, re, sys, time
from rlllm import Score
from rlllm.core.errors import ModelError

def process(sample): return os.getpid()
def chatty(sample):
    print("printed by the reward")
    return 1.0
def slow_on_b(sample):
    if sample.completion == "b":
        time.sleep(60)
    return 1.0
def regex(sample):
    return float(bool(re.fullmatch("(a+)+", sample.completion)))
def power(sample): return float(9 ** 9 ** 9 > 0)
def leaves(sample): sys.exit(0)
def dies_on_b(sample):
    if sample.completion == "b":
        os._exit(7)
    return 1.0
def closes(sample): os.closerange(3, 256)
class Local(ModelError): pass
def no_model(sample): raise Local("no such model", given=sample)
def length_of_meta(sample): return float(len(sample.meta["row"]))
def noted(sample): return Score(0.5, parsed=["a"], note=ValueError("b"))

class Counting:
    def __init__(self): self.calls = 0
    def __call__(self, sample):
        self.calls += 1
        return float(self.calls)

class SlowBatch:
    def score_batch(self, samples):
        time.sleep(60)

under_way, most = 0, 0
async def patient(sample):
    global under_way, most
    under_way += 1
    most = max(most, under_way)
    await asyncio.sleep(0.05)
    under_way -= 1
    return float(most)
async def hangs_on_b(sample):
    if sample.completion == "b":
        await asyncio.sleep(60)
    if sample.completion == "c":
        raise KeyError("c")
    if sample.completion == "d":
        raise TimeoutError("its own")
    if sample.completion == "e":
        raise asyncio.CancelledError
    return 1.0
async def blocks_on_b(sample):
    if sample.completion == "b":
        time.sleep(60)
    return 1.0
class AsyncCall:
    async def __call__(self, sample): return 2.0
class AsyncBatch:
    async def score_batch(self, samples):
        await asyncio.sleep(0)
        return [float(number) for number in range(len(samples))]
class AsyncModel:
    async def __call__(self, sample): raise ModelError("no such model")
"""


@pytest.fixture
def rewards(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(REWARDS)
    return path


def compose(*written: Any, **settings: Any) -> Composition:
    return build([RewardSpec.model_validate(spec) for spec in written], **{"max_error_rate": 1.0, **settings})


def samples(*completions: str) -> list[Sample]:
    return [Sample("question", completion, "7") for completion in completions]


def failures(spec: Any, *completions: str) -> list[str]:
    """What a reward alone says of completions on all of which it fails."""
    reward = compose(spec).rewards[0]
    results = scored(reward.score_sample, reward.score_batch, samples(*completions))
    return [result.phrase for result in results if isinstance(result, Failure)]


def line(attribute: str, words: str) -> int:
    """Number of the line with these words, from the attribute's definition on."""
    lines = REWARDS.splitlines()
    start = next(
        number for number, text in enumerate(lines) if f"def {attribute}(" in text or f"class {attribute}:" in text
    )
    return next(number for number, text in enumerate(lines) if number >= start and words in text) + 1


def test_a_reward_of_a_file_runs_in_another_process_and_one_of_ours_or_without_a_deadline_here(rewards: Path) -> None:
    name = f"{rewards}:process"
    composition = compose(name, {"name": name, "deadline": 0})
    first, second = composition.score(samples("a", "a")).values
    assert second == [os.getpid()] * 2
    assert first[0] == first[1] != os.getpid()
    assert bind(RewardSpec(name="exact"), "exact").deadline is None
    assert bind(RewardSpec(name=name), "mine").deadline == DEADLINE
    assert bind(RewardSpec(name="exact", deadline=3), "exact").deadline == 3
    assert compose({"name": "exact", "deadline": 3}).score(samples("#### 7", "7")).totals == [1.0, 0.0]


@pytest.mark.parametrize("name", ["cosine", "flipped"])
def test_a_reward_that_asks_another_takes_over_its_deadline(rewards: Path, name: str) -> None:
    arguments = {"limit": 9} if name == "cosine" else {}
    inner = {"name": f"{rewards}:Counting", "deadline": 5}
    assert bind(RewardSpec(name=name, params={**arguments, "reward": inner}), name).deadline == 5
    assert bind(RewardSpec(name=name, params={**arguments, "reward": "exact"}), name).deadline is None


def test_one_late_sample_has_no_score_and_the_rest_of_the_batch_has_one(rewards: Path) -> None:
    start = time.perf_counter()
    scores = compose({"name": f"{rewards}:slow_on_b", "deadline": 0.3}).score(samples("a", "b", "a", "a"))
    assert time.perf_counter() - start < 10
    assert scores.totals == [1.0, None, 1.0, 1.0]
    (issue,) = scores.errors
    assert issue.message == f"took longer than 0.3 s (mine.py, line {line('slow_on_b', 'sleep')})"
    assert issue.seconds is not None
    assert 0.3 <= issue.seconds < 2.5


@pytest.mark.parametrize(("attribute", "completion"), [("regex", "a" * 40 + "b"), ("power", "")])
def test_code_that_holds_the_interpreter_lock_is_ended_all_the_same(
    rewards: Path, attribute: str, completion: str
) -> None:
    (said,) = failures({"name": f"{rewards}:{attribute}", "deadline": 0.3}, completion)
    assert said.startswith("took longer than 0.3 s (mine.py, line")


def test_a_batch_of_late_samples_is_given_up_after_the_third(rewards: Path) -> None:
    said = failures({"name": f"{rewards}:slow_on_b", "deadline": 0.1}, *"bbbab")
    assert [words.partition(" (")[0] for words in said] == [
        *["took longer than 0.1 s"] * 3,
        *["was not asked: 3 samples of the batch before it had cost their process"] * 2,
    ]


def test_a_batch_in_one_call_has_the_deadline_times_its_samples(rewards: Path) -> None:
    said = failures({"name": f"{rewards}:SlowBatch", "deadline": 0.1}, "a", "b", "c")
    assert [words.partition(" (")[0] for words in said] == ["took longer than 0.3 s"] * 3


def test_a_process_that_ends_is_named_and_the_next_sample_gets_another(rewards: Path) -> None:
    scores = compose(f"{rewards}:dies_on_b").score(samples("a", "b", "a"))
    assert scores.totals == [1.0, None, 1.0]
    assert scores.errors[0].message == "ended its process with code 7"
    assert failures(f"{rewards}:closes", "a") == ["ended its process by signal SIGKILL"]


@pytest.mark.parametrize("deadline", [0, 5])
def test_sys_exit_in_a_reward_is_an_error_of_the_reward(rewards: Path, deadline: float) -> None:
    said = failures({"name": f"{rewards}:leaves", "deadline": deadline}, "a")
    assert said == [f"raised SystemExit: 0 (mine.py, line {line('leaves', 'exit')})"]


def test_what_a_reward_keeps_lives_as_long_as_its_process(rewards: Path) -> None:
    composition = compose(f"{rewards}:Counting")
    assert composition.score(samples("a", "b")).totals == [1.0, 2.0]
    assert composition.score(samples("a")).totals == [3.0]
    release = composition.rewards[0].release
    assert release is not None
    release()
    assert composition.score(samples("a")).totals == [1.0]


def test_what_a_reward_prints_goes_to_stderr(rewards: Path, capfd: pytest.CaptureFixture[str]) -> None:
    compose(f"{rewards}:chatty").score(samples("a"))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "printed by the reward\n") or "printed" in captured.err


def test_an_error_of_setup_crosses_the_border_with_its_kind(rewards: Path) -> None:
    with pytest.raises(ModelError, match="no such model") as caught:
        compose(f"{rewards}:no_model").score(samples("a"))
    assert caught.value.exit_code == 2


def test_working_that_is_no_text_is_shown_as_text(rewards: Path) -> None:
    assert compose(f"{rewards}:noted").score(samples("a")).details == [[Score(0.5, "['a']", "b")]]


def test_a_row_that_cannot_travel_is_refused_with_the_way_out(rewards: Path) -> None:
    composition = compose(f"{rewards}:length_of_meta")
    with pytest.raises(RewardError, match="process of its own, which cannot be given this row") as caught:
        composition.score([Sample("q", "a", meta={"row": threading.Lock()})])
    assert "deadline: 0" in str(caught.value)
    assert composition.score([Sample("q", "a", meta={"row": [1, 2]})]).totals == [2.0]


def test_code_that_changes_under_a_run_ends_it_by_name(rewards: Path) -> None:
    composition = compose(f"{rewards}:chatty")
    rewards.write_text(REWARDS.replace("return 1.0", "return 2.0"))
    with pytest.raises(RewardError, match="the code of the reward chatty is no longer what the run began with"):
        composition.score(samples("a"))


def test_threads_take_turns_and_every_count_is_right(rewards: Path) -> None:
    composition = compose(f"{rewards}:Counting", "exact")
    seen: list[float | None] = []

    def score() -> None:
        for _ in range(5):
            seen.extend(composition.score(samples("a", "b")).values[0])

    threads = [threading.Thread(target=score) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(value for value in seen if value) == [float(number) for number in range(1, 41)]
    assert {name: tally.seen for name, tally in composition.tallies.items()} == {"Counting": 40, "exact": 40}


@pytest.mark.parametrize("deadline", [0, 5])
def test_async_rewards_are_awaited_side_by_side_but_not_all_at_once(rewards: Path, deadline: float) -> None:
    rewards = rewards.rename(rewards.with_name(f"mine{deadline}.py"))
    totals = compose({"name": f"{rewards}:patient", "deadline": deadline}).score(samples(*"a" * 80)).totals
    assert max(total or 0 for total in totals) == 32
    assert compose({"name": f"{rewards}:AsyncCall", "deadline": deadline}).score(samples("a")).totals == [2.0]
    assert compose({"name": f"{rewards}:AsyncBatch", "deadline": deadline}).score(samples("a", "b")).totals == [
        0.0,
        1.0,
    ]
    with pytest.raises(ModelError, match="no such model"):
        compose({"name": f"{rewards}:AsyncModel", "deadline": deadline}).score(samples("a", "b"))


def test_every_way_an_awaited_sample_fails_is_its_own(rewards: Path) -> None:
    start = time.perf_counter()
    scores = compose({"name": f"{rewards}:hangs_on_b", "deadline": 0.5}).score(samples(*"abcdea"))
    assert time.perf_counter() - start < 5
    assert scores.totals == [1.0, None, None, None, None, 1.0]
    said = [issue.message for issue in scores.errors]
    assert said[0] == "took longer than 0.5 s"
    assert [words.partition(" (")[0] for words in said[1:]] == [
        "raised KeyError: 'c'",
        "raised TimeoutError: its own",
        "raised CancelledError",
    ]


def test_a_sample_that_blocks_the_loop_is_found_among_those_awaited_with_it(rewards: Path) -> None:
    scores = compose({"name": f"{rewards}:blocks_on_b", "deadline": 0.3}).score(samples(*"aaba"))
    assert scores.totals == [1.0, 1.0, None, 1.0]
    assert scores.errors[0].message == f"took longer than 0.3 s (mine.py, line {line('blocks_on_b', 'sleep')})"


def test_the_samples_a_reward_fails_on_stand_in_the_quarantine_file(rewards: Path, tmp_path: Path) -> None:
    spec = {"name": f"{rewards}:slow_on_b", "deadline": 0.2}
    composition = compose(spec, max_error_rate=0.05).quarantined(tmp_path)
    composition.score(samples("a", "\ud83d"))
    assert not (tmp_path / "quarantine.jsonl").exists()
    with pytest.raises(RewardError, match=r"failed on 1 of 8 completions; first it took longer than 0.2 s"):
        composition.score(samples(*"abaaa", "\ud83d"))
    (row,) = map(json.loads, (tmp_path / "quarantine.jsonl").read_text().splitlines())
    assert {key: row[key] for key in ("reward", "prompt", "completion", "answer")} == {
        "reward": "slow_on_b",
        "prompt": "question",
        "completion": "b",
        "answer": "7",
    }
    assert row["reason"].startswith("took longer than 0.2 s (mine.py, line")
    assert 0.2 <= row["seconds"] < 2.5
    (fault,) = composition.faults()
    assert (fault["reward"], fault["failed"], fault["seen"], fault["grown"]) == ("slow_on_b", 1, 8, 0)


def test_half_an_emoji_is_quarantined_and_read_back_as_it_was(tmp_path: Path, rewards: Path) -> None:
    composition = compose({"name": f"{rewards}:leaves", "deadline": 0}).quarantined(tmp_path)
    with pytest.raises(RewardError):
        composition.score(samples("\ud83d \u00fc"))
    assert json.loads((tmp_path / "quarantine.jsonl").read_text(encoding="utf-8"))["completion"] == "\ud83d \u00fc"


def test_memory_is_known_of_a_living_process_only() -> None:
    assert (resident(os.getpid()) or 2**24) > 2**23
    assert resident(None) is None
    assert resident(2**22 + 1) is None


@pytest.mark.parametrize("deadline", [-1, float("nan"), float("inf"), "soon"])
def test_a_deadline_is_a_number_of_seconds(deadline: Any) -> None:
    with pytest.raises((ConfigError, ValueError)):
        RewardSpec(name="exact", deadline=deadline)


@pytest.mark.parametrize(("name", "params"), [("regex", {"pattern": "(a+)+$"}), ("schema", {})])
def test_a_reward_whose_patterns_may_backtrack_for_ever_has_a_deadline(name: str, params: dict[str, str]) -> None:
    assert bind(RewardSpec(name=name, params=params), name).deadline == 5.0
    assert bind(RewardSpec(name=name, params=params, deadline=0), name).deadline is None
