"""Which tokens of a conversation train, under the chat templates of many models (those that TRL ships)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trl

from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.errors import DataError
from rlllm.core.records import Conversation, Message
from rlllm.policies import chat
from rlllm.policies.turn_masks import encode_conversation, with_turns

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
FIRST: Message = {"role": "assistant", "content": "Apple."}
TURNS: list[Message] = [{"role": "user", "content": "Name a fruit."}, FIRST, {"role": "user", "content": "Another."}]
TWO = Conversation(TURNS, "Pear.", trained_turns=(1,))
CALL: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": "123456789", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    ],
}
RESULT: Message = {"role": "tool", "name": "weather", "tool_call_id": "123456789", "content": "3 C"}
WEATHER = {"name": "weather", "description": "Weather now", "parameters": {"type": "object", "properties": {}}}
TOOLS = Conversation(
    [TURNS[0], CALL, RESULT], "Cold.", {"tools": [{"type": "function", "function": WEATHER}]}, trained_turns=(1,)
)


def reasoned(text: str, thought: str) -> Message:
    return {"role": "assistant", "content": text, "reasoning_content": thought}


THOUGHT = Conversation([TURNS[0]], [reasoned("Apple.", "it is red")])
THOUGHTS = Conversation(
    [TURNS[0], reasoned("Apple.", "it is red"), TURNS[2]], [reasoned("Pear.", "it is green")], trained_turns=(1,)
)


def with_template(name: str) -> Any:
    tokenizer = build_tokenizer()
    tokenizer.bos_token = "<|system|>"  # a template that names a token needs one
    tokenizer.chat_template = (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    return tokenizer


def trained(tokenizer: Any, record: Conversation) -> list[str]:
    """The text of each run of tokens that trains."""
    tokens = encode_conversation(tokenizer, record)
    runs: list[list[int]] = [[]]
    for token, trains in zip(tokens.ids, tokens.trains, strict=True):
        if trains:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


PLAIN = {
    "qwen2_5": ["Apple.<|im_end|>\n", "Pear.<|im_end|>\n"],
    "qwen3": ["Apple.<|im_end|>\n", "<think>\n\n</think>\n\nPear.<|im_end|>\n"],
    "qwen3_training": ["<think>\n\n</think>\n\nApple.<|im_end|>\n", "<think>\n\n</think>\n\nPear.<|im_end|>\n"],
    "llama3": ["Apple.<|eot_id|>", "Pear.<|eot_id|>"],
    "llama3_training": ["Apple.<|eot_id|>", "Pear.<|eot_id|>"],
    "gemma": ["Apple.<end_of_turn>\n", "Pear.<end_of_turn>\n"],
    "phi3": ["Apple.<|end|>\n", "Pear.<|end|>\n<|end|>"],
    "cohere": ["Apple.<|END_OF_TURN_TOKEN|>", "Pear.<|END_OF_TURN_TOKEN|>"],
}


@pytest.mark.parametrize("name", PLAIN)
def test_every_turn_trains_from_its_opening_to_its_end(name: str) -> None:
    tokenizer = with_template(name)
    assert trained(tokenizer, TWO) == PLAIN[name]
    assert trained(tokenizer, with_turns([TWO], "last")[0]) == PLAIN[name][1:]


def test_a_row_for_each_turn_ends_with_it_as_it_is_generated() -> None:
    tokenizer = with_template("qwen3")
    thought = "<think>\nit is {}\n</think>\n\n{}<|im_end|>\n"
    rows = with_turns([THOUGHTS], "each")
    assert [trained(tokenizer, row) for row in rows] == [
        [thought.format("red", "Apple.")],
        [thought.format("green", "Pear.")],
    ]


REFUSED = {
    "qwen3": "leaves out 'it is red'",
    "gptoss": "renders it otherwise than as the last turn",
    "glm4moe": "renders it otherwise than as the last turn",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_turn_that_the_template_cuts_is_refused_with_both_ways_out(name: str) -> None:
    with pytest.raises(DataError, match=REFUSED[name]) as caught:
        encode_conversation(with_template(name), THOUGHTS)
    assert "turns=each" in str(caught.value.hint)
    assert "turns=last" in str(caught.value.hint)
    assert len(with_turns([THOUGHTS], "each")) == 2


CALLED = {
    "qwen2_5": '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>\n',
    "llama3_1": '{"name": "weather", "parameters": {"city": "Oslo"}}<|eot_id|>',
    "qwen3_training": '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>\n',
}


@pytest.mark.parametrize("name", CALLED)
def test_calls_train_and_their_results_and_tools_do_not(name: str) -> None:
    tokenizer = with_template(name)
    call, answer = trained(tokenizer, TOOLS)
    assert call.endswith(CALLED[name])
    assert "Cold." in answer
    text = tokenizer.decode(encode_conversation(tokenizer, TOOLS).ids)
    assert "3 C" in text
    assert "Weather now" in text


def test_a_template_that_takes_arguments_as_text_gets_text() -> None:
    assert '{"city": "Oslo"}' in trained(with_template("deepseekv3"), TOOLS)[0]


@pytest.mark.parametrize(
    ("name", "what"), [("llama3_training", "tool calls"), ("gemma", "the results of tools"), ("phi3", "the results")]
)
def test_a_template_that_would_drop_calls_or_results_is_refused(name: str, what: str) -> None:
    record = TOOLS if what != "tool calls" else Conversation([TURNS[0], CALL, TURNS[2]], "Pear.")
    with pytest.raises(DataError, match=f"renders nothing of {what}"):
        encode_conversation(with_template(name), record)


RENDERED = {
    "qwen3": "<think>\nit is red\n</think>\n\nApple.<|im_end|>\n",  # its own field
    "gptoss": "<|channel|>analysis<|message|>it is red<|end|>",  # its own field, under another name
    "qwen2_5": "<think>\nit is red\n</think>\n\nApple.<|im_end|>\n",  # no field: in front of the content
    "llama3_1": "<think>\nit is red\n</think>\n\nApple.<|eot_id|>",
}


@pytest.mark.parametrize("name", RENDERED)
def test_reasoning_trains_in_the_templates_own_place_or_else_as_think(name: str) -> None:
    (text,) = trained(with_template(name), THOUGHT)
    assert text.startswith(RENDERED[name])


def test_reasoning_that_already_stands_in_the_content_is_not_written_twice() -> None:
    record = Conversation([TURNS[0]], [reasoned("<think>it is red</think>Apple.", "it is red")])
    assert trained(with_template("qwen2_5"), record) == ["<think>it is red</think>Apple.<|im_end|>\n"]


@pytest.mark.parametrize("name", ["deepseek_r1_distill", "deepseekv3"])
def test_reasoning_that_a_template_drops_everywhere_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="drops the reasoning"):
        encode_conversation(with_template(name), THOUGHT)


def test_one_turn_is_what_trl_makes_of_prompt_and_completion() -> None:
    from trl.data_utils import apply_chat_template

    for name in ("qwen2_5", "qwen3", "gemma", "phi3", "deepseek_r1_distill", "glm4moe"):
        tokenizer = with_template(name)
        said = [{"role": "assistant", "content": "Pear."}]
        theirs = apply_chat_template({"prompt": TURNS, "completion": said}, tokenizer)
        ours = encode_conversation(tokenizer, Conversation(TURNS, "Pear."))
        assert tokenizer.decode(ours.ids) == theirs["prompt"] + theirs["completion"]
        assert trained(tokenizer, Conversation(TURNS, "Pear.")) == [theirs["completion"]]


def test_a_greeting_before_the_first_question_trains_without_its_opening() -> None:
    record = Conversation([FIRST, TURNS[2]], "Pear.", trained_turns=(0,))
    assert trained(with_template("qwen2_5"), record)[0] == "Apple.<|im_end|>\n"


def test_tools_of_each_prompt_are_rendered() -> None:
    tokenizer = with_template("qwen2_5")
    first, second = chat.encode_prompts(tokenizer, ["a", "b"], [{}, TOOLS.meta])
    assert "Weather now" not in tokenizer.decode(first)
    assert "Weather now" in tokenizer.decode(second)
    assert chat.renders_tools(tokenizer)
    assert not chat.renders_tools(with_template("gemma"))
