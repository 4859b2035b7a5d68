"""Reading the one submission of a completion."""

from __future__ import annotations

import pytest

from rlllm.rewards.verifiers.submissions import fenced_blocks, final_part, parse_json, submission

SUBMISSIONS = [
    ("SELECT 1", "SELECT 1"),
    ("```sql\nSELECT 1\n```", "SELECT 1"),
    ("```SQL\nSELECT 1\n```", "SELECT 1"),
    ("~~~\nSELECT 1\n~~~", "SELECT 1"),
    ("````sql\n```\n````", "```"),
    ("```python\nx\n```\n```sql\nSELECT 1\n```", "SELECT 1"),
    ("```sql\nSELECT 1\n```\nagain\n```sql\nSELECT 1\n```", "SELECT 1"),
    ("```sql\nSELECT 1\n```\n```sql\nSELECT 2\n```", None),
    ("<answer>SELECT 1</answer>", "SELECT 1"),
    ("<answer>SELECT 1</answer><answer>SELECT 2</answer>", None),
    ("<think>```sql\nSELECT 2\n```</think>SELECT 1", "SELECT 1"),
    ("<think>SELECT 1", None),
    ("```sql\n\n```", None),
    ("", None),
]


@pytest.mark.parametrize(("completion", "text"), SUBMISSIONS)
def test_one_block_is_submitted_or_none(completion: str, text: str | None) -> None:
    found = submission(completion, ("sql",))
    assert found.text == text
    assert (found.fault is None) == (text is not None)


def test_thinking_that_never_ends_leaves_nothing() -> None:
    assert final_part("<think> a") == ""
    assert final_part("a </think> b") == " b"
    assert final_part("a") == "a"


def test_many_unclosed_fences_take_no_time() -> None:
    assert fenced_blocks("```a\n~~~\n" * 50_000) == []


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", '{"a": 1, "a": 2}', "[" * 100_000, "{", ""])
def test_what_the_standard_rules_out_is_no_json(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text)
