"""Rewards built from names, scored together, and their errors counted: never a 0.0 for a reward that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError, ExitCode, RewardError, RlllmError
from rlllm.core.records import Sample, Score
from rlllm.rewards.composition import Composition, Issue, build
from rlllm.rewards.config import RewardSpec

REWARDS = """
from dataclasses import dataclass
from rlllm import Score
from rlllm.core.errors import ModelError

def one(sample): return 1
def true(sample): return True
def vowels(sample, letters: str = "aeiou", scale: float = 1.0):
    return scale * sum(letter in letters for letter in sample.completion)
def nothing(sample): return None
def nothing_in_a_score(sample): return Score(None, note="no idea")
def nan(sample): return float("nan")
def infinite(sample): return -float("inf")
def text(sample): return "good"
def forgetful_list(sample): return [1.0]
def nan_in_a_score(sample): return Score(float("nan"))
def broken(sample): return 1 / 0
def broken_on_b(sample):
    if sample.completion == "b":
        raise KeyError("b")
    return 1.0
def no_model(sample): raise ModelError("no such model", given="m")
def no_sample(): return 1.0
def anything(sample, **settings): return float(len(settings))
number = 3

class Plain:
    def __init__(self, factor: int = 2): self.factor = factor
    def __call__(self, sample): return float(self.factor)

class Picky:
    def __init__(self, factor=2):
        if factor > 2: raise ValueError("factor above 2")
    def __call__(self, sample): return 1.0

class NotAReward:
    pass

class Batch:
    def score_batch(self, samples): return [float(len(sample.completion)) for sample in samples]

class ShortBatch:
    def score_batch(self, samples): return [1.0]

class NoListBatch:
    def score_batch(self, samples): return 1.0

class BrokenBatch:
    def score_batch(self, samples): raise OSError("disk on fire")
