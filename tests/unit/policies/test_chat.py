"""The chat rule: one rendering for training, evaluation and rewards."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.errors import DataError, ExitCode
from rlllm.core.records import Message
from rlllm.policies.chat import as_completion, as_prompt, encode_prompts, is_chat

MESSAGES: list[Message] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]


@pytest.fixture(scope="module")
def chat() -> Any:
    return build_tokenizer()


@pytest.fixture(scope="module")
def plain() -> Any:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = None
    return tokenizer


def test_text_becomes_one_user_turn_where_there_is_a_template(chat: Any) -> None:
    assert is_chat(chat)
    assert as_prompt(chat, "2+2?") == [{"role": "user", "content": "2+2?"}]
    assert as_completion(chat, "4") == [{"role": "assistant", "content": "4"}]


def test_text_stays_text_where_there_is_none(plain: Any) -> None:
    assert not is_chat(plain)
    assert (as_prompt(plain, "2+2?"), as_completion(plain, "4")) == ("2+2?", "4")


def test_messages_stay_messages(chat: Any) -> None:
    assert as_prompt(chat, MESSAGES) is MESSAGES


def test_messages_without_a_template_are_refused_with_a_way_out(plain: Any) -> None:
    with pytest.raises(DataError, match="has no chat template") as caught:
        as_prompt(plain, MESSAGES)
    assert "instruct" in (caught.value.hint or "")
    assert caught.value.exit_code == ExitCode.USAGE


def test_encoded_prompts_end_where_the_answer_begins(chat: Any) -> None:
    encoded = encode_prompts(chat, ["2+2?", MESSAGES])
    assert [chat.decode(ids) for ids in encoded] == [
        "<|user|>2+2?<|assistant|>",
        "<|system|>Be brief.<|user|>2+2?<|assistant|>",
    ]


def test_encoded_text_is_the_tokenizers_own(plain: Any) -> None:
    assert [plain.decode(ids) for ids in encode_prompts(plain, ["ab", "c"])] == ["ab", "c"]


def test_what_is_trained_on_continues_what_is_generated_from(chat: Any) -> None:
    """The rendering of prompt and completion together begins with the rendering of the prompt alone."""
    both = chat.apply_chat_template([*as_prompt(chat, "2+2?"), *as_completion(chat, "4")], return_dict=True)
    assert both["input_ids"][: len(encode_prompts(chat, ["2+2?"])[0])] == encode_prompts(chat, ["2+2?"])[0]
