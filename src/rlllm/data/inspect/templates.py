"""Texts that already hold the marks of a chat template. A model's own template would be put around them once more."""

from __future__ import annotations

import re

from rlllm.core.records import Record, content_text

_MARKS = re.compile(
    r"<\|(?:im_start|im_end|start_header_id|end_header_id|eot_id|begin_of_text|header_start|header_end|eot|user|assistant|system|end"
    r"|User|Assistant|start|message|endoftext|end_of_text)\|>|<\uff5c(?:User|Assistant|begin\u2581of\u2581sentence)\uff5c>"
    r"|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|^### Instruction:|\A\n\nHuman:|\n\nAssistant:\s*\Z|^(?:USER|ASSISTANT): ",
    re.MULTILINE,
)
"""Marks of turns: ChatML, Llama 2, 3 and 4, Gemma, Phi and Zephyr, DeepSeek, gpt-oss, Alpaca, hh-rlhf, Vicuna."""


def prompt_mark(record: Record) -> str | None:
    """The first mark of a template in the prompt of a record; None where it has none."""
    turns = (
        [record.prompt] if isinstance(record.prompt, str) else [content_text(turn["content"]) for turn in record.prompt]
    )
    return next((mark for text in turns if isinstance(text, str) and (mark := _mark(text))), None)


def completion_mark(record: Record) -> str | None:
    """The first mark of a template in a completion of a record with a prompt; None where it has none."""
    sides = (getattr(record, side, None) for side in ("completion", "chosen", "rejected"))
    return next((mark for text in sides if record.prompt and isinstance(text, str) and (mark := _mark(text))), None)


def _mark(text: str) -> str | None:
    match = _MARKS.search(text)
    return match.group().strip() if match else None
