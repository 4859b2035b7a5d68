"""Learned stopping in the loop: which contexts groups complete, what decisions are worth, and answers by what was learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import rlllm
from rlllm.algorithms.dialogues.stopping import Stopping
from rlllm.algorithms.protocols import CONTEXT
from rlllm.core.errors import RlllmError
from rlllm.core.records import PromptTask, Sample
from rlllm.core.runs import Run, read_json
from rlllm.parsing.stopping_prompts import decision, read_decision
from rlllm.stages.catalog import plan, resolve_settings

RIGHT, WRONG = "#### 4", "#### 5"
TASK = PromptTask("2+2?", "4")
Speak = Callable[[Sequence[PromptTask]], list[Sample]]


def judge(answers: Sequence[Sample]) -> list[bool]:
    return [answer.completion == RIGHT for answer in answers]


def saying(attempts: Sequence[str], replies: Sequence[str] = ()) -> Speak:
    """Attempts and replies in this order, over and over; which is asked for is read off the prompt."""
    made = {"attempts": 0, "replies": 0}

    def say(task: PromptTask) -> Sample:
        kind = "replies" if "STOP" in str(task.prompt) else "attempts"
        texts = replies if kind == "replies" else attempts
        made[kind] += 1
        return Sample(task.prompt, texts[(made[kind] - 1) % len(texts)], tokens=3)

    return lambda tasks: [say(task) for task in tasks]


def test_the_table_learns_what_stopping_missed() -> None:
    part = Stopping(attempts=3, price=0.1)
    contexts = part.contexts([TASK], saying([WRONG, RIGHT, RIGHT]), judge)
    assert [context.prompt for context in contexts] == ["2+2?"]
    part.end(lambda values: values)
    row = part.table.to_json()["2/0"]  # at the tie stopping is worth -0.2, the next attempt 0.7
    assert row["regrets"] == pytest.approx([0.45, -0.45])
    assert part.table.probability("2/0") == 0.0


@pytest.mark.parametrize(
    ("learn_by", "replies", "worth"),
    [
        # stopping after attempt 1 is worth -0.1; the model goes on there and stops at 2 (-0.2), or at 3 (0.7)
        ("outcome", ["CONTINUE", "STOP"], (-0.1, -0.2)),
        ("outcome", ["CONTINUE", "perhaps"], (-0.1, 0.7)),
        # nothing was seen before: V of the next state is its utility
        ("hindsight", ["CONTINUE", "STOP"], (0.1, -0.1)),
    ],
)
def test_what_a_decision_is_worth(
    learn_by: Any, replies: list[str], worth: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "rand", lambda count: torch.zeros(count))  # the first choice, and always a decision
    part = Stopping(attempts=3, price=0.1, learn_by=learn_by)
    (context,) = part.contexts([TASK], saying([WRONG, RIGHT, RIGHT], replies), judge)
    assert context.says["attempt"] == 1
    assert (context.says["stop"], context.says["go_on"]) == pytest.approx(worth)
    assert "5: 1" in str(context.prompt)
    values = [part.score(Sample("p", text, meta={CONTEXT: context.says})) for text in ("STOP", "Continue.", "hm")]
    assert [score and score.value for score in values] == pytest.approx([*worth, min(worth)])


def test_hindsight_takes_the_fitted_value_of_the_next_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda count: torch.zeros(count))
    part = Stopping(attempts=2, price=0.0, learn_by="hindsight")
    for attempts in ([WRONG, RIGHT], [RIGHT, WRONG], [RIGHT, WRONG]):  # a tie is answered by what came first
        part.contexts([TASK], saying(attempts, ["STOP"]), judge)
        part.end(lambda values: values)
    (context,) = part.contexts([TASK], saying([RIGHT, WRONG], ["STOP"]), judge)
    assert context.says["stop"] == pytest.approx(1 - 2 / 3)


def test_groups_are_shared_between_problems_and_decisions() -> None:
    torch.manual_seed(0)
    part = Stopping(attempts=3, learn_by="outcome", decisions=0.25)
    contexts = part.contexts([TASK] * 200, saying([RIGHT], ["STOP"]), judge)
    share = sum(context.says["role"] == "decision" for context in contexts) / 200
    assert share == pytest.approx(0.25, abs=0.08)


def test_answers_stop_where_the_table_says_so() -> None:
    part = Stopping(attempts=4)
    for _ in range(2):
        part.table.update({"1/1": (1, 1.0, -1.0), "2/2": (1, -1.0, 1.0)})
    (sample,) = part.answers([TASK], saying([RIGHT]))
    assert (sample.completion, sample.tokens) == (RIGHT, 6)
    assert [turn["role"] for turn in sample.meta["dialogue"]] == ["draft", "draft"]
    (other,) = part.answers([TASK], saying([WRONG, RIGHT, RIGHT, RIGHT]))
    assert (other.completion, other.tokens) == (RIGHT, 12)


def test_answers_stop_where_the_model_says_so() -> None:
    part = Stopping(attempts=4, learn_by="outcome")
    (sample,) = part.answers([TASK], saying([RIGHT], ["CONTINUE", "STOP"]))
    assert [turn["role"] for turn in sample.meta["dialogue"]] == ["draft", "decision", "draft", "decision"]
    assert sample.tokens == 12


REPLIES = [("STOP", True), ("**Continue**, please", False), ("Stopping", None), ("", None), ("Verdict: stop", None)]


@pytest.mark.parametrize(("text", "stop"), REPLIES)
def test_reading_a_decision(text: str, stop: bool | None) -> None:
    assert read_decision(text) is stop


def test_a_prompt_keeps_the_other_messages_of_a_chat() -> None:
    chat = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "2+2?"}]
    asked = decision(chat, [("4", 2)], 2, 6)
    assert asked[0] == chat[0]
    assert str(asked[1]["content"]).startswith("2+2?\n[answers]\n4: 2\n[end]\nAttempt 2 of 6.")  # type: ignore[index]


@pytest.mark.parametrize(
    "settings", [{"attempts": 1}, {"price": -0.1}, {"decisions": 2.0}, {"learn_by": "luck"}], ids=str
)
def test_a_setting_without_meaning_is_refused(settings: dict[str, Any]) -> None:
    given = {
        "model": "nano",
        "rewards": ["exact"],
        "data": {"name": "arithmetic", "rows": 32, "holdout": 0},
        "per_device_train_batch_size": 16,
        "max_steps": 1,
        "dialogue": {"name": "stopping", **settings},
    }
    with pytest.raises(RlllmError, match="stopping"):
        plan(resolve_settings("reason", {}, [*given.items()]))


@pytest.mark.parametrize("learn_by", ["regret", "outcome"])
def test_a_run_trains_keeps_and_evaluates(tiny_model: str, tmp_path: Path, learn_by: str) -> None:
    (tmp_path / "rewards.py").write_text("def odd(sample): return float(sum(sample.completion.encode()) % 2)\n")
    reward = {"name": f"{tmp_path / 'rewards.py'}:odd", "deadline": 0}
    run: Run = rlllm.reason(
        model=tiny_model,
        rewards=[reward],
        data={"name": "arithmetic", "rows": 16, "holdout": 4},
        rollout={"max_new_tokens": 8, "group_size": 4},
        per_device_train_batch_size=16,
        max_steps=2,
        eval={"rows": 4, "samples": 2},
        dialogue={"name": "stopping", "attempts": 3, "learn_by": learn_by},
        output_dir=tmp_path / "run",
    )
    assert {"stopping/utility", "stopping/regret"} <= set(run.metrics()[-1])
    assert read_json(run.model / "dialogue.json")["state"]["values"]["sums"]
    evaluated = rlllm.evaluate(
        tasks=["arithmetic"],
        model=str(run.path),
        rows=4,
        samples=2,
        max_new_tokens=8,
        cache=False,
        dialogue="stopping",
        output_dir=tmp_path / "eval",
    )
    assert "calls per answer" in evaluated.results["tasks"]["arithmetic"]["values"]
