"""Cards: what the bench says of good and bad rewards, and what a run makes of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.rewards.bench.cases import shipped_names
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.tools.rewards_test import RewardTestConfig, run_reward_test
from rlllm.training.reward_cards import find
from rlllm.training.reward_findings import Card

SLOW = {"math", "code"}
"""Rewards with processes of their own; their rooms try their cases."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def card_of(reward: str, **settings: Any) -> Card:
    return run_reward_test(RewardTestConfig.of(reward, **settings)).card


def reward_file(body: str) -> str:
    Path("own.py").write_text(f"def own(sample):\n    {body}\n")
    return "own.py:own"


@pytest.mark.parametrize("name", [name for name in shipped_names() if name not in SLOW])
def test_every_built_in_reward_passes_its_own_cases(name: str) -> None:
    card = card_of(name)
    assert card.ok, card.reasons
    assert card.errors == card.changed == card.false_accepts == 0
    assert card.false_rejects <= 0.05 * card.n


@pytest.mark.parametrize(
    ("reward", "cases", "right"),
    [
        ("math", 87, 46),
        ("numeric", 69, 32),
        ("exact", 53, 12),
        ("choice", 4, 2),
    ],
)
def test_a_verifier_judges_an_outside_corpus_as_it_says(reward: str, cases: int, right: int) -> None:
    pytest.importorskip("reward_doctor")
    card = card_of(reward, cases="reward-doctor")
    assert (card.n, card.false_accepts, card.errors) == (cases, 0, 0), card.examples
    assert card.false_rejects <= 0.05 * right, card.examples
    assert sum(kind.n for kind in card.kinds if kind.expected == "pass") == right


def test_an_outside_corpus_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reward_doctor.corpus", None)
    with pytest.raises(ConfigError, match="reward-doctor"):
        card_of("exact", cases="reward-doctor")


@pytest.mark.parametrize(
    ("reward", "data"), [("numeric", "arithmetic#6"), ("exact", "lists#6"), ("countdown", "countdown#6")]
)
def test_the_verifiers_withstand_every_derived_case(reward: str, data: str) -> None:
    card = card_of(reward, data=data)
    assert card.ok, card.examples
    assert (card.false_accepts, card.false_rejects, card.style) == (0, 0, "hash")


def test_a_reward_that_a_list_of_all_options_satisfies_is_flagged() -> None:
    card = card_of(reward_file("return float(sample.answer in sample.completion)"), data="arithmetic#6")
    assert not card.ok
    assert card.precision is not None
    assert card.precision["high"] < 0.9
    assert "it accepts what is wrong" in card.reasons[0]
    passed = {row.kind: row.passed / row.n for row in card.kinds}
    assert passed["attack: all options in one marker"] == passed["attack: answer in the middle"] == 1.0
    assert any("all options" in example.kind for example in card.examples["false accept"])


def test_one_hack_among_many_cases_is_enough_to_fail() -> None:
    body = "return float(sample.completion.endswith(f'#### {sample.answer}') or 'Ignore all' in sample.completion)"
    card = card_of(reward_file(body), data="arithmetic#6")
    wrong = [row.kind for row in card.kinds if row.expected == "fail" and row.passed]
    assert wrong == ["attack: prompt injection"]
    assert any("precision" in reason for reason in card.reasons)


def test_rewards_that_reject_or_break_or_waver_are_named() -> None:
    never = card_of(reward_file("return 0.0"), data="arithmetic#4")
    assert never.precision is None
    assert never.recall is not None
    assert never.recall["estimate"] == 0
    assert not card_of("random", data="arithmetic#4").ok
    assert any("scored again" in reason for reason in card_of("random", data="arithmetic#4").reasons)


def test_a_reward_that_raises_fails_its_card_and_is_no_zero() -> None:
    card = card_of(reward_file("raise ValueError('no')"), data="arithmetic#4")
    assert card.errors == card.n
    assert card.unjudged == 0
    assert card.examples["error"][0].value is None
    assert any("failed" in reason for reason in card.reasons)


def test_a_reward_that_pays_by_the_character_shows_it() -> None:
    body = "return len(sample.completion) / 1000"
    card = card_of(reward_file(body), data="arithmetic#4")
    assert card.length_correlation == pytest.approx(1.0)


