"""Positions of a text: cut where tokens end, chosen by a proxy's entropy, and read from the cache the second time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlllm.core.config import ModelConfig
from rlllm.core.errors import ConfigError
from rlllm.core.records import Conversation, PromptTask
from rlllm.data.config import DataConfig
from rlllm.data.corpus.positions import BOUNDARIES, ENTROPY
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import source_of
from rlllm.training.text_positions import PositionsConfig, load_positions, next_token_entropies, token_ends

NANO = source_of(ModelConfig(name="nano"))


def _positions(path: Path, kind: type = PromptTask, rows: int = 40, **settings: Any) -> Any:
    data = DataConfig(name=f"text:{path}", rows=rows, holdout=10, params={"context": 24, "continuation": 4})
    return load_positions(data, PositionsConfig(**settings), NANO, ModelConfig(name="nano"), kind)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RLLLM_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(12):
        text = f"{number} + {number} = {2 * number}, and a wörd of 日本 in document {number}. " * 3
        (folder / f"{number:02}.txt").write_text(text, encoding="utf-8")
    return folder


def test_tokens_that_share_a_character_end_behind_it() -> None:
    text = "a wörd 日"
    assert token_ends(load_tokenizer(NANO), text) == [1, 2, 3, 4, 5, 6, 7, 8]  # nano's tokens are bytes


def test_a_position_stands_where_a_token_ends_and_is_uncertain(corpus: Path) -> None:
    found = _positions(corpus, min_entropy=0.5)
    assert len(found.loaded.train) == 40
    assert 0 < len(found.loaded.holdout) <= 10
    for row in (*found.loaded.train, *found.loaded.holdout):
        assert row.meta[ENTROPY] >= 0.5
        assert row.meta[BOUNDARIES] == list(range(1, len(row.answer) + 1))
        assert 8 <= len(row.prompt) <= 24
    counts = found.counts
    assert 0 < counts.uncertain < counts.candidates
    assert dict(counts.lines())["proxy"].startswith("nano: at least 0.5 nats over its 16 most likely tokens")


def test_documents_of_the_two_splits_are_different(corpus: Path) -> None:
    loaded = _positions(corpus).loaded
    of = [{row.meta["document"] for row in part} for part in (loaded.train, loaded.holdout)]
    assert of[0].isdisjoint(of[1])


def test_the_entropy_is_that_of_the_most_likely_tokens(corpus: Path) -> None:
    import torch

    model, tokenizer = load_policy(NANO).eval(), load_tokenizer(NANO)
    ids = tokenizer("12 + 30 = 42 and so on", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double().numpy()
    kept = -np.sort(-logits, axis=1)[:, :5]
    shares = np.exp(kept) / np.exp(kept).sum(1, keepdims=True)
    expected = -(shares * np.log(shares)).sum(1)
    np.testing.assert_allclose(next_token_entropies(model, ids, 0, 5), expected, atol=1e-5)
    np.testing.assert_allclose(next_token_entropies(model, ids, 7, 5), expected[7:], atol=1e-5)
    assert max(expected) <= math.log(5)


def test_a_second_reading_takes_the_entropies_from_the_cache(corpus: Path, tmp_path: Path) -> None:
    first = _positions(corpus)
    files = sorted((tmp_path / "cache" / "entropies").iterdir())
    stamps = [path.stat().st_mtime_ns for path in files]
    again = _positions(corpus)
    assert again.loaded.hash == first.loaded.hash
    assert [path.stat().st_mtime_ns for path in files] == stamps
    files[0].write_text("{ damaged", encoding="utf-8")
    assert _positions(corpus).loaded.hash == first.loaded.hash
    assert files[0].stat().st_mtime_ns != stamps[0]


def test_without_a_threshold_no_proxy_is_asked(corpus: Path, tmp_path: Path) -> None:
    found = _positions(corpus, min_entropy=0)
    assert not (tmp_path / "cache").exists()
    assert all(ENTROPY not in row.meta for row in found.loaded.train)
    assert found.counts.to_json()["proxy"] is None


def test_the_template_is_put_around_the_prefix(corpus: Path) -> None:
    row = _positions(corpus, template="Go on: {prefix}<think>").loaded.train[0]
    assert row.prompt.startswith("Go on: ")
    assert row.prompt.endswith("<think>")
    chat = _positions(corpus, Conversation, template="Go on: {prefix}<think>").loaded.train[0]
    assert (chat.prompt, chat.completion) == (row.prompt, row.answer)


def test_what_leaves_no_position_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none of .* positions is as uncertain as asked for") as refused:
        _positions(corpus, min_entropy=5.0)
    assert "at most 2.77 nats" in str(refused.value)
    short = tmp_path / "short.txt"
    short.write_text("short", encoding="utf-8")
    with pytest.raises(ConfigError, match="its documents are shorter than what a position shows"):
        _positions(short)
    with pytest.raises(ConfigError, match="shows what stands before it"):
        PositionsConfig.checked({"template": "without"})
