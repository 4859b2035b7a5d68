"""`pretrain`: plans of both trainers, the form in which a text is shown, and what is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.config import ModelConfig
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import PromptTask, Sample
from rlllm.evals.next_token import hits, thought
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import source_of
from rlllm.stages.catalog import plan, resolve_settings

SMALL = {"data.rows": 32, "data.holdout": 8, "eval.rows": 8, "data.params.per_document": 16}
TEXT = "the sum of 12 and 30 is 42, and the sum of 13 and 30 is 43. " * 4


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RLLLM_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.txt").write_text(f"document {number}: {TEXT}", encoding="utf-8")
    return folder


def _plan(corpus: Path | str, **settings: Any) -> Any:
    given = {"model": "nano", "data": str(corpus), **settings}
    return plan(resolve_settings("pretrain", given, list(SMALL.items())))


def test_a_path_is_read_as_raw_text(corpus: Path) -> None:
    planned = _plan(corpus)
    assert planned.config.data.name == f"text:{corpus}"
    assert planned.rewards.names == ["next-token"]
    assert planned.to_json()["positions"]["documents"] > 0
    labels = [label for label, _ in planned.lines()]
    assert [name for name in ("positions", "proxy", "lengths") if name in labels] == ["positions", "proxy", "lengths"]


def test_without_data_the_text_is_that_of_rlllm() -> None:
    assert resolve_settings("pretrain", {"model": "nano"}).data.name == "text:rlllm"
    assert resolve_settings("pretrain", {"data": "text:docs"}).data.name == "text:docs"


def test_the_two_methods_learn_the_same_positions(corpus: Path) -> None:
    rpt, plain = _plan(corpus), _plan(corpus, method="plain")
    assert [(row.prompt, row.answer) for row in rpt.loaded.train] == [
        (row.prompt, row.completion) for row in plain.loaded.train
    ]
    assert rpt.positions == plain.positions


def test_rpt_without_its_reward_is_refused(corpus: Path) -> None:
    with pytest.raises(ConfigError, match="method rpt learns from the reward next-token"):
        _plan(corpus, rewards=["repetition"])


def test_data_that_is_no_text_is_refused() -> None:
    with pytest.raises(DataError, match="no such data file"):
        _plan("arithmetic")
    with pytest.raises(ConfigError, match="pretrain reads one text"):
        _plan("a.txt,b.txt")


def test_prompts_of_evaluation_sets_are_found_in_the_text(corpus: Path, tmp_path: Path) -> None:
    question = "Which of the seven rivers of the old province runs past the mill with the red wheel?"
    held = tmp_path / "questions.jsonl"
    held.write_text(json.dumps({"prompt": question, "answer": "the third"}) + "\n", encoding="utf-8")
    assert "contamination" not in dict(_plan(corpus, against=[]).lines())
    clean = _plan(corpus, against=[str(held)])
    assert dict(clean.lines())["contamination"].startswith("none of")
    assert "holds a prompt of eval/quickstart" in dict(_plan(corpus).lines())["contamination"]
    for path in corpus.iterdir():
        path.write_text(f"{path.read_text(encoding='utf-8')} And then: {question} It was the third.", encoding="utf-8")
    found = _plan(corpus, against=[str(held)])
    counts = found.to_json()["positions"]["contamination"]
    assert counts["documents"] == found.positions.contaminated > 0
    assert "1 of 1 prompts of" in counts["lines"][1]


def test_a_thought_ends_with_its_last_marker() -> None:
    assert thought(Sample("x", "a</think>b</think> c"), "</think>") == "a</think>b</think>"
    assert thought(Sample("x", "no thought"), "</think>") == ""
    assert thought(Sample("x<think>", "cut"), "</think>") == "cut</think>"


def test_the_most_likely_token_is_compared_with_the_first_of_the_answer() -> None:
    """By hand: one row at a time, without padding."""
    import torch

    source = source_of(ModelConfig(name="nano"))
    model, tokenizer = load_policy(source).eval(), load_tokenizer(source)
    tokenizer.chat_template = None
    prompts = ["12 + 30 =", "a somewhat longer text with 7 + 8 = ", "x"]
    tails = [[""], [" 4", ""], ["thinking </think>"]]
    expected, tasks = [], []
    for prompt, texts in zip(prompts, tails, strict=True):
        best = []
        for text in texts:
            ids = tokenizer(prompt)["input_ids"] + tokenizer(text, add_special_tokens=False)["input_ids"]
            with torch.inference_mode():
                best.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        answer = tokenizer.decode([best[0]]) + " and more"
        tasks.append(PromptTask(prompt, answer))
        first = tokenizer(answer, add_special_tokens=False)["input_ids"][0]
        expected.append([float(token == first) for token in best])
    assert hits(model, tokenizer, tasks, tails) == expected
    assert [row[0] for row in expected] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("method", ["rpt", "rlp", "plain"])
def test_two_steps_measure_accuracy_and_keep_the_chat_template(method: str, corpus: Path, tmp_path: Path) -> None:
    more = {"rollout": {"max_new_tokens": 3}} if method != "plain" else {}
    run = rlllm.pretrain(
        model="nano",
        data={"name": str(corpus), "rows": 32, "holdout": 8},
        method=method,
        eval={"rows": 8, "samples": 1},
        max_steps=2,
        per_device_train_batch_size=32,
        output_dir=tmp_path / "run",
        allow=["all"],
        **more,
    )
    names = [row["name"] for row in run.results["measures"]]
    accuracy = "next-token accuracy"
    assert names == [accuracy, f"{accuracy}, no thought", f"{accuracy}, another's thought", "pass@1"]
    assert run.verdict["outcome"]["measure"] == accuracy
    assert load_tokenizer(source_of(ModelConfig(name=str(run.path)))).chat_template
