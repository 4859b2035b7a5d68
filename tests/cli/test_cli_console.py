"""What is printed where, and in which shape."""

from __future__ import annotations

import io
import json

import pytest

from rlllm.core.errors import RlllmError
from rlllm_cli import console


def test_a_table_in_a_pipe_is_plain_and_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(("name", "n"), [("a", 1), ("longer name", None), ("c", 2.5)])
    assert capsys.readouterr().out == "name         n\na            1\nlonger name\nc            2.5\n"


def test_a_table_without_rows_still_has_its_headers(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(("name", "n"), [])
    assert capsys.readouterr().out == "name  n\n"


def test_a_table_on_a_terminal_takes_brackets_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    console.table(("name",), [("[bold]0.5 [0.4, 0.6]",)])
    assert "[bold]0.5 [0.4, 0.6]" in capsys.readouterr().out


def test_fields_indent_what_has_several_lines(capsys: pytest.CaptureFixture[str]) -> None:
    console.fields([("a", "1"), ("long", "x\ny"), ("b", "")])
    assert capsys.readouterr().out == "a     1\nlong  x\n      y\nb\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 数 \t tab", "plain äöü 数 \t tab"),
        ("\x1b[2Jcleared", "\\x1b[2Jcleared"),
        ("a\rb\x07", "a\\rb\\x07"),
        ("\u202ereversed", "\\u202ereversed"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_are_spelled_out(text: str, shown: str) -> None:
    assert console.visible(text) == shown


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit_json({"a": [float("nan"), 1.5], "b": {"c": float("inf")}, "d": (1, None)})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5], "b": {"c": None}, "d": [1, None]}


def test_an_error_is_what_given_exists_hint(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    console.show_error(RlllmError("it broke", given="this", exists=[f"choice-{n}" for n in range(50)], hint="try that"))
    streams = capsys.readouterr()
    lines = streams.err.splitlines()
    assert streams.out == ""
    assert lines[:2] == ["error: it broke", "given: this"]
    assert lines[2].startswith("exists: choice-0, choice-1,")
    assert lines[-3].endswith("and 10 more")
    assert lines[-2:] == ["", "hint: try that"]
    assert all(len(line) <= 60 for line in lines)


def test_an_error_without_details_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_error(RlllmError("it broke"))
    assert capsys.readouterr().err == "error: it broke\n"


@pytest.mark.parametrize(
    ("terminal", "variables", "painted"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(
    terminal: bool, variables: dict[str, str], painted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    assert console.paint("x", "31", stream) == ("\x1b[31mx\x1b[0m" if painted else "x")
