"""The text of a completion, for rewards and for readers: without special tokens, but for those that mark tool calls.

Llama 3, Mistral, DeepSeek, gpt-oss and others mark their calls by special tokens. A text without these holds the arguments of
a call that nobody can tell from an answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.policies.chat import end_of_turn

_CALL_MARKERS = frozenset(
    {
        "<tool_call>",
        "</tool_call>",
        "<tool_calls>",
        "</tool_calls>",
        "<|tool_call|>",
        "<|/tool_call|>",
        "<|tool_call_start|>",
        "<|tool_call_end|>",
        "<|tool_call_begin|>",
        "<|tool_call_argument_begin|>",
        "<|tool_calls_section_begin|>",
        "<|tool_calls_section_end|>",
        "<|python_tag|>",
        "<|python_start|>",
        "<|python_end|>",
        "<|tool_call>",
        "<tool_call|>",
        '<|"|>',
        "<start_function_call>",
        "<end_function_call>",
        "<escape>",
        "<tool_code>",
        "</tool_code>",
        "<|START_ACTION|>",
        "<|END_ACTION|>",
        "<|action_start|>",
        "<|plugin|>",
        "<|action_end|>",
        "<TOOLCALL>",
        "</TOOLCALL>",
        "<tools>",
        "</tools>",
        "<function_call>",
        "</function_call>",
        "<functioncall>",
        "</functioncall>",
        "<function_calls>",
        "</function_calls>",
        "</function>",
        "</parameter>",
        "<minimax:tool_call>",
        "</minimax:tool_call>",
        "</invoke>",
        "<arg_key>",
        "</arg_key>",
        "<arg_value>",
        "</arg_value>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "[CALL_ID]",
        "<\uff5ctool\u2581calls\u2581begin\uff5c>",
        "<\uff5ctool\u2581calls\u2581end\uff5c>",
        "<\uff5ctool\u2581call\u2581begin\uff5c>",
        "<\uff5ctool\u2581call\u2581end\uff5c>",
        "<\uff5ctool\u2581sep\uff5c>",
    }
)
"""Tokens that mark calls and nothing else, by the model families that `rewards.verifiers.function_call_notations` reads."""
_HARMONY_CALL = "<|call|>"
_HARMONY_MARKERS = frozenset({_HARMONY_CALL, "<|start|>", "<|channel|>", "<|constrain|>", "<|message|>"})
"""gpt-oss's: they mark every message, and a call where `<|call|>` ends one."""


def completion_texts(tokenizer: Any, completions: Sequence[Sequence[int]]) -> list[str]:
    """The text of each completion, without the special tokens in it.

    Special tokens stay that mark a tool call, and those that the tokenizer's `response_template` looks for around one.
    """
    texts: list[str] = tokenizer.batch_decode(completions, skip_special_tokens=True)
    special = _special_tokens(tokenizer)
    kept = _template_markers(tokenizer, special) | {token for token, text in special.items() if text in _CALL_MARKERS}
    harmony = {token: text for token, text in special.items() if text in _HARMONY_MARKERS}
    for place, ids in enumerate(completions):
        has_harmony_call = any(harmony.get(token) == _HARMONY_CALL for token in ids)
        staying = kept | harmony.keys() if has_harmony_call else kept
        if not staying.isdisjoint(ids):
            own = [token for token in ids if token in staying or token not in special]
            texts[place] = tokenizer.decode(own, skip_special_tokens=False)
    return texts


def _special_tokens(tokenizer: Any) -> dict[int, str]:
    """Id and text of every token that decoding leaves out."""
    added = {token: str(entry) for token, entry in tokenizer.added_tokens_decoder.items() if entry.special}
    named = zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)
    return {**dict(named), **added}


def _template_markers(tokenizer: Any, special: Mapping[int, str]) -> set[int]:
    """Special tokens that stand in the part of the tokenizer's `response_template` that reads calls, but for ends of a turn."""
    template = getattr(tokenizer, "response_template", None)
    if not isinstance(template, Mapping):
        return set()
    part = json.dumps(template.get("fields", {}).get("tool_calls"), ensure_ascii=False).replace("\\", "")
    ends = {tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id, end_of_turn(tokenizer)}
    return {
        token for token, text in special.items() if text in part and text not in _HARMONY_MARKERS and token not in ends
    }
