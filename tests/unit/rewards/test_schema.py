"""JSON schemas: what is valid, what is no JSON, and that nothing is fetched."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.verifiers.schema import Schema

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
RIGHT = '{"name": "Ada", "age": 36}'

CASES = [
    # completion, value
    (RIGHT, 1.0),
    (f"\n {RIGHT} \n", 1.0),
    (f"```json\n{RIGHT}\n```", 1.0),
    (f"Here you are:\n```\n{RIGHT}\n```\nDone.", 1.0),
    (f"<answer>{RIGHT}</answer>", 1.0),
    (f"<think>what?</think>{RIGHT}", 1.0),
    ('{"name": "use ```json\\n{}\\n``` and #### 4", "age": 1}', 1.0),
    ('{"name": "Ada", "age": 36.0}', 1.0),
    ('{"name": "Ada"}', 0.0),
    ('{"name": "Ada", "age": -1}', 0.0),
    ('{"name": "Ada", "age": "36"}', 0.0),
    ('{"name": "Ada", "age": true}', 0.0),
    ('{"name": "Ada", "age": 36, "x": 1}', 0.0),
    ('{"name": "Ada", "age": NaN}', 0.0),
    ('{"name": "Ada", "age": 1e999}', 0.0),
    ('{"name": "Ada", "age": "x", "age": 36}', 0.0),
    (f"```json\n{{}}\n```\n```json\n{RIGHT}\n```", 0.0),
    (f"```json\n{RIGHT}", 0.0),
    (f"{RIGHT} {RIGHT}", 0.0),
    (f"The JSON is {RIGHT}", 0.0),
    ("{'name': 'Ada', 'age': 36}", 0.0),
    ("[]", 0.0),
    ("", 0.0),
    ("<think>" + RIGHT, 0.0),
    ("[" * 100_000, 0.0),
    ("9" * 10_000, 0.0),
    ("\ud800", 0.0),
]


@pytest.mark.parametrize(("completion", "value"), CASES)
def test_json_is_valid_under_the_schema_or_not(completion: str, value: float) -> None:
    assert Schema(PERSON)(Sample("q", completion)).value == value


LABELS_AND_MARKS = [
    # Both were debatable and are decided so: a parser may ignore a byte order mark (RFC 8259, section 8.1), and the label of a
    # fence is no part of the JSON. What is inside still has to be JSON.
    ("\ufeff" + RIGHT, 1.0),
    (f"```json\n\ufeff{RIGHT}\n```", 1.0),
    (f"\u200b{RIGHT}\n\u200b", 1.0),
    (f"```json5\n{RIGHT}\n```", 1.0),
    (f"```javascript\n{RIGHT}\n```", 1.0),
    (f"~~~text\n{RIGHT}\n~~~", 1.0),
    (f"```python\nprint(1)\n```\n```json\n{RIGHT}\n```", 1.0),
    ("```json5\n{name: 'A', age: 3}\n```", 0.0),
    ('```jsonc\n{"name": "A", "age": 3} // a comment\n```', 0.0),
    (f"```js\n{RIGHT}\n```\n```ts\n[]\n```", 0.0),
    (f"{RIGHT[:8]}\ufeff{RIGHT[8:]}x", 0.0),
]


@pytest.mark.parametrize(("completion", "value"), LABELS_AND_MARKS)
def test_a_label_and_a_byte_order_mark_do_no_harm(completion: str, value: float) -> None:
    assert Schema(PERSON)(Sample("q", completion)).value == value


def test_the_empty_schema_asks_for_json_of_any_shape() -> None:
    assert Schema({})(Sample("q", "[1, null]")).value == 1.0
    assert Schema({})(Sample("q", "[1, null")).value == 0.0


def test_the_row_may_hold_the_schema_as_text() -> None:
    assert Schema()(Sample("q", "3", meta={"schema": '{"type": "integer"}'})).value == 1.0
    assert Schema(column="form")(Sample("q", "3", meta={"form": {"type": "string"}})).value == 0.0


@pytest.mark.parametrize("schema", [None, "{", 7, {"type": "no such type"}, {"minimum": "x"}, {"pattern": "("}])
def test_a_missing_or_broken_schema_of_a_row_cannot_judge(schema: Any) -> None:
    assert Schema()(Sample("q", RIGHT, meta={"schema": schema})).value is None


def test_a_broken_schema_of_a_recipe_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="not a JSON schema"):
        Schema({"type": "no such type"})


@pytest.mark.parametrize("url", ["http://example.org/a.json", "file:///etc/passwd", "other.json"])
def test_a_reference_that_leads_outside_is_never_fetched(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "create_connection", refuse)
    score = Schema({"$ref": url})(Sample("q", "{}"))
    assert score.value is None
    assert url in str(score.note)


def test_published_meta_schemas_are_known_without_a_network() -> None:
    schema = {"$ref": "http://json-schema.org/draft-07/schema#"}
    assert Schema(schema)(Sample("q", '{"type": "object"}')).value == 1.0
    assert Schema(schema)(Sample("q", '{"type": 3}')).value == 0.0


def test_a_schema_that_refers_to_itself_forever_cannot_judge() -> None:
    assert Schema({"$ref": "#"})(Sample("q", "{}")).value is None


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80) | st.text('{}[]",:0123456789aenrtuflsN-.', max_size=40))
def test_any_text_is_json_of_this_shape_or_not(completion: str) -> None:
    assert Schema(PERSON)(Sample("q", completion)).value in (0.0, 1.0)
