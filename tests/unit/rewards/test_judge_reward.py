"""The rewards that read verdicts, and the reward that asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, ModelError
from rlllm.core.records import Sample
from rlllm.rewards.http.endpoint import Refusal, Reply
from rlllm.rewards.judges.judge import Comparison, Judge, JudgeResult, Verdict, VerdictForm
from rlllm.rewards.judges.local_judge import LocalJudge

VALUES = [
    ("A is right.\nVerdict: A", "A", 1.0),
    ("A is right.\nVerdict: A", "B", 0.0),
    ("no idea", "A", 0.0),
    ("Verdict: A", None, None),
    ("Verdict: A", "42", None),
]


@pytest.mark.parametrize(("reply", "side", "value"), VALUES)
def test_a_verdict_is_right_or_wrong_and_a_missing_one_is_wrong(
    reply: str, side: str | None, value: float | None
) -> None:
    assert Verdict()(Sample("q", reply, side)).value == value


def test_a_missing_verdict_is_said() -> None:
    assert Verdict()(Sample("q", "no idea", "A")).note == "no readable verdict"


def test_the_form_is_a_reward_of_its_own() -> None:
    assert [VerdictForm()(Sample("q", text)).value for text in ("Good.\nVerdict: A", "Verdict: A")] == [1.0, 0.0]


class Speaks:
    """A respondent that answers by a function of the prompt."""

    def __init__(self, answer: Callable[[str], Reply]) -> None:
        self.answer = answer

    def complete(self, prompts: Sequence[str]) -> list[Reply]:
        return [self.answer(prompt) for prompt in prompts]


def prefers(word: str) -> Speaks:
    """A judge that finds the answer with `word` better, wherever it stands; without it, A."""
    return Speaks(lambda prompt: f"Well.\nVerdict: {'B' if word in prompt.partition('[B]')[2] else 'A'}")


OPINIONS = [
    (JudgeResult("A", "B"), True, 1.0),
    (JudgeResult("B", "A"), True, 0.0),
    (JudgeResult("A", "A"), False, 0.5),
    (JudgeResult("B", "B"), False, 0.5),
    (JudgeResult("A", None), False, None),
    (JudgeResult(None, None), False, None),
]


@pytest.mark.parametrize(("opinion", "consistent", "share"), OPINIONS)
def test_an_opinion_is_consistent_if_both_orders_name_one_text(
    opinion: JudgeResult, consistent: bool, share: float | None
) -> None:
    assert (opinion.consistent, opinion.share) == (consistent, share)


def test_a_comparison_is_asked_in_both_orders() -> None:
    judge = Judge.of(prefers("good"))
    pairs = [Comparison("q", "good", "poor"), Comparison("q", "poor", "good"), Comparison("q", "x", "y")]
    assert [opinion.share for opinion in judge.compare(pairs)] == [1.0, 0.0, 0.5]


def test_a_row_with_a_reference_is_compared_with_it() -> None:
    judge = Judge.of(prefers("good"))
    row = {"reference": "poor"}
    samples = [
        Sample("q", "good", meta=row),
        Sample("q", "plain", meta={"reference": "good"}),
        Sample("q", "x", meta=row),
    ]
    assert [score.value for score in judge.score_batch(samples)] == [1.0, 0.0, 0.5]


def test_references_and_ratings_mix_in_one_batch() -> None:
    judge = Judge.of(Speaks(lambda prompt: "Score: 10" if "[answer]" in prompt else Refusal("asleep")))
    scores = judge.score_batch([Sample("q", "a", meta={"reference": "b"}), Sample("q", "a"), Sample("q", "b")])
    assert [(score.value, score.note) for score in scores] == [(None, "asleep"), (1.0, "Score: 10"), (1.0, "Score: 10")]


def test_a_rubric_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "rubric.md").write_text("Count only rhymes.")
    asked: list[str] = []

    def asking(prompt: str) -> str:
        asked.append(prompt)
        return "Score: 5"

    judge = Judge.of(Speaks(asking), str(tmp_path / "rubric.md"))
    judge.score_batch([Sample("q", "a")])
    assert "Count only rhymes." in asked[0]
    with pytest.raises(ConfigError, match="the rubric file cannot be read"):
        Judge.of(prefers("good"), "missing.txt").score_batch([Sample("q", "a")])


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "the judge reward needs a model"),
    ({"path": "x", "endpoint": "http://h/v1"}, "the judge reward needs a model"),
    ({"endpoint": "http://h/v1"}, "the endpoint needs the model's name"),
    ({"path": "x", "key_env": "K"}, "key_env belongs to an endpoint"),
    ({"path": "x", "cache": "c.jsonl"}, "cache belongs to an endpoint"),
    ({"path": "x", "batch_size": 0}, "must be positive"),
]


@pytest.mark.parametrize(("settings", "words"), WRONG)
def test_wrong_settings_fail_when_the_reward_is_built(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Judge(**settings)


def test_a_local_judge_answers_the_same_alone_and_in_a_batch(nano: str) -> None:
    judge = LocalJudge(nano, max_new_tokens=12)
    prompts = ["Compute 10 + 42.", "What is 3 - 2?"]
    together = judge.complete(prompts)
    assert together == [judge.complete([prompt])[0] for prompt in prompts]
    assert all(isinstance(reply, str) and reply for reply in together)


def test_a_prompt_longer_than_the_context_is_refused_and_the_others_are_answered(nano: str) -> None:
    replies = LocalJudge(nano, max_new_tokens=12).complete(["x" * 600, "What is 3 - 2?"])
    assert replies[0] == Refusal("the prompt has 602 tokens, and the judge's context leaves 500")
    assert isinstance(replies[1], str)


def test_a_local_model_without_a_verdict_gives_none(nano: str) -> None:
    score = Judge(path=nano, max_new_tokens=8).score_batch([Sample("What is 3 - 2?", "#### 1")])[0]
    assert score.value is None
    assert str(score.note).startswith("no readable score")


def test_a_folder_without_a_model_is_no_judge(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the judge's config\.json cannot be read"):
        LocalJudge(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="the judge does not load"):
        LocalJudge(str(tmp_path)).complete(["q"])


def test_a_classifier_is_no_judge(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForSequenceClassification"]}')
    with pytest.raises(ModelError, match="must be a causal language model that writes text"):
        Judge(path=str(tmp_path))


def test_a_rubric_file_that_is_not_there_is_named_before_anything_is_asked() -> None:
    with pytest.raises(ConfigError, match="rubric file cannot be read"):
        Judge(endpoint="http://127.0.0.1:1/v1", model="m", rubric="no-such-rubric.md")
