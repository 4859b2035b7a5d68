"""TRACER in the loop: what groups complete, what roles are paid, what is kept, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rlllm
from rlllm.algorithms.dialogues.tracer import TRACER
from rlllm.algorithms.protocols import CONTEXT
from rlllm.core.errors import RlllmError
from rlllm.core.records import PromptTask, Sample
from rlllm.core.runs import Run, read_json, read_jsonl
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.tools.selftest import formulas
from rlllm.training.cost import cost_of

RIGHT, WRONG = "#### 4", "#### 5"
TASKS = [PromptTask("2+2?", "4"), PromptTask("3+1?", "4")]


def saying(*texts: str) -> Callable[[Sequence[PromptTask]], list[Sample]]:
    """One text for each turn, the same in all dialogues."""
    left = iter(texts)

    def speak(tasks: Sequence[PromptTask]) -> list[Sample]:
        text = next(left)
        return [Sample(task.prompt, text, tokens=2) for task in tasks]

    return speak


def judge(answers: Sequence[Sample]) -> list[bool]:
    return [answer.completion == RIGHT for answer in answers]


def test_the_table_learns_from_both_actions_of_every_visit() -> None:
    part = TRACER(turns=3, call_cost=0.25)
    part.contexts(TASKS, saying(WRONG, "WRONG", RIGHT), judge)
    part.end(lambda values: values)
    spoken = part.table.to_json()["1/reviewer/last/0"]
    assert spoken["visits"] == 2
    assert spoken["regrets"] == pytest.approx([-1.75, 1.75])  # 2 x (-1 against 1 - 0.25), from 1/2 each
    assert part.table.probability("1/reviewer/last/0") == 1.0


def test_every_process_learns_from_the_visits_of_all() -> None:
    alone, together = TRACER(turns=3), TRACER(turns=3)
    for part, times in ((alone, 1), (together, 3)):
        torch.manual_seed(0)
        part.contexts(TASKS, saying(WRONG, "WRONG", RIGHT), judge)
        part.end(lambda values, times=times: values * times)
    key = "1/reviewer/last/0"
    assert together.table.visits(key) == 3 * alone.table.visits(key)


@pytest.mark.parametrize(("learn", "roles"), [("both", {"proposer", "reviewer"}), ("reviewer", {"reviewer"})])
def test_groups_complete_turns_of_the_roles_that_learn(learn: Any, roles: set[str]) -> None:
    torch.manual_seed(0)
    part = TRACER(learn=learn, floor=1.0)
    contexts = part.contexts(TASKS * 16, saying(WRONG, "WRONG", RIGHT, "RIGHT", RIGHT), judge)
    assert {context.says["role"] for context in contexts} == roles
    for context in contexts:
        assert isinstance(context.prompt, str)
        assert (context.says["turn"] == 1) == (context.prompt in ("2+2?", "3+1?"))


def test_a_silent_reviewer_is_learned_from_at_the_floor_only() -> None:
    shares = {}
    for floor in (0.0, 0.5):
        torch.manual_seed(0)
        part = TRACER(turns=2, floor=floor)
        part.table.update({"1/reviewer/last/0": (1, 1.0, -1.0)})
        contexts = part.contexts(TASKS * 200, saying(WRONG, "WRONG"), judge)
        shares[floor] = sum(context.says["role"] == "reviewer" for context in contexts) / 400
    assert shares[0.0] == 0
    assert shares[0.5] == pytest.approx(0.25, abs=0.05)  # half can be learned from, beside the proposal


REVIEWS: list[tuple[bool | None, str, float]] = [
    (True, "RIGHT", 1.0),
    (True, "Wrong: 2+2", 0.0),
    (False, "WRONG", 1.0),
    (False, "Hm.", 0.5),
    (None, "WRONG", 0.5),
]


@pytest.mark.parametrize(("right", "text", "value"), REVIEWS)
def test_a_review_is_worth_the_truth_of_its_verdict(right: bool | None, text: str, value: float) -> None:
    says = {"turn": 2, "role": "reviewer", "right": right}
    score = TRACER().score(Sample("p", text, meta={CONTEXT: says}))
    assert score is not None
    assert score.value == value


def test_a_review_without_a_verdict_can_be_as_bad_as_a_false_one() -> None:
    scores = {}
    for text in ("Hm.", "WRONG", "RIGHT"):
        says = {"turn": 2, "role": "reviewer", "right": True}
        scores[text] = TRACER(no_verdict=-1.0).score(Sample("p", text, meta={CONTEXT: says}))
    assert {text: score.value for text, score in scores.items() if score} == {"Hm.": 0.0, "WRONG": 0.0, "RIGHT": 1.0}


def test_a_proposal_is_left_to_the_rewards_of_the_run() -> None:
    assert TRACER().score(Sample("p", RIGHT, meta={CONTEXT: {"turn": 1, "role": "proposer", "right": None}})) is None


QUICK: dict[str, Any] = {"method": "tracer", "data": {"name": "arithmetic", "rows": 32, "holdout": 0}, "max_steps": 2}


def planned(**settings: Any) -> Any:
    given = {"model": "nano", "rewards": ["exact"], "per_device_train_batch_size": 16, **QUICK, **settings}
    return plan(resolve_settings("reason", {}, [*given.items()]))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"off_policy": "demonstrations"}, "demonstrations answer the problem"),
    ({"erase": {"name": "e3rl", "segment_length": 4}}, "what a role says is sampled whole"),
    ({"sampler": "hints"}, "in words of its own"),
    ({"advantage": "dasd", "importance_sampling_level": "token"}, "reads more of the problem"),
    ({"advantage": "remax"}, "reads more of the problem"),
    ({"environment": "calculator", "data": {"name": "calculator"}}, "without tools"),
    ({"dialogue.learn": "reviewer", "dialogue.reviewer": False}, "there are no reviews"),
    ({"dialogue.turns": 0}, "turns and agents are 1 or more"),
    ({"dialogue.floor": 2.0}, "floor is from 0 to 1"),
    ({"dialogue.no_verdict": 0.5}, "no_verdict is from -1 to 0"),
    ({"dialogue.replays": 2, "dialogue.turns": 2}, "where another proposal follows"),
    ({"dialogue.replays": -1}, "replays is 0 or more"),
    ({"dialogue": "tracr"}, "unknown dialogue"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_combination_without_meaning_is_refused_with_the_reason(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RlllmError, match=words):
        planned(**settings)


@pytest.mark.parametrize("settings", [{"mask": "ict"}, {"advantage": "starpo"}, {"sampler": "dynamic"}], ids=str)
def test_other_components_combine_with_it(settings: dict[str, Any]) -> None:
    assert "dialogue" in planned(importance_sampling_level="token", **settings).slots


@pytest.fixture
def train(tiny_model: str, tmp_path: Path) -> Callable[..., Run]:
    (tmp_path / "rewards.py").write_text("def odd(sample): return float(sum(sample.completion.encode()) % 2)\n")

    def call(name: str, **settings: Any) -> Run:
        given: dict[str, Any] = {
            "model": tiny_model,
            "rewards": [{"name": f"{tmp_path / 'rewards.py'}:odd", "deadline": 0}],
            "rollout": {"max_new_tokens": 10, "group_size": 4},
            "per_device_train_batch_size": 16,
            "learning_rate": 1e-3,
            "dialogue": {"marked": False, "history": 1, "floor": 1.0},
            "eval": {"rows": 4, "samples": 2},
            **QUICK,
            "data": {"name": "arithmetic", "rows": 32, "holdout": 4},
            **settings,
        }
        return rlllm.reason(output_dir=tmp_path / name, **given)

    return call


@pytest.mark.parametrize("engine", ["native", "hf"])
def test_a_run_trains_turns_and_keeps_the_table_with_the_model(train: Callable[..., Run], engine: str) -> None:
    run = train(engine, rollout={"max_new_tokens": 10, "group_size": 4, "engine": engine}, max_steps=3, save_steps=1)
    rows = list(run.samples())
    for start in range(0, len(rows), 4):
        group = rows[start : start + 4]
        assert len({row["prompt"] for row in group}) == 1
        assert len({json.dumps(row[CONTEXT]) for row in group}) == 1
    roles = {row[CONTEXT]["role"] for row in rows}
    assert roles == {"proposer", "reviewer"}
    reviews = [row for row in rows if row[CONTEXT]["role"] == "reviewer"]
    assert all(row["reward"] in (0.0, 0.5, 1.0) for row in reviews)
    kept = read_json(run.model / "dialogue.json")
    assert kept["name"] == "tracer"
    assert kept["params"]["history"] == 1
    last = read_json(run.checkpoints / "checkpoint-3" / "slots.json")
    assert kept["state"] == last["dialogue"]
    assert [row["name"] for row in run.results["measures"]] == [
        "pass@1 of the dialogue",
        "calls per answer",
        "pass@1",
    ]


def test_replays_pay_a_turn_by_what_it_does_to_the_outcome(train: Callable[..., Run]) -> None:
    settings = {"marked": False, "history": 0, "turns": 3, "controllers": False}
    run = train("replayed", dialogue={**settings, "replays": 2}, advantage="rloo", scale_rewards="none")
    rows = list(run.samples())
    assert len({row[CONTEXT]["turn"] for row in rows}) > 1
    rewards = np.array([row["reward"] for row in rows]).reshape(-1, 4)
    assert {0.0, 0.5, 1.0} >= set(rewards.flatten())
    assert any(len(set(row)) > 1 for row in rewards)
    credits = formulas.replay_credits(rewards[:, :, None])
    assert [row["advantage"] for row in rows] == pytest.approx(credits.flatten())
    first = run.metrics()[0]
    assert first["dialogue/replayed_tokens"] > 0
    assert 0 < first["dialogue/replays_right"] < 1
    plain = train("plain", dialogue=settings, advantage="rloo", scale_rewards="none").metrics()[0]
    extra = first["num_tokens"] - plain["num_tokens"]
    assert extra == pytest.approx(16 * first["dialogue/replayed_tokens"], abs=2)


def test_a_review_that_nothing_follows_is_not_audited() -> None:
    torch.manual_seed(0)
    for turns, audited in ((4, {1, 2, 3}), (5, {1, 2, 3, 4, 5})):
        part = TRACER(turns=turns, controllers=False, replays=1)
        contexts = part.contexts(TASKS * 32, saying(WRONG, "WRONG", RIGHT, "RIGHT", RIGHT), judge)
        assert {context.says["turn"] for context in contexts} == audited


def test_the_plan_counts_the_tokens_of_replays() -> None:
    given = {"rollout": {"group_size": 4, "max_new_tokens": 10}}
    plain, replayed = (cost_of(planned(**given, **{"dialogue.replays": replays})) for replays in (0, 3))
    assert plain is not None
    assert replayed is not None
    assert replayed.tokens_of_dialogues - plain.tokens_of_dialogues == replayed.completions * 3 * 4 * 10


def test_a_turn_that_does_not_fit_into_the_context_ends_the_run_by_name(train: Callable[..., Run]) -> None:
    with pytest.raises(RlllmError, match=r"(?s)does not fit into the model's context.*of 512.*history=0"):
        train("long", rollout={"max_new_tokens": 300, "group_size": 4}, dialogue={"marked": False})


def test_align_has_no_verifier_for_a_dialogue() -> None:
    given: dict[str, Any] = {"method": "grpo", "model": "nano", "rewards": ["exact"], "dialogue": "tracer"}
    given |= {"data": {"name": "arithmetic", "rows": 64}, "per_device_train_batch_size": 64}
    with pytest.raises(RlllmError, match="right or wrong"):
        plan(resolve_settings("align", {}, [*given.items()]))


def test_tokens_of_dialogues_are_tokens_of_the_run(train: Callable[..., Run]) -> None:
    seen = {
        turns: train(f"turns{turns}", dialogue={"turns": turns, "marked": False, "history": 0}).metrics()[-1]
        for turns in (1, 5)
    }
    assert seen[1]["dialogue/tokens"] > 0
    extra = seen[5]["num_tokens"] - seen[1]["num_tokens"]
    assert extra > 2 * 4 * (seen[5]["dialogue/tokens"] - seen[1]["dialogue/tokens"]) * 0.5


def test_an_evaluation_answers_by_dialogue(train: Callable[..., Run], tmp_path: Path) -> None:
    run = train("trained")

    def evaluate(name: str, **settings: Any) -> Run:
        given = {"model": str(run.path), "rows": 4, "samples": 2, "max_new_tokens": 10, "cache": False}
        return rlllm.evaluate(tasks=["arithmetic"], output_dir=tmp_path / name, **given, **settings)

    team = evaluate("team", dialogue="tracer")
    result = team.results["tasks"]["arithmetic"]
    assert {"pass@1", "calls per answer", "tokens per answer"} <= set(result["values"])
    assert [row["turn"] for row in result["turns"]] == list(range(1, 6))
    assert all("spoke" in row for row in result["turns"])
    items = read_jsonl(team.path / "items.jsonl")
    assert all(len(row["dialogues"]) == 2 for row in items)
    again = evaluate("again", dialogue="tracer")
    assert again.results["tasks"] == team.results["tasks"]
    everybody = evaluate("everybody", dialogue={"name": "tracer", "controllers": False})
    assert everybody.results["tasks"]["arithmetic"]["values"]["calls per answer"]["estimate"] == 5.0
    alone = evaluate("alone", baseline=str(team.path))
    assert "over team" in alone.results["tasks"]["arithmetic"]["values"]


EVALUATIONS: list[tuple[dict[str, Any], str]] = [
    ({"dialogue": "tracer", "environment": "calculator"}, "turns of its own"),
    ({"dialogue": "tracer", "entropy": True}, "several"),
    ({"dialogue": {"name": "tracer", "turn": 3}}, "no argument|turn"),
]


@pytest.mark.parametrize(("settings", "words"), EVALUATIONS, ids=[words for _, words in EVALUATIONS])
def test_an_evaluation_that_cannot_work_is_refused(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(RlllmError, match=words):
        rlllm.evaluate(tasks=["arithmetic"], model="nano", rows=2, output_dir=tmp_path / "run", **settings)
