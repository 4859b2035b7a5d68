"""Scoring cases: errors are counted, None stays None, and a score that depends on its batch is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask, Sample
from rlllm.rewards.bench.answer_variants import STYLES
from rlllm.rewards.bench.cases import Case
from rlllm.rewards.bench.derived_cases import derive
from rlllm.rewards.bench.reward_hash import code_key, code_of, identity
from rlllm.rewards.bench.scoring import measure
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.registry import REWARDS

ODD = """
def raises(sample):
    raise ValueError("no")


def text(sample):
    return "1"


def nan(sample):
    return float("nan")


def sometimes(sample):
    if not sample.completion.strip():
        return None
    return 1.0


class Short:
    def score_batch(self, samples):
        return [1.0]


class ByPosition:
    def score_batch(self, samples):
        return [float(position) for position, _ in enumerate(samples)]


class ByPrompt:
    def score_batch(self, samples):
        return [float(sum(other.prompt == sample.prompt for other in samples)) for sample in samples]
"""
CASES = derive([PromptTask(f"What is {n} + 1?", str(n + 1)) for n in range(3)], STYLES["hash"])


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    path = tmp_path / "odd.py"
    path.write_text(ODD)
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [("raises", "ValueError: no"), ("text", "returned str"), ("nan", "NaN"), ("Short", "returned 1 values")],
)
def test_a_reward_that_fails_is_an_error_on_every_case_and_never_a_score(odd: Path, name: str, message: str) -> None:
    outcomes = measure(build([RewardSpec(name=f"{odd}:{name}")], max_error_rate=1.0), CASES)
    assert all(outcome.value is None and message in (outcome.error or "") for outcome in outcomes)


def test_none_is_no_error(odd: Path) -> None:
    outcomes = measure(build([RewardSpec(name=f"{odd}:sometimes")], max_error_rate=1.0), CASES)
    assert {o.value for o in outcomes if o.case.kind == "empty"} == {None}
    assert not any(o.error or o.changed for o in outcomes)


def test_a_score_that_depends_on_the_order_is_noticed_and_one_that_depends_on_the_prompts_group_is_not(
    odd: Path,
) -> None:
    by_position = measure(build([RewardSpec(name=f"{odd}:ByPosition")], max_error_rate=1.0), CASES)
    by_prompt = measure(build([RewardSpec(name=f"{odd}:ByPrompt")], max_error_rate=1.0), CASES)
    assert any(outcome.changed for outcome in by_position)
    assert not any(outcome.changed for outcome in by_prompt)


def test_outcomes_come_in_the_order_of_the_cases() -> None:
    cases = [Case(Sample("p", f"#### {n}", "3")) for n in range(6)]
    assert [outcome.value for outcome in measure(build([RewardSpec(name="exact")]), cases)] == [0, 0, 0, 1, 0, 0]
    assert measure(build([RewardSpec(name="exact")]), []) == []


def test_the_key_follows_code_helpers_and_arguments_but_not_the_weight(tmp_path: Path) -> None:
    rule, helper = tmp_path / "rule_of_key_test.py", tmp_path / "helper_of_key_test.py"
    helper.write_text("LIMIT = 1\n")
    loading = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport helper_of_key_test as helper\n"
    rule.write_text(loading + "def rule(sample, limit: int = 3):\n    return helper.LIMIT\n")
    spec = RewardSpec(name=f"{rule}:rule")
    key = code_key(spec)
    assert key == code_key(spec.model_copy(update={"weight": 0.1}))
    assert key != code_key(RewardSpec(name=f"{rule}:rule", params={"limit": 4}))
    helper.write_text("LIMIT = 2\n")
    changed = code_key(spec)
    assert changed != key
    rule.write_text(rule.read_text() + "# another line\n")
    assert code_key(spec) not in (key, changed)


@pytest.mark.parametrize(
    "body",
    [
        "from {helper} import LIMIT\ndef rule(sample): return LIMIT\n",
        "def rule(sample):\n    from {helper} import LIMIT\n    return LIMIT\n",
        "def rule(sample):\n    import {helper} as other\n    return other.LIMIT\n",
    ],
)
def test_the_key_follows_imports_of_plain_values_and_those_inside_functions(tmp_path: Path, body: str) -> None:
    helper = tmp_path / f"helper_{abs(hash(body))}.py"
    helper.write_text("LIMIT = 1\n")
    rule = tmp_path / "lazy_rule_of_key_test.py"
    rule.write_text(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + body.format(helper=helper.stem))
    spec = RewardSpec(name=f"{rule}:rule")
    key = code_key(spec)
    helper.write_text("LIMIT = 2\n")
    assert code_key(spec) != key


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (
            "code",
            [*(f"rewards/code/{file}.py" for file in ("tests_program", "solution_program", "wire")), "sandbox/pool.py"],
        ),
        ("math", [f"rewards/math/{file}.py" for file in ("math_verify_worker", "comparison", "algebra")]),
    ],
)
def test_the_key_holds_the_programs_a_reward_runs_in_other_processes(name: str, files: list[str]) -> None:
    assert {f"rlllm/{file}" for file in files} <= code_of(REWARDS.load(name)).keys()


def test_the_key_follows_the_reward_inside_another(odd: Path) -> None:
    spec = RewardSpec(name="flipped", params={"reward": f"{odd}:sometimes"})
    key = code_key(spec)
    odd.write_text(ODD + "# changed\n")
    assert code_key(spec) != key


def test_the_key_follows_the_text_of_a_rubric_file(tmp_path: Path) -> None:
    rubric = tmp_path / "rubric.md"
    rubric.write_text("Prefer the shorter one.")
    spec = RewardSpec(name="judge", params={"endpoint": "http://localhost:1", "rubric": str(rubric)})
    key = code_key(spec)
    rubric.write_text("Prefer the longer one. ")
    assert code_key(spec) != key


def test_a_file_is_the_same_reward_however_it_is_named(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(odd.parent)
    assert identity(RewardSpec(name="odd.py:text")) == identity(RewardSpec(name=f"{odd}:text"))
    with pytest.raises(ConfigError):
        code_key(RewardSpec(name="odd.py:nothing"))