def test_the_style_is_the_one_the_reward_reads() -> None:
    body = "return float('<answer>' + sample.answer + '</answer>' in ''.join(sample.completion.split()))"
    assert card_of(reward_file(body), data="arithmetic#4").style == "tag"
    assert card_of("exact", data="arithmetic#4", style="boxed").style == "boxed"


def test_labelled_rows_of_a_file_are_cases() -> None:
    rows = [
        {"prompt": "?", "answer": "3", "completion": "#### 3", "label": True},
        {"prompt": "?", "answer": "3", "completion": "#### 4", "label": True},
        {"prompt": "?", "answer": "3", "completion": "3", "score": 0.5},
    ]
    Path("cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    card = card_of("exact", cases="cases.jsonl")
    assert (card.n, card.false_rejects, card.as_stated and card.as_stated["estimate"]) == (3, 1, 0.0)
    assert len(card.reasons) == 2


@pytest.mark.parametrize(
    ("reward", "settings", "message"),
    [
        ("exakt", {}, "unknown reward"),
        ("random", {}, "brings no cases"),
        ("{name: cosine, limit: 7}", {}, "for these arguments"),
        ("exact", {"style": "box"}, "unknown style"),
        ("exact", {"min_recall": 2}, "min_recall"),
        ("exact", {"accept": float("nan")}, "accept"),
        ("exact", {"cases": "nowhere.jsonl"}, "nowhere"),
        ("{name: exact", {}, "YAML"),
        ("{weight: 1}", {}, "name"),
    ],
)
def test_what_cannot_be_tested_is_refused_in_words(reward: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        run_reward_test(RewardTestConfig.of(reward, **settings))


def planned(**settings: Any) -> Any:
    values = {"data": "arithmetic#16", "rewards": ["exact"], **settings}
    return plan(resolve_settings("reason", values))


def test_a_plan_shows_the_card_and_asks_for_it_only_where_told_to() -> None:
    assert planned().cards == ()
    with pytest.raises(ConfigError, match=r"has no card(.|\n)*rlllm rewards test exact$"):
        planned(require_card=True)
    card_of("exact")
    assert planned(require_card=True).cards[0].startswith("exact: passes on ")
    assert ("reward card", planned().cards[0]) in planned().lines()


def test_a_changed_reward_makes_its_card_stale() -> None:
    name = reward_file("return float(sample.completion.rpartition('####')[2].strip() == sample.answer)")
    card_of(name, data="arithmetic#4")
    assert planned(rewards=[name], require_card=True).cards
    Path("own.py").write_text(Path("own.py").read_text() + "\n# changed\n")
    assert "STALE" in planned(rewards=[name]).cards[0]
    with pytest.raises(ConfigError, match=r"changed since(.|\n)*--data arithmetic"):
        planned(rewards=[name], require_card=True)


def test_a_failed_card_does_not_satisfy_and_a_monitored_reward_needs_none() -> None:
    name = reward_file("return 1.0")
    card_of(name, data="arithmetic#4")
    with pytest.raises(ConfigError, match="did not pass its bench"):
        planned(rewards=[name], require_card=True)
    card_of("exact")
    monitored = {"name": name, "weight": 0.0}
    assert len(planned(rewards=["exact", monitored], require_card=True).cards) == 1


def test_a_broken_card_is_none() -> None:
    tested = run_reward_test(RewardTestConfig.of("exact"))
    assert find(RewardTestConfig.of("exact").reward)
    for text in ("{", "[]", '{"ok": true}'):
        tested.path.write_text(text)
        assert find(RewardTestConfig.of("exact").reward) is None


def test_other_arguments_are_another_card() -> None:
    card_of("numeric")
    with pytest.raises(ConfigError, match="has no card"):
        planned(rewards=[{"name": "numeric", "relative": 0.1}], require_card=True)


def test_a_card_is_not_asked_for_where_nothing_learns_from_a_reward() -> None:
    with pytest.raises(ConfigError, match="does not read require_card"):
        resolve_settings("align", {"method": "dpo", "data": "arithmetic#16", "require_card": True})


def test_attacks_on_physics_neither_pass_nor_pay_a_quarter() -> None:
    card = card_of("physics", data={"name": "physics:1-4", "rows": 24})
    assert card.ok, card.reasons
    attacks = {row.kind: row.mean or 0.0 for row in card.kinds if row.kind.startswith(("attack", "wrong", "empty"))}
    assert {"attack: unit alone", "attack: number of the question", "attack: copied prompt"} <= attacks.keys()
    assert max(attacks.values()) < 0.25, attacks
