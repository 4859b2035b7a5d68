"""Texts of completions whose calls are marked by special tokens, on nano's tokenizer with these tokens added."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rlllm.assets.build_nano import build_tokenizer
from rlllm.policies.completion_text import completion_texts

CALL = '{"name": "weather", "arguments": {"city": "SF"}}'
MARKER = re.compile(r"<[^<>\s=]+>|\[[A-Z_]+\]")
MISTRAL = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {
        "tool_calls": {"open_pattern": r"\[CALL!\]", "close_pattern": r"\[DONE!\]|<\|end\|>", "content": "json"},
        "content": {"close": "<|end|>", "content": "text"},
    },
}


def with_special(*texts: str) -> Any:
    """nano's tokenizer with these special tokens in addition to its own."""
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": [*tokenizer.all_special_tokens[2:], *texts]})
    assert all(len(tokenizer(text, add_special_tokens=False)["input_ids"]) == 1 for text in texts)
    return tokenizer


def text_of(tokenizer: Any, completion: str) -> str:
    ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
    return completion_texts(tokenizer, [ids])[0]


@pytest.mark.parametrize(
    "completion",
    [
        f"<|python_tag|>{CALL}",
        f"[TOOL_CALLS]weather[CALL_ID]a1[ARGS]{CALL}",
        f"I look.<tool_call>\n{CALL}\n</tool_call>",
        f"<|tool_call_begin|>weather:0<|tool_call_argument_begin|>{CALL}<|tool_call_end|>",
        f"<|channel|>commentary to=functions.weather<|message|>{CALL}<|call|>",
        '<|tool_call>call:weather{city:<|"|>SF<|"|>}<tool_call|>',
        "<tool_call>weather<arg_key>city</arg_key><arg_value>SF</arg_value></tool_call>",
    ],
)
def test_special_tokens_that_mark_calls_stay_and_others_go(completion: str) -> None:
    tokenizer = with_special(*sorted(set(MARKER.findall(completion))), "<|eot_id|>")
    assert text_of(tokenizer, f"<|user|>{completion}<|eot_id|><|end|><|pad|>") == completion
    assert tokenizer.decode(tokenizer(completion)["input_ids"], skip_special_tokens=True) != completion


@pytest.mark.parametrize("end", ["<|eom_id|>", "<|eot_id|>"])
def test_the_token_that_ends_a_call_of_llama_3_goes(end: str) -> None:
    tokenizer = with_special("<|python_tag|>", "<|eom_id|>", "<|eot_id|>")
    assert text_of(tokenizer, f"<|python_tag|>{CALL}{end}") == f"<|python_tag|>{CALL}"


def test_a_completion_without_calls_is_what_it_was() -> None:
    tokenizer = with_special("<|python_tag|>", "<|channel|>", "<|message|>", "<|call|>")
    for completion in ("The answer is 42.", "<|channel|>final<|message|>42", ""):
        ids = tokenizer(completion + "<|end|>")["input_ids"]
        assert completion_texts(tokenizer, [ids]) == tokenizer.batch_decode([ids], skip_special_tokens=True)


def test_markers_of_the_tokenizers_own_response_template_stay() -> None:
    tokenizer = with_special("[CALL!]", "[DONE!]", "[SPARE]")
    assert text_of(tokenizer, f"[SPARE][CALL!]{CALL}[DONE!]<|end|>") == CALL
    tokenizer.response_template = MISTRAL
    assert text_of(tokenizer, f"[SPARE][CALL!]{CALL}[DONE!]<|end|>") == f"[CALL!]{CALL}[DONE!]"
    assert text_of(tokenizer, "[SPARE]7<|end|>") == "7"
