"""YAML as people write it: 1e-4 is a number, and a command-line value is what it reads as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from rlllm.core import yaml_io
from rlllm.core.errors import ConfigError

SCALARS: list[tuple[str, Any]] = [
    ("1e-4", 1e-4),
    ("1E-4", 1e-4),
    ("1e5", 1e5),
    ("+1e5", 1e5),
    ("-1e-4", -1e-4),
    ("1.0e-4", 1e-4),
    ("2.5e3", 2500.0),
    ("1.e3", 1000.0),
    ("0.1", 0.1),
    ("12", 12),
    ("-3", -3),
    ("true", True),
    ("False", False),
    ("null", None),
    ("~", None),
    ("", ""),
    ("nano", "nano"),
    ("e5", "e5"),
    ("1e", "1e"),
    ("1e-4x", "1e-4x"),
    ("v1e5", "v1e5"),
    ("[1, 2e-3]", [1, 2e-3]),
    ("{name: length, weight: 1e-1}", {"name": "length", "weight": 0.1}),
    ("'1e-4'", "1e-4"),
    ("runs/a: b", {"runs/a": "b"}),
    ("[unclosed", "[unclosed"),
    ("@align", "@align"),
    ("path/to/file.py:fn", "path/to/file.py:fn"),
    ("data.jsonl#20", "data.jsonl#20"),
    ("a=b,c=d", "a=b,c=d"),
]


@pytest.mark.parametrize(("text", "expected"), SCALARS)
def test_a_command_line_value_is_what_it_reads_as(text: str, expected: Any) -> None:
    value = yaml_io.parse_scalar(text)
    assert value == expected
    assert type(value) is type(expected)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_python_prints_is_read_back_as_itself(number: float) -> None:
    assert yaml_io.parse_scalar(repr(number)) == number
    assert yaml_io.parse(f"x: {number!r}", source="here")["x"] == number


@given(st.text(max_size=30))
def test_any_text_is_a_value_or_itself(text: str) -> None:
    yaml_io.parse_scalar(text)


def test_broken_yaml_names_file_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("model: nano\ntrainer: {a: 1\nseed: 2\n")
    with pytest.raises(ConfigError, match=r"not valid YAML at line 3, column") as caught:
        yaml_io.read(path)
    assert caught.value.given == str(path)


def test_a_character_yaml_forbids_is_an_error_and_not_a_traceback() -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        yaml_io.parse("a: \x00", source="here")


def test_tags_that_build_python_objects_are_refused() -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        yaml_io.parse("!!python/object/apply:os.getcwd []", source="here")


def test_the_loader_leaves_other_users_of_yaml_alone() -> None:
    assert yaml.safe_load("1e-4") == "1e-4"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
@example("1e-4")
@example(["1e5", {"1e5": "\x85 \u2028"}])
def test_what_is_dumped_is_read_back_unchanged(value: Any) -> None:
    assert yaml_io.parse(yaml_io.dump(value), source="here") == value


def test_a_dump_keeps_the_order_of_keys() -> None:
    assert yaml_io.dump({"b": 1, "a": 2}) == "b: 1\na: 2\n"
