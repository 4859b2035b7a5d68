"""An engine other than transformers' own: what it returns is what is scored, recorded and learned from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rlllm

ENGINE = """
from rlllm.plugins import Engine


class Scripted(Engine):
    _calls = []

    def __init__(self, model, tokenizer):
        self.tokenizer = tokenizer

    def generate(self, prompts, sampling):
        Scripted._calls.append((len(prompts), sampling))
        end = [self.tokenizer.eos_token_id]
        texts = ["yes", "no", "a long answer", "#### 4"]
        return [
            self.tokenizer(texts[i % 4])["input_ids"][: sampling.max_new_tokens] + (end if i % 4 < 2 else [])
            for i in range(len(prompts))
        ]

class Forgetful(Scripted):
    def generate(self, prompts, sampling):
        return super().generate(prompts, sampling)[:-1]

class Speechless(Scripted):
    def generate(self, prompts, sampling):
        return [[], *super().generate(prompts, sampling)[1:]]
"""


def run(tiny_model: str, folder: Path, engine: str, **settings: Any) -> rlllm.Run:
    (folder / "engines.py").write_text(ENGINE)
    (folder / "rewards.py").write_text("def length(sample): return float(len(sample.completion))\n")
    return rlllm.reason(
        model=tiny_model,
        data={"name": "arithmetic", "rows": 8, "holdout": 0},
        rewards=f"{folder / 'rewards.py'}:length",
        output_dir=folder / "run",
        max_steps=2,
        learning_rate=1e-3,
        num_generations=4,
        defaults="trl",
        **{"rollout.engine": engine if engine == "hf" else f"{folder / 'engines.py'}:{engine}", **settings},
    )


def test_what_an_engine_returns_is_what_is_scored_and_recorded(tiny_model: str, tmp_path: Path) -> None:
    done = run(tiny_model, tmp_path, "Scripted", max_completion_length=13, temperature=0.5, top_k=7)
    rows = list(done.samples())
    assert done.ok
    assert [row["completion"] for row in rows] == ["yes", "no", "a long answer", "#### 4"] * 4
    assert [row["reward"] for row in rows] == [3.0, 2.0, 13.0, 6.0] * 4
    assert [row["truncated"] for row in rows] == [False, False, True, True] * 4
    assert [row["tokens"] for row in rows[:4]] == [4, 3, 13, 6]


def test_an_engine_is_asked_once_a_rollout_with_the_runs_sampling(tiny_model: str, tmp_path: Path) -> None:
    from rlllm.rollouts.registry import ENGINES

    run(tiny_model, tmp_path, "Scripted", max_completion_length=13, temperature=0.5, top_k=7, top_p=0.9)
    calls = ENGINES.load(f"{tmp_path / 'engines.py'}:Scripted")._calls
    assert [count for count, _ in calls] == [8, 8]
    sampling = calls[0][1]
    assert (sampling.max_new_tokens, sampling.temperature, sampling.top_k, sampling.top_p) == (13, 0.5, 7, 0.9)


def test_a_loop_with_the_built_in_engine_named_learns(tiny_model: str, tmp_path: Path) -> None:
    assert run(tiny_model, tmp_path, "hf", max_completion_length=6).ok


@pytest.mark.parametrize("engine", ["Forgetful", "Speechless"])
def test_an_engine_that_loses_a_completion_is_named(tiny_model: str, tmp_path: Path, engine: str) -> None:
    reasons = run(tiny_model, tmp_path, engine, max_completion_length=13).verdict["reasons"]
    assert reasons[0]["code"] == "error"
    assert reasons[0]["text"].startswith(f"the engine {engine} returned 7 completions for 8 prompts")
