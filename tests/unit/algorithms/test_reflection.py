"""Second answers: where the inserted text stands, that none of it trains, what rewards see, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import rlllm
from rlllm.algorithms.reflecting.second_answer import SecondAnswer
from rlllm.algorithms.reflecting.two_passes import TwoAnswers
from rlllm.core.errors import ConfigError
from rlllm.core.records import REFLECTED
from rlllm.policies.foreign_turn import behind_completion, following_turn
from rlllm.stages.catalog import plan, resolve_settings

TEXT = "Look again."
PROBE = f"""
import torch
from pathlib import Path

SEEN = Path(__file__).with_name("seen.pt")


def probe(batch):
    rows = torch.load(SEEN) if SEEN.exists() else []
    torch.save([*rows, (batch.completion_ids, batch.loss_mask, batch.trl_advantages)], SEEN)
    return batch.trl_advantages


def answers_with_a_1(sample):
    "Fails where it sees the text between the answers."
    assert {TEXT!r} not in sample.completion + sample.meta.get("{REFLECTED}", "")
    return float("1" in sample.completion)
"""


def tokenizer_of(nano: str) -> Any:
    from rlllm.policies.loading import load_tokenizer
    from rlllm.policies.model_sources import resolve_model

    return load_tokenizer(resolve_model(nano))


def test_a_turn_of_the_user_follows_with_the_end_of_the_answer_only_where_it_lacks(nano: str) -> None:
    tokenizer = tokenizer_of(nano)
    end, letter = tokenizer.eos_token_id, ord("a")
    following = following_turn(tokenizer, TEXT)
    assert tokenizer.decode(following) == f"<|end|><|user|>{TEXT}<|assistant|>"
    assert behind_completion(tokenizer, [letter, end], following, {end}) == following[1:]
    assert behind_completion(tokenizer, [letter], following, {end}) == following


def test_without_a_chat_template_the_text_stands_on_lines_of_its_own(nano: str) -> None:
    tokenizer = tokenizer_of(nano)
    tokenizer.chat_template = None
    following = following_turn(tokenizer, TEXT)
    assert tokenizer.decode(following) == f"\n{TEXT}\n"
    assert behind_completion(tokenizer, [tokenizer.eos_token_id], following, {tokenizer.eos_token_id}) == following


def test_a_template_that_leaves_the_turn_out_is_refused(nano: str) -> None:
    tokenizer = tokenizer_of(nano)
    tokenizer.chat_template = "{{ messages[0].content }}{{ messages[1].content }}<|end|>"
    with pytest.raises(ConfigError, match="does not write a turn of the user"):
        following_turn(tokenizer, TEXT)


def test_the_mask_of_two_answers_is_0_between_them() -> None:
    answers = TwoAnswers([1, 2], [7, 8, 9], [3])
    assert (answers.ids, answers.policy_mask) == ([1, 2, 7, 8, 9, 3], [1, 1, 0, 0, 0, 1])


def reflected(nano: str, folder: Path, **settings: Any) -> Any:
    probe = folder / "probe.py"
    probe.write_text(PROBE, encoding="utf-8")
    return rlllm.reason(
        model=nano,
        data={"name": "arithmetic", "rows": 4, "holdout": 2},
        eval={"rows": 2, "samples": 1},
        rewards=[{"name": f"{probe}:answers_with_a_1", "deadline": 0}],
        output_dir=folder / "run",
        max_steps=1,
        num_generations=4,
        per_device_train_batch_size=8,
        reflect={"name": "second-answer", "text": TEXT},
        **settings,
    )


def test_inserted_tokens_have_mask_0_and_all_others_1_and_rewards_judge_the_second_answer(
    nano: str, tmp_path: Path
) -> None:
    run = reflected(nano, tmp_path, max_completion_length=60, advantage=f"{tmp_path / 'probe.py'}:probe", beta=0.01)
    tokenizer = tokenizer_of(nano)
    end = tokenizer.eos_token_id
    following, limit = following_turn(tokenizer, TEXT), (60 - len(following_turn(tokenizer, TEXT))) // 2
    rows = list(run.samples())
    ids, mask, _ = torch.load(tmp_path / "seen.pt")[-1]
    assert len(rows) == len(ids) == 8
    for row, tokens, learns in zip(rows, ids.tolist(), mask.tolist(), strict=True):
        tokens, learns = tokens[: row["tokens"]], learns[: row["tokens"]]
        first = tokens[: learns.index(0)]
        between = tokens[len(first) : len(first) + learns.count(0)]
        second = tokens[len(first) + len(between) :]
        assert between == behind_completion(tokenizer, first, following, {end})
        assert learns == TwoAnswers(first, between, second).policy_mask
        texts = [tokenizer.decode(part, skip_special_tokens=True) for part in (first, second)]
        assert texts == [row["first_completion"], row["completion"]]
        assert row["truncated"] == (second[-1] != end)
        assert max(len(first), len(second)) <= limit
    assert not mask[ids == tokenizer.pad_token_id].any()
    logged = next(iter(run.metrics()))
    assert logged["completions/mean_length"] == pytest.approx(float(mask.sum() / len(mask)))


def test_what_is_measured_is_one_answer(nano: str, tmp_path: Path) -> None:
    run = reflected(nano, tmp_path, max_completion_length=60)
    assert run.results["measures"][0]["name"] == "pass@1"
    assert TEXT not in (run.path / "before_after.jsonl").read_text(encoding="utf-8")


def test_a_limit_without_room_for_two_answers_is_refused(nano: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two answers and the text between them do not fit"):
        reflected(nano, tmp_path, max_completion_length=14)


def planned(**settings: Any) -> Any:
    data = {"data": {"name": "arithmetic", "rows": 16, "holdout": 0}, "reflect": "second-answer"}
    return plan(resolve_settings("reason", {}, [*{**data, **settings}.items()]))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"off_policy": "demonstrations"}, "demonstrations are single answers"),
    ({"method": "e3rl"}, "segments are counted from the beginning"),
    ({"method": "tracer"}, "what a role says is not answered again"),
    ({"method": "remax", "rollout.group_size": 2}, "compares with a single answer"),
    ({"use_vllm": True, "rollout.engine": "hf"}, "sampled by an engine of rlllm"),
    ({"environment": "calculator", "data": {"name": "calculator", "rows": 16, "holdout": 0}}, "turns of its own"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_cannot_be_answered_twice_is_refused_when_planned(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(**settings)


def test_the_plan_says_that_one_answer_is_measured() -> None:
    assert dict(planned().lines())["measured"].startswith("one answer to each prompt")


def test_it_goes_with_other_methods_and_asks_with_a_text() -> None:
    assert planned(method="dr-grpo", sampler="dynamic").slots["reflect"].name == "second-answer"
    with pytest.raises(ConfigError, match="a text that asks again"):
        SecondAnswer(" ")
