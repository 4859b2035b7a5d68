"""The embedded tokenizer and tool calls: what knew no tools is rendered as ever, and calls come back as they were written."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.assets import build_nano

NANO = Path(build_nano.__file__).parent / "nano"
USER, ANSWER = {"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": " 1+1=2\n#### 2 "}
tokenizer = cache(build_nano.build_tokenizer)


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def add(first: int, second: float, note: str) -> str:
    """Add.

    Args:
        first: One.
        second: Two.
        note: Why.
    """
    return f"{first + second} {note}"


OLD = [
    ([USER], True, "<|user|>1 + 1?<|assistant|>"),
    ([USER], False, "<|user|>1 + 1?"),
    ([USER, ANSWER], False, "<|user|>1 + 1?<|assistant|> 1+1=2\n#### 2 <|end|>"),
    (
        [{"role": "system", "content": "Be short. "}, USER, ANSWER, {"role": "user", "content": "And <<x>>?"}],
        True,
        "<|system|>Be short. <|user|>1 + 1?<|assistant|> 1+1=2\n#### 2 <|end|><|user|>And <<x>>?<|assistant|>",
    ),
]


@pytest.mark.parametrize(("messages", "opened", "text"), OLD)
def test_conversations_without_tools_are_rendered_as_ever(messages: Any, opened: bool, text: str) -> None:
    options = {"add_generation_prompt": opened, "tokenize": False}
    assert tokenizer().apply_chat_template(messages, **options) == text
    assert tokenizer().apply_chat_template(messages, tools=[add], **options) == text


def test_a_call_and_its_result_take_few_bytes_and_only_the_call_is_the_assistants() -> None:
    asked = {"role": "assistant", "content": "", "tool_calls": [call("add", first=1, note="so"), call("stop")]}
    messages = [USER, asked, {"role": "tool", "name": "add", "content": "2"}, ANSWER]
    encoded = tokenizer().apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    said = "<<add first=1;note=so>><<stop>><|end|>"
    assert tokenizer().decode(encoded["input_ids"]) == (
        f"<|user|>1 + 1?<|assistant|>{said}<|system|>=2<|assistant|>{ANSWER['content']}<|end|>"
    )
    learnt = [token for token, on in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if on]
    assert tokenizer().decode(learnt) == f"{said}{ANSWER['content']}<|end|>"


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ("<<add first=1;second=2.5;note=a b>><|end|>", None, [call("add", first=1, second=2.5, note="a b")]),
        ("Well. <<add first=x>><|end|>", "Well. ", [call("add", first="x")]),
        ("<<stop>><<add note=7>><|end|>", None, [call("stop"), call("add", note="7")]),
        ("2 << 3 is 16<|end|>", "2 << 3 is 16", None),
        ("<<>>", "<<>>", None),
    ],
)
def test_calls_are_read_back_with_the_types_of_the_tool(text: str, content: Any, calls: Any) -> None:
    message = tokenizer().parse_response(text, prefix="<|user|>?<|assistant|>", tools=[add])
    assert (message.get("content"), message.get("tool_calls")) == (content, calls)


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_turn_that_calls_nothing_is_read_back_to_the_byte(text: str) -> None:
    if "<<" in text or "<|" in text:
        return
    ids = tokenizer()(text)["input_ids"]
    message = tokenizer().parse_response([*ids, tokenizer().eos_token_id], prefix="<|assistant|>")
    assert message.get("content", "") == text


def test_the_package_holds_what_the_builder_makes() -> None:
    config = json.loads((NANO / "tokenizer_config.json").read_text())
    assert config["response_template"] == build_nano.RESPONSE_TEMPLATE
    assert (NANO / "chat_template.jinja").read_text() == build_nano.CHAT_TEMPLATE