"""


@pytest.fixture
def rewards(tmp_path: Path) -> Path:
    path = tmp_path / "rewards.py"
    path.write_text(REWARDS)
    return path


def compose(*written: Any, **settings: Any) -> Composition:
    return build([RewardSpec.model_validate(spec) for spec in written], **settings)


def samples(*completions: str) -> list[Sample]:
    return [Sample("question", completion, "7") for completion in completions]


def test_every_reward_is_seen_by_itself_and_the_total_is_the_weighted_sum() -> None:
    scores = compose("exact", {"name": "format", "weight": 0.5}, {"name": "length", "weight": 2, "budget": 7}).score(
        samples("#### 7", "7 is it", "#### 7 #")
    )
    assert scores.names == ["exact", "format", "length"]
    assert scores.values == [[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, -1.0]]
    assert scores.totals == [1.5, 0.0, -1.5]
    assert [cell["value"] for cell in scores.describe(2).values()] == [0.0, 1.0, -1.0]
    assert scores.details[0][0] == Score(1.0, parsed="7")
    assert scores.details[0][1] == Score(0.0, note="no marked final answer")
    assert scores.errors == []


@pytest.mark.parametrize(
    ("written", "weight"),
    [("format:0.1", 0.1), ("format=-2", -2.0), ("format:.5", 0.5), ("format:1e-3", 1e-3), ("format", 1.0)],
)
def test_a_weight_may_stand_behind_the_name(written: str, weight: float) -> None:
    spec = RewardSpec.model_validate(written)
    assert (spec.name, spec.weight) == ("format", weight)


def test_a_function_of_a_file_is_no_weight() -> None:
    assert RewardSpec.model_validate("rewards.py:vowels").name == "rewards.py:vowels"


ACCEPTED = [("one", 1.0), ("true", 1.0), ("vowels", 2.0), ("Plain", 2.0), ("Batch", 3.0), ("nothing", None)]


@pytest.mark.parametrize(("attribute", "value"), ACCEPTED)
def test_functions_classes_and_batches_from_a_file_are_rewards(rewards: Path, attribute: str, value: object) -> None:
    scores = compose(f"{rewards}:{attribute}").score(samples("aeb"))
    assert scores.values == [[value]]
    assert scores.totals == [value]
    assert scores.errors == []


def test_arguments_are_bound_by_name_and_converted(rewards: Path) -> None:
    spec = {"name": f"{rewards}:vowels", "letters": "xyz", "scale": "2.5"}
    assert compose(spec).score(samples("xa")).values == [[2.5]]
    assert compose({"name": f"{rewards}:Plain", "factor": "3"}).score(samples("")).values == [[3.0]]
    assert compose({"name": f"{rewards}:anything", "a": 1, "b": 2}).score(samples("")).values == [[2.0]]


def test_names_are_short_and_unique(rewards: Path) -> None:
    composition = compose("exact", f"{rewards}:one", {"name": "exact", "weight": 2}, "exact")
    assert composition.names == ["exact", "one", "exact-2", "exact-3"]
    assert composition.weights == [1.0, 1.0, 2.0, 1.0]


def test_none_is_left_out_of_the_total(rewards: Path) -> None:
    composition = compose({"name": "exact", "weight": 3}, f"{rewards}:nothing", f"{rewards}:nothing_in_a_score")
    scores = composition.score([Sample("q", "#### 7", "7"), Sample("q", "#### 7")])
    assert scores.values == [[1.0, None], [None, None], [None, None]]
    assert scores.totals == [3.0, None]
    assert scores.errors == []
    assert scores.details[2][0] == Score(None, note="no idea")


def test_a_reward_without_weight_is_logged_but_makes_no_total(rewards: Path) -> None:
    scores = compose(f"{rewards}:nothing", {"name": f"{rewards}:one", "weight": 0}).score(samples("a"))
    assert scores.values == [[None], [1.0]]
    assert scores.totals == [None]


@given(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=3, max_size=3))
def test_the_total_is_the_weighted_sum_of_what_was_judged(row: list[float | None]) -> None:
    composition = compose("exact", {"name": "format", "weight": 0.5}, {"name": "numeric", "weight": -2})
    judged = [weight * value for weight, value in zip([1, 0.5, -2], row, strict=True) if value is not None]
    total = composition.total(row)
    assert total is None if not judged else total == pytest.approx(sum(judged))


ERRORS = [
    ("nan", "returned NaN"),
    ("nan_in_a_score", "returned NaN"),
    ("infinite", "returned -inf"),
    ("text", "returned str, not a number"),
    ("forgetful_list", "returned list, not a number"),
    ("broken", "raised ZeroDivisionError: division by zero (rewards.py, line 17)"),
    ("BrokenBatch", "raised OSError: disk on fire (rewards.py, line 49)"),
    ("ShortBatch", "returned 1 values from score_batch for 3 samples"),
    ("NoListBatch", "returned float from score_batch, not a list"),
]


@pytest.mark.parametrize(("attribute", "message"), ERRORS)
def test_a_reward_that_always_fails_stops_the_run_by_name(rewards: Path, attribute: str, message: str) -> None:
    with pytest.raises(RewardError) as caught:
        compose("exact", f"{rewards}:{attribute}").score(samples("first one", "b", "c"))
    assert caught.value.what == f"the reward {attribute} {message} for all 3 completions"
    assert caught.value.given == "completion 'first one'"
    assert caught.value.exit_code == ExitCode.FAILED == 1


def test_an_error_is_recorded_and_never_becomes_zero(rewards: Path) -> None:
    scores = compose("exact", f"{rewards}:broken_on_b").score(samples("a", "b", "#### 7"))
    assert scores.values == [[0.0, 0.0, 1.0], [1.0, None, 1.0]]
    assert scores.totals == [1.0, None, 2.0]
    assert scores.details[1][1] is None
    assert scores.describe(1) == {
        "exact": {"value": 0.0, "note": "no marked final answer"},
        "broken_on_b": {"value": None, "error": "raised KeyError: 'b' (rewards.py, line 20)"},
    }
    assert scores.errors == [Issue("broken_on_b", 1, "raised KeyError: 'b' (rewards.py, line 20)")]


def test_an_error_of_a_reward_without_weight_leaves_the_total_alone(rewards: Path) -> None:
    scores = compose("exact", {"name": f"{rewards}:broken_on_b", "weight": 0}).score(samples("a", "b"))
    assert scores.totals == [0.0, 0.0]
    assert len(scores.errors) == 1


def test_errors_may_be_rare_but_not_frequent(rewards: Path) -> None:
    composition = compose(f"{rewards}:broken_on_b")
    composition.score(samples("b", *"a" * 6))  # too few to tell
    composition.score(samples(*"a" * 13))  # 1 of 20: 5 %
    with pytest.raises(RewardError) as caught:
        composition.score(samples("a", "b"))
    assert caught.value.what == (
        "the reward broken_on_b failed on 2 of 22 completions; first it raised KeyError: 'b' (rewards.py, line 20)"
    )


def test_the_tolerated_share_of_errors_can_be_raised(rewards: Path) -> None:
    composition = compose(f"{rewards}:broken_on_b", max_error_rate=0.5)
    assert len(composition.score(samples(*"abababab")).errors) == 4
    with pytest.raises(RewardError, match="failed on 5 of 9 completions"):
        composition.score(samples("b"))


def test_a_reward_whose_setup_is_wrong_says_so_itself(rewards: Path) -> None:
    with pytest.raises(RlllmError, match="no such model") as caught:
        compose(f"{rewards}:no_model").score(samples("a"))
    assert caught.value.exit_code == 2


def test_an_empty_batch_is_no_error() -> None:
    scores = compose("exact").score([])
    assert (scores.values, scores.totals, scores.errors) == ([[]], [], [])


REFUSED: list[tuple[Any, str]] = [
    ("exakt", "did you mean exact"),
    ("no-such-thing-at-all", "exists: abstention, budget, "),
    ("missing.py:fn", "no such file for the reward: missing.py"),
    ("no_such_module_here:fn", "does not import: ModuleNotFoundError"),
    ("{file}:vowel", "did you mean vowels"),
    ("{file}:number", "is no reward: it is of type int and cannot be called"),
    ("{file}:NotAReward", "is no reward: its instances have neither __call__ nor score_batch"),
    ("{file}:no_sample", "a reward takes one sample"),
    ({"name": "{file}:Picky", "factor": 3}, "does not take these arguments: ValueError: factor above 2"),
    ({"name": "length", "budjet": 40}, "did you mean budget"),
    ({"name": "length", "budget": 40, "wieght": 0.1}, "did you mean weight"),
    ({"name": "length", "colour": "red"}, "exists: budget, buffer, weight"),
    ("length", "missing a required argument: 'budget'"),
    ({"name": "length", "budget": "forty"}, "budget of the reward length: input should be a valid integer"),
    ({"name": "exact", "budget": 40}, "takes no argument budget"),
    ({"name": "regex", "pattern": "("}, "not a regular expression"),
    ({"name": "format", "style": "boxd"}, "did you mean boxed"),
    ({"name": "{file}:vowels", "leters": "a"}, "did you mean letters"),
    ({"name": "exact", "weight": 0}, "every reward has weight 0"),
]


@pytest.mark.parametrize(("written", "message"), REFUSED)
def test_a_wrong_name_or_argument_is_refused_before_anything_runs(rewards: Path, written: Any, message: str) -> None:
    if isinstance(written, str):
        written = {"name": written}
    with pytest.raises(ConfigError) as caught:
        compose({**written, "name": written["name"].format(file=rewards)})
    assert message in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE == 2


def test_a_file_that_does_not_import_is_a_config_error_that_says_why(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("import no_such_package\n")
    with pytest.raises(ConfigError, match="ModuleNotFoundError: No module named 'no_such_package'") as caught:
        compose(f"{path}:fn")
    assert caught.value.exit_code == 2
    path.write_text("def fn(:\n")
    with pytest.raises(ConfigError, match="SyntaxError"):
        compose(f"{path}:fn")


def test_no_rewards_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="no rewards"):
        build([])


def test_the_fingerprint_follows_code_arguments_and_weight(tmp_path: Path) -> None:
    def fingerprint(code: str, file: str, **settings: Any) -> str:
        (tmp_path / file).write_text(code)
        return compose({"name": f"{tmp_path / file}:fn", **settings}).fingerprint()

    code = "SCALE = 1\ndef fn(sample, scale=SCALE): return scale\n"
    first = fingerprint(code, "a.py")
    assert fingerprint(code, "b.py") == first
    assert fingerprint(code.replace("SCALE = 1", "SCALE = 2"), "c.py") != first
    assert fingerprint(code, "d.py", weight=0.5) != first
    assert fingerprint(code, "e.py", scale=2) != first
    assert compose("exact").fingerprint() == compose("exact").fingerprint() != compose("numeric").fingerprint()


def test_numbers_of_other_libraries_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "numpy_reward.py"
    path.write_text(
        "import numpy as np\ndef fn(sample): return np.float32(0.5)\ndef bad(sample): return np.float64('nan')\n"
    )
    assert compose(f"{path}:fn").score(samples("a")).totals == [0.5]
    with pytest.raises(RewardError, match="returned NaN for all 1 completions"):
        compose(f"{path}:bad").score(samples("a"))


VERIFYING = """
def right(sample): return 1.0
def shaped(sample): return 1.0
def wrongly(sample): return 1.0
def plain(sample): return 1.0
right.verifies, shaped.verifies, wrongly.verifies = True, False, "yes"
"""
FILTERS = [
    (["exact", "format"], "exact"),
    ([("format", 0.1), "exact"], "exact"),
    (["format", "plain", "math", "exact"], "math"),
    (["plain", "right"], "right"),
    (["plain", "shaped"], "plain"),
    (["shaped", "plain"], "plain"),
    ([("length", 0.1), "shaped"], "length"),
    ([("exact", 0.0), "majority"], "majority"),
    ([("exact", 0.0), "plain"], "plain"),
    (["exact", "exact"], "exact"),
]


@pytest.mark.parametrize(("rewards", "expected"), FILTERS)
def test_groups_are_judged_by_the_first_reward_that_verifies(tmp_path: Path, rewards: list[Any], expected: str) -> None:
    (tmp_path / "own.py").write_text(VERIFYING)
    specs = []
    for reward in rewards:
        name, weight = reward if isinstance(reward, tuple) else (reward, 1.0)
        params = {"budget": 9} if name == "length" else {}
        path = f"{tmp_path / 'own.py'}:{name}" if name in ("right", "shaped", "plain") else name
        specs.append(RewardSpec(name=path, weight=weight, params=params))
    assert build(specs).group_filter == expected


def test_where_no_reward_trains_none_judges_groups(tmp_path: Path) -> None:
    assert build([RewardSpec(name="exact", weight=0.0)], monitored_only=True).group_filter is None


def test_a_reward_that_declares_something_else_than_true_or_false_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(VERIFYING)
    with pytest.raises(ConfigError, match="declares verifies, which is True or False"):
        build([RewardSpec(name=f"{tmp_path / 'own.py'}:wrongly")])
