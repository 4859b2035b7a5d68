"""Conversations with a model: context, streaming, what ends a reply, rewards, and what is kept when a reply is stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.errors import ConfigError, DataError, ModelError, UnknownNameError
from rlllm.core.records import Conversation
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.policies.chat import encode_prompts
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.hf import HFEngine
from rlllm.tools.chat import Chat, Dialogue, Streamer, open_chat

GREEDY = SamplingConfig(temperature=0, max_new_tokens=40)
WARM = SamplingConfig(temperature=1, max_new_tokens=12)


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    source = resolve_model("nano")
    return load_policy(source), load_tokenizer(source)


@pytest.fixture
def dialogue(loaded: tuple[Any, Any]) -> Dialogue:
    return Dialogue("nano", *loaded)


@pytest.fixture
def plain(loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> Dialogue:
    """The same model as if it had no chat template."""
    monkeypatch.setattr(loaded[1], "chat_template", None)
    return Dialogue("plain", *loaded)


def test_a_reply_is_what_the_engine_gives_and_is_heard_piece_by_piece(dialogue: Dialogue) -> None:
    heard: list[str] = []
    reply = dialogue.reply("What is 3 + 4?", GREEDY, 0, heard.append)
    ids = HFEngine(dialogue.model, dialogue.tokenizer).generate(
        encode_prompts(dialogue.tokenizer, ["What is 3 + 4?"]), GREEDY
    )[0]
    assert reply.text == dialogue.tokenizer.decode(ids, skip_special_tokens=True) == "".join(heard)
    assert (reply.tokens, reply.ending) == (len(ids), "end")
    assert len(heard) > 3


def test_what_was_said_is_the_context_of_what_follows(dialogue: Dialogue) -> None:
    first = dialogue.reply("What is 3 + 4?", GREEDY, 0, lambda _: None)
    assert dialogue.prompt_for("and?") == [
        {"role": "user", "content": "What is 3 + 4?"},
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": "and?"},
    ]
    dialogue.reset("Be brief.")
    assert dialogue.prompt_for("hi") == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]


def test_a_model_without_a_template_continues_the_text_so_far(plain: Dialogue) -> None:
    reply = plain.reply("one two", WARM, 0, lambda _: None)
    assert plain.prompt_for("three") == f"one two{reply.text}\nthree"
    with pytest.raises(ConfigError, match="takes no system message"):
        plain.reset("Be brief.")


def test_the_seed_decides_and_the_length_limit_is_reported(dialogue: Dialogue) -> None:
    texts = []
    for seed in (1, 1, 2):
        dialogue.reset()
        texts.append(dialogue.reply("hello there", WARM, seed, lambda _: None).text)
    assert texts[0] == texts[1] != texts[2]
    dialogue.reset()
    cut = dialogue.reply("What is 3 + 4?", GREEDY.model_copy(update={"max_new_tokens": 2}), 0, lambda _: None)
    assert (cut.ending, cut.tokens) == ("length", 2)


def test_ctrl_c_ends_the_reply_keeps_what_was_said_and_the_chat_goes_on(loaded: tuple[Any, Any]) -> None:
    chat = Chat([Dialogue("one", *loaded), Dialogue("two", *loaded)], GREEDY)
    heard: list[str] = []

    def stop(piece: str) -> None:
        heard.append(piece)
        if len(heard) == 3:
            raise KeyboardInterrupt

    replies = list(chat.replies("What is 31 + 44?", lambda _: stop))
    assert [(one.model, one.ending) for one in replies] == [("one", "interrupted")]
    assert replies[0].text == "".join(heard)
    assert chat.dialogues[0].messages[-1] == {"role": "assistant", "content": replies[0].text}
    assert chat.dialogues[1].messages == []
    assert [one.ending for one in chat.replies("What is 3 + 4?")] == ["end", "end"]


def test_a_conversation_that_outgrows_the_window_is_refused_and_nothing_is_cut(dialogue: Dialogue) -> None:
    window = dialogue.model.config.max_position_embeddings
    with pytest.raises(DataError, match=f"nano reads {window:,}\nhint: ask with fewer words"):
        dialogue.reply("1 " * window, GREEDY, 0, lambda _: None)
    assert dialogue.messages == [], "what was not answered was not said"
    dialogue.reply("1", GREEDY, 0, lambda _: None)
    with pytest.raises(DataError, match="hint: /reset begins anew"):
        dialogue.reply("1 " * window, GREEDY, 0, lambda _: None)


def test_rewards_judge_each_reply_against_the_answer(tmp_path: Path) -> None:
    chat = open_chat(["nano", "nano"], GREEDY, rewards=[RewardSpec(name="exact")], answer="7")
    replies = list(chat.replies("What is 3 + 4?"))
    assert [one.model for one in replies] == ["nano", "nano 2"]
    assert [one.rewards["exact"] for one in replies] == [{"value": 1.0, "parsed": "7"}] * 2
    chat.answer = None
    assert next(chat.replies("What is 3 + 4?")).rewards["exact"]["value"] is None
    chat.save(tmp_path / "said.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert [row["model"] for row in rows] == ["nano", "nano 2"]
    assert load(DataConfig(name=str(tmp_path / "said.jsonl"), holdout=0), Conversation).train[0].completion
    with pytest.raises(ConfigError, match="exists already"):
        chat.save(tmp_path / "said.jsonl")
    with pytest.raises(ConfigError, match="cannot be saved"):
        chat.save(tmp_path / "no such folder" / "x")


def test_names_are_checked_before_anything_is_loaded() -> None:
    with pytest.raises(ModelError, match="no such model"):
        open_chat(["nano", "no-such-model"], GREEDY)
    with pytest.raises(UnknownNameError, match="reward"):
        open_chat(["nano"], GREEDY, rewards=[RewardSpec(name="no-such-reward")])


TOKENIZER = build_tokenizer()


@given(st.text(max_size=40))
def test_pieces_add_up_to_the_text_and_none_holds_half_a_character(text: str) -> None:
    heard: list[str] = []
    streamer = Streamer(TOKENIZER, heard.append)
    streamer.put(torch.tensor([[1, 2, 3]]))
    for token in TOKENIZER(text, add_special_tokens=False)["input_ids"]:
        streamer.put(torch.tensor([token]))
    streamer.end()
    assert "".join(heard) == streamer.text()
    if "\ufffd" not in streamer.text():
        assert not any("\ufffd" in piece for piece in heard)
