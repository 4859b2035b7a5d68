"""Texts that already hold a chat template are found, and films and sounds beside text are refused."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.core.errors import DataError
from rlllm.core.records import Conversation, PreferencePair, PromptTask, Record
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.inspect.summary import check_records
from rlllm.data.io.formats import number_rows
from rlllm.data.to_records import adapt

TEMPLATED = [
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
    "[INST] Hi [/INST]",
    "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]",
    "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
    "<|user|>\nHi<|end|>\n<|assistant|>\n",
    "<\uff5cUser\uff5c>Hi<\uff5cAssistant\uff5c>",
    "<|start|>user<|message|>Hi<|end|>",
    "<|header_start|>user<|header_end|>\n\nHi<|eot|>",
    "Below is a task.\n\n### Instruction:\nHi\n\n### Response:\n",
    "\n\nHuman: Hi\n\nAssistant:",
    "A chat.\nUSER: Hi\nASSISTANT: ",
]
PLAIN = [
    "Hi",
    "Use [brackets] and <tags>.",
    "The user: me",
    "if a <|b: pass",
    "Human: Hi",
    "# Instructions\nHi",
    "a | b <| c |> d",
]


def findings(*records: Record) -> list[str]:
    return [
        finding.words for finding in check_records({"train": records}, "x").all_findings() if finding.name == "template"
    ]


@pytest.mark.parametrize("text", TEMPLATED)
@pytest.mark.parametrize("as_messages", [False, True])
def test_a_prompt_that_holds_a_template_is_found(text: str, as_messages: bool) -> None:
    prompt: Any = [{"role": "user", "content": text}] if as_messages else text
    (words,) = findings(PromptTask(prompt, "1"), PromptTask("Hi", "1"))
    assert words.startswith("prompts of 1 of 2 rows already hold a template (")


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_text_is_not_taken_for_a_template(text: str) -> None:
    assert findings(PromptTask(text, "1"), Conversation("Hi", text), PreferencePair("Hi", text, text)) == []


def test_marks_in_completions_are_found_and_plain_text_may_be_a_whole_template() -> None:
    (words,) = findings(Conversation("Hi", "Hello<|im_end|>"), Conversation("", TEMPLATED[0]))
    assert words.startswith("completions of 1 of 2 rows already hold a template (<|im_end|>)")


CHAT = [{"role": "user", "content": "<image>What is it?"}, {"role": "assistant", "content": "A cat."}]


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "human", "value": "<video>?"}, {"from": "gpt", "value": "A"}], "videos": ["a.mp4"]},
        {"instruction": "What is it?", "input": "", "output": "A cat.", "audios": ["a.wav"]},
    ],
)
def test_what_no_model_sees_or_hears_is_refused_by_name(row: dict[str, Any]) -> None:
    (column,) = row.keys() & {"videos", "audios"}
    with pytest.raises(DataError, match=f"row 1 of rows has {column}, and only text and images are learned from"):
        adapt(number_rows([row], "rows"), Conversation, {}, "rows")
    bad = BadRows("skip")
    empty = {**row, column: None}
    records, _ = adapt(number_rows([empty, row], "rows"), Conversation, {}, "rows", bad)
    assert (len(records), bad.count) == (1, 1)


def test_a_map_that_names_the_columns_sets_films_aside() -> None:
    row = {"messages": CHAT, "videos": ["a.mp4"]}
    ((record,), _) = adapt(number_rows([row], "rows"), Conversation, {"messages": "messages"}, "rows")
    assert record.meta == {"videos": ["a.mp4"]}


@pytest.mark.parametrize("meta", [None, "text", 1, [1]])
def test_rows_of_a_stored_records_columns_with_another_meta_are_somebodys_own(meta: Any) -> None:
    rows = [{"prompt": f"p{n}", "answer": f"#### {n}", "meta": {"n": n}} for n in range(5)]
    stored, _ = adapt(number_rows(rows, "rows"), PromptTask, {}, "rows")
    own, _ = adapt(
        number_rows([*rows, {"prompt": "p", "answer": "#### 5", "meta": meta}], "rows"), PromptTask, {}, "rows"
    )
    assert [record.meta for record in stored] == [{"n": n} for n in range(5)]
    assert [record.meta["meta"] for record in own] == [*({"n": n} for n in range(5)), meta]
    assert [record.answer for record in own] == [str(n) for n in range(6)]


@pytest.mark.parametrize("kind", ["input_audio", "video"])
def test_a_part_of_a_message_that_is_no_text_is_refused_by_its_type(kind: str) -> None:
    content = [{"type": kind, kind: {"url": "x"}}, {"type": "text", "text": "What is it?"}]
    row = {"messages": [{"role": "user", "content": content}, CHAT[1]]}
    with pytest.raises(DataError, match=f"must be text or images, found a part of type {kind}"):
        adapt(number_rows([row], "rows"), Conversation, {}, "rows")
