"""E3RL: uncertainty and thresholds with the numbers of its specification, the loop of segments, and runs on a tiny model."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

import rlllm
from rlllm.algorithms.erasing.segments import described, sample_segments
from rlllm.algorithms.erasing.uncertainty import Uncertainty, mean_change, smoothed_last
from rlllm.algorithms.protocols import Candidates, Erasure
from rlllm.core.errors import RlllmError
from rlllm.core.runs import Run, read_jsonl
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.training.cost import cost_of

END = 9
ONE_TERM: dict[str, Any] = {"change_weight": 0.0, "peak_weight": 0.0, "history_weight": 0.0}
"""U is the mean entropy alone."""
UNSMOOTHED: dict[str, Any] = {**ONE_TERM, "smoothing_window": 0}


def of(*values: float) -> list[Tensor]:
    """One-token segments of these entropies."""
    return [torch.tensor([value]) for value in values]


def test_the_uncertainty_has_the_numbers_of_the_specification() -> None:
    part = Uncertainty()
    part.begin(1, 1)
    part._moments = 0.4, 0.44159
    smoothed, uncertain = [], []
    for segment, values in enumerate(([0.1, 0.3, 0.2, 0.2], [0.1, 1.5, 0.2, 0.6])):
        levels = part._uncertainties(Candidates(segment, 0, [0], [torch.tensor(values)]))
        uncertain += levels[0]
        smoothed += levels[1]
    assert smoothed == pytest.approx([0.2, 0.46667], abs=1e-5)
    assert uncertain == pytest.approx([0.33873, 1.16804], abs=1e-4)


def test_the_threshold_has_the_numbers_of_the_specification() -> None:
    part = Uncertainty(**ONE_TERM)
    part.load_state_dict({"mean_deviation": 0.2})
    part.begin(4, 4)
    rejected = part.rejects(Candidates(0, 0, range(4), of(0.4, 0.5, 0.45, 0.9)))
    assert part._bases[0] == pytest.approx(0.75957, abs=1e-4)
    assert rejected.tolist() == [False, False, False, True]
    limits = [part._threshold(3, 0, erasures) for erasures in range(4)]
    assert limits == pytest.approx([0.7596, 0.8394, 0.9277, 1.0253], abs=1e-4)
    assert part.rejects(Candidates(0, 1, [3], of(0.9))).tolist() == [True]
    assert part.rejects(Candidates(0, 2, [3], of(0.9))).tolist() == [False]


def test_a_completion_that_was_more_uncertain_than_its_group_is_judged_more_mildly() -> None:
    part = Uncertainty(**{**UNSMOOTHED, "history_weight": 0.5})
    part.begin(4, 4)
    part.rejects(Candidates(0, 0, range(4), of(0.2, 0.2, 0.2, 1.0)))
    base = part._bases[0]
    part.rejects(Candidates(1, 0, range(4), of(0.2, 0.2, 0.2, 0.3)))
    phi = 1 + 0.5 * math.tanh((1.0 - base) / base)
    assert part._threshold(3, 1, 0) == pytest.approx(part._bases[0] * phi)
    assert part._threshold(3, 1, 0) > part._threshold(0, 1, 0)


def test_the_average_deviation_follows_the_rollouts_and_is_in_the_checkpoint() -> None:
    part = Uncertainty(**ONE_TERM, average_decay=0.5)
    for values in ((0.0, 2.0), (0.0, 4.0)):
        part.begin(2, 2)
        part.rejects(Candidates(0, 0, range(2), of(*values)))
        part.end(lambda total: total)
    assert part.mean_deviation == 1.5
    other = Uncertainty()
    other.load_state_dict(part.state_dict())
    assert other.mean_deviation == 1.5
    part.begin(1, 1)
    part.end(lambda total: total)
    assert part.mean_deviation == 1.5


def test_a_completion_without_live_siblings_is_not_erased() -> None:
    part = Uncertainty(**ONE_TERM, kappa_base=0.5)
    part.begin(4, 2)
    assert part.rejects(Candidates(0, 0, [1, 2, 3], of(99.0, 0.1, 0.5))).tolist() == [False, False, True]


def test_the_random_control_erases_as_many() -> None:
    torch.manual_seed(0)
    part = Uncertainty(**ONE_TERM, control="random")
    places = []
    for _ in range(60):
        part.begin(8, 8)
        rejected = part.rejects(Candidates(0, 0, range(8), of(*[0.1] * 7, 0.9)))
        assert rejected.sum() == 1
        places.append(int(rejected.long().argmax()))
    assert len(set(places)) == 8


@given(st.lists(st.floats(0, 3), min_size=1, max_size=5), st.integers(0, 3), st.floats(0.1, 1))
def test_smoothing_stays_between_the_means_and_looks_back_only(means: list[float], window: int, decay: float) -> None:
    value = smoothed_last(means, window, decay)
    assert min(means) - 1e-9 <= value <= max(means) + 1e-9
    assert value == smoothed_last(means[-window - 1 :], window, decay)
    assert smoothed_last(means, 0, decay) == means[-1]


def test_the_change_of_a_single_token_is_zero() -> None:
    assert mean_change(torch.tensor([2.0])) == 0
    assert mean_change(torch.tensor([0.1, 1.5, 0.2, 0.6])) == pytest.approx(3.1 / 3)


class Picky(Erasure):
    """Rejects every candidate, or those of odd rows, and keeps what it was shown."""

    def __init__(self, length: int, erasures: int, *, odd: bool = False) -> None:
        self.segment_length, self.max_erasures, self.odd = length, erasures, odd
        self.seen: list[Candidates] = []

    def rejects(self, candidates: Candidates) -> Tensor:
        self.seen.append(candidates)
        return torch.tensor([row % 2 == 1 or not self.odd for row in candidates.rows])


class Numbers:
    """Samples rising numbers, so that every candidate is told from every other; row 0 ends after two segments."""

    def __init__(self) -> None:
        self.last = 100
        self.calls: list[tuple[list[list[int]], int]] = []

    def __call__(self, prefixes: list[list[int]], most: int) -> list[list[int]]:
        self.calls.append(([list(prefix) for prefix in prefixes], most))
        segments = []
        for prefix in prefixes:
            self.last += most
            numbers = list(range(self.last - most, self.last))
            segments.append([*numbers[:-1], END] if prefix[0] == 0 and len(prefix) > 2 else numbers)
        return segments


def entropies(prefixes: list[list[int]], segments: list[list[int]]) -> list[Tensor]:
    return [torch.tensor(segment, dtype=torch.float32) for segment in segments]


def segmented(erasure: Erasure, sample: Numbers, longest: int = 7) -> Any:
    return sample_segments(
        [[0], [1], [2]], erasure, group_size=3, longest=longest, stops={END}, sample=sample, entropies=entropies
    )


def test_a_segment_has_so_many_candidates_at_most_and_committed_prefixes_stay() -> None:
    sample = Numbers()
    result = segmented(Picky(3, 2), sample)
    assert result.candidates == [9, 9, 6]
    assert result.erased == [6, 6, 4]
    assert result.forced == 3 + 3 + 2
    assert [len(ids) for ids in result.completions] == [6, 7, 7]
    assert result.erased_tokens == 6 * 3 + 6 * 3 + 4 * 1
    assert [most for _, most in sample.calls] == [3, 3, 3, 3, 3, 3, 1, 1, 1]
    for prefixes, _ in sample.calls:
        for prefix in prefixes:
            assert prefix[1:] == result.completions[prefix[0]][: len(prefix) - 1]
    assert result.completions[0][-1] == END
    sampled = sum(len(prefixes) * most for prefixes, most in sample.calls)
    assert sampled == sum(map(len, result.completions)) + result.erased_tokens


def test_only_what_was_rejected_is_sampled_again() -> None:
    part, sample = Picky(4, 1, odd=True), Numbers()
    result = segmented(part, sample, longest=4)
    assert [list(candidates.rows) for candidates in part.seen] == [[0, 1, 2], [1]]
    assert result.completions == [[100, 101, 102, 103], [112, 113, 114, 115], [108, 109, 110, 111]]
    assert described(result) == {
        "erase/rate": 0.25,
        "erase/candidates_per_segment": pytest.approx(4 / 3),
        "erase/erased_tokens": 4.0,
        "erase/erased_share": 0.25,
        "erase/forced_share": pytest.approx(1 / 3),
        "erase/rate_segment_1": 0.25,
    }


def test_without_erasures_nothing_is_judged() -> None:
    part, sample = Picky(3, 0), Numbers()
    result = segmented(part, sample)
    assert not part.seen
    assert result.candidates == [3, 3, 2]
    assert result.erased_tokens == 0


QUICK: dict[str, Any] = {
    "model": "nano",
    "method": "e3rl",
    "data": {"name": "arithmetic", "level": 2, "rows": 32, "holdout": 4},
    "rewards": ["exact"],
    "rollout": {"max_new_tokens": 40, "group_size": 4},
    "per_device_train_batch_size": 16,
    "max_steps": 2,
}


def planned(**settings: Any) -> Any:
    return plan(resolve_settings("reason", {}, [*{**QUICK, **settings}.items()]))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"rollout": {"group_size": 1}}, "compares a segment with those of the group's other completions"),
    ({"off_policy": "demonstrations"}, "demonstrations stand in the groups"),
    ({"environment": "calculator", "data": {"name": "calculator"}}, "an environment has several turns"),
    ({"erase.segment_length": 0}, "segment_length is 1 or more"),
    ({"erase.control": "all"}, "control of erase e3rl|erase e3rl"),
    ({"erase": "entropie"}, "unknown erase"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_combination_without_meaning_is_refused_with_the_reason(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RlllmError, match=words):
        planned(**settings)


def test_a_plan_says_what_erasing_may_cost() -> None:
    made = planned(**{"erase.max_erasures": 2})
    cost = cost_of(made)
    assert cost is not None
    assert cost.tokens_erased == 2 * cost.tokens_sampled
    assert any("tokens more are sampled, in segments that are erased" in value for _, value in cost.lines())
    assert any("erase=e3rl" in value for _, value in made.lines())
    assert planned(mask="ict", **{"mask.warmup_steps": 0}).equals is None


LONGEST = 12
RUN: dict[str, Any] = {
    "data": {"name": "arithmetic", "rows": 16, "holdout": 0},
    "rollout": {"max_new_tokens": LONGEST, "group_size": 4},
    "per_device_train_batch_size": 8,
    "max_steps": 2,
    "learning_rate": 1e-3,
    "save_strategy": "no",
}
REWARD = "def odd(sample): return float(sum(sample.completion.encode()) % 2)\n"


@pytest.fixture
def train(tiny_model: str, tmp_path: Path) -> Callable[..., Run]:
    (tmp_path / "rewards.py").write_text(REWARD)
    rewards = [{"name": f"{tmp_path / 'rewards.py'}:odd", "deadline": 0}]

    def call(name: str, **settings: Any) -> Run:
        given = {**RUN, "model": tiny_model, "rewards": rewards, **settings}
        return rlllm.reason(output_dir=tmp_path / name, **given)

    return call


def weights(run: Run) -> dict[str, Tensor]:
    files = sorted((run.path / "model").glob("*.safetensors"))
    return {name: values for file in files for name, values in load_file(file).items()}


def equal(one: Run, other: Run) -> bool:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


SCHEDULES: list[dict[str, Any]] = [{}, {"gradient_accumulation_steps": 2}, {"num_iterations": 2, "lora": {"r": 2}}]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_one_segment_without_erasures_is_grpo_to_the_bit(train: Callable[..., Run], schedule: dict[str, Any]) -> None:
    plain = train("plain", method="grpo", **schedule)
    whole = train("whole", method="e3rl", erase={"segment_length": LONGEST, "max_erasures": 0}, **schedule)
    assert equal(plain, whole)
    seen = [[row["num_tokens"] for row in run.metrics() if "num_tokens" in row] for run in (plain, whole)]
    assert seen[0] == seen[1]


def test_a_threshold_that_nothing_passes_is_sampling_in_segments(train: Callable[..., Run]) -> None:
    never = train("never", method="e3rl", erase={"segment_length": 4, "kappa_base": 1e9})
    without = train("without", method="e3rl", erase={"segment_length": 4, "max_erasures": 0})
    assert equal(never, without)
    assert never.metrics()[-1]["erase/rate"] == 0


@pytest.mark.parametrize("engine", ["native", "hf"])
def test_erased_tokens_are_counted_and_completions_have_what_was_kept(train: Callable[..., Run], engine: str) -> None:
    erase = {"segment_length": 3, "kappa_base": 0.0, "kappa_slope": 0.0, "max_erasures": 2}
    rollout = {**RUN["rollout"], "engine": engine}
    run = train(engine, method="e3rl", erase=erase, rollout=rollout)
    rows = run.metrics()
    assert all(0 < row["erase/rate"] < 1 for row in rows)
    erased = sum(row["erase/erased_tokens"] for row in rows)
    kept = sum(row["tokens"] for row in read_jsonl(run.path / "samples.jsonl"))
    shared = rows[-1]["num_tokens"] - erased - kept
    prompts = train("plain", method="grpo", rollout=rollout)
    own = sum(row["tokens"] for row in read_jsonl(prompts.path / "samples.jsonl"))
    assert shared == prompts.metrics()[-1]["num_tokens"] - own
