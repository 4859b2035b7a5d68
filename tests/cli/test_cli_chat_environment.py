"""`rlllm chat --environment`: each environment that ships, and one of a file, played by hand to its end."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import Rlllm, Said

MAZE = {
    "prompt": "Find B2 in 3 moves. You are in A1: east",
    "doors": {"A1": {"east": "B1"}, "B1": {"west": "A1", "south": "B2"}, "B2": {"north": "B1"}},
    "start": "A1",
    "goal": "B2",
    "moves": 3,
}
SHELF = '''
class Shelf:
    """Looks things up."""

    def __init__(self, greeting: str = "") -> None:
        self.greeting = greeting

    def reset(self, **row):
        self.shelf, self.found = row["shelf"], False
        return self.greeting

    def look_up(self, title: str) -> str:
        """Look up a book.

        Args:
            title: Its title.
        """
        self.found = True
        return self.shelf[title]

    def get_reward(self):
        return float(self.found)
'''


class Terminal(io.StringIO):
    """Typed lines."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def played(rlllm: Rlllm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Plays the lines with the row in `rows.jsonl`."""

    def call(words: str, row: dict[str, Any], *lines: str, kind: type[io.StringIO] = io.StringIO) -> Said:
        (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row))
        monkeypatch.setattr(sys, "stdin", kind("".join(f"{line}\n" for line in lines)))
        return rlllm(f"chat {words} --data rows.jsonl")

    return call


def test_the_calculator_is_played_to_its_answer(played) -> None:  # type: ignore[no-untyped-def]
    lines = ("/tools", "/call calculate expression=3 * (4 + 5)", "/call calculate 1/0", "/answer #### 27")
    said = played("--environment calculator --reward exact", {"prompt": "3 * (4 + 5)?", "answer": "27"}, *lines)
    assert said == Said(
        0,
        """\
calculator, row 1
user    3 * (4 + 5)?
calculate(expression: str)  Work out an arithmetic expression.
you     calculate(expression=3 * (4 + 5))
tool    27
you     calculate(expression=1/0)
tool    {'error': 'divides by zero'}
you     #### 27
reward  exact 1.000, read 27
""",
        "",
    )


def test_guess_is_played_until_the_number_is_found(played) -> None:  # type: ignore[no-untyped-def]
    row = {"prompt": "Guess my number: 1, 2, 3.", "secret": 3, "guesses": 2}
    said = played("--environment guess", row, "/call guess number=2", "/call guess 3", "/answer 3", "/row", "/answer 3")
    assert said == Said(
        0,
        """\
guess, row 1
user    Guess my number: 1, 2, 3.
you     guess(number=2)
tool    higher
you     guess(number=3)
tool    right
you     3
reward  environment 1.000
guess, row 2
user    Guess my number: 1, 2, 3.
you     3
reward  environment 0.000
""",
        "",
    )


def test_the_maze_is_walked_to_the_room(played) -> None:  # type: ignore[no-untyped-def]
    lines = ("/call go north", "/call go east", '/call go {"direction": "south"}', "/answer here")
    said = played("--environment maze", MAZE, *lines)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[2:] == [
        "you     go(direction=north)",
        "tool    {'error': 'no door leads north from A1: east'}",
        "you     go(direction=east)",
        "tool    B1: west, south",
        "you     go(direction=south)",
        "tool    found",
        "you     here",
        "reward  environment 1.000",
    ]


def test_search_is_played_over_documents_of_ones_own(played, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "docs.jsonl").write_text('{"title": "Emma", "text": "A novel by Jane Austen."}\n')
    lines = ("/call search who wrote Emma", "/call read title=emma", "/call read Hunger", "/answer #### Jane Austen")
    row = {"prompt": "Who wrote Emma?", "answer": "Jane Austen"}
    said = played("--environment search environment.corpus=docs.jsonl --reward exact", row, *lines)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[2:] == [
        "you     search(query=who wrote Emma)",
        "tool    Emma: A novel by Jane Austen.",
        "you     read(title=emma)",
        "tool    A novel by Jane Austen.",
        "you     read(title=Hunger)",
        "tool    {'error': 'no document has the title Hunger'}",
        "you     #### Jane Austen",
        "reward  exact 1.000, read Jane Austen",
    ]


def test_an_environment_of_a_file_takes_arguments_and_its_episodes_are_saved(played, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "shelf.py").write_text(SHELF)
    row = {"prompt": "Who wrote Emma?", "shelf": {"Emma": "Jane Austen"}}
    lines = ("/call look_up Emma", "/answer Jane Austen", "/save played.jsonl")
    said = played("--environment shelf.py:Shelf environment.greeting=Hello.", row, *lines)
    assert (said.code, said.err) == (0, "saved to played.jsonl: 1 episode\n")
    assert "user    Who wrote Emma?Hello." in said.out
    assert "reward  environment 1.000" in said.out
    saved = json.loads((tmp_path / "played.jsonl").read_text())
    assert [message["role"] for message in saved["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert saved["messages"][1]["tool_calls"] == [
        {"type": "function", "function": {"name": "look_up", "arguments": {"title": "Emma"}}}
    ]


def test_a_wrong_line_is_an_error_the_episode_goes_on_and_the_pipe_has_its_exit_code(played) -> None:  # type: ignore[no-untyped-def]
    row = {"prompt": "Guess my number: 1, 2, 3.", "secret": 3, "guesses": 2}
    wrong = (
        "/call gess 3",
        "/call guess three",
        "/call",
        "/answer",
        "3",
        "/jump",
        "/model",
        "/row x",
        "/temperature 1",
    )
    said = played(
        "--environment guess", row, *wrong, "", "/call guess 3", "/answer 3", "/answer 3", "/save", "/quit", "/row"
    )
    assert said.code == 2
    for text in (
        "unknown tool: gess",
        "valid integer",
        "/call needs a tool",
        "/answer needs the answer",
        "hint: /answer 3",
        "unknown command: /jump",
        "no model plays here",
        "/row needs the number",
        "nothing is sampled",
        "the episode is over",
        "/save needs a file",
    ):
        assert text in said.err, text
    assert said.out.splitlines()[-4:] == [
        "you     guess(number=3)",
        "tool    right",
        "you     3",
        "reward  environment 1.000",
    ]


def test_on_a_terminal_the_embedded_model_takes_a_turn_at_an_empty_line(played) -> None:  # type: ignore[no-untyped-def]
    row = {"prompt": "Guess my number: 1, 2, 3.", "secret": 3, "guesses": 2}
    lines = ("/help", "/call guess 2", "", "/reset", "/finish", "/temperature 0")
    said = played("nano --environment guess --temperature 0 --max-new-tokens 60", row, *lines, kind=Terminal)
    assert said.code == 0
    assert "guess, played by you and nano; /help" in said.err
    assert "/call NAME KEY=VALUE" in said.out
    shown = said.out.replace("> ", "").splitlines()
    labels = [line.split()[0] for line in shown if line.startswith(("user ", "you ", "tool ", "model ", "reward "))]
    assert labels == ["user", "you", "tool", "model", "reward", "user", "model", "reward"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--environment gues", "did you mean guess"),
        ("--environment shelf.py:Shelf", "no such file"),
        ("--environment guess level=3", "data.level=3"),
        ("--environment guess --json", "--json is not for an environment"),
        ("nano nano --environment guess", "one model at most"),
        ("--environment guess environment=maze", "given twice"),
        ("no-such-model --environment guess", "no such model"),
        ("nano nano nano", "two models at most"),
        ("--data guess", "--environment guess"),
    ],
)
def test_what_cannot_be_played_is_said_at_once(
    words: str, message: str, rlllm: Rlllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("/answer 3\n"))
    said = rlllm(f"chat {words}")
    assert (said.code, message in said.err, "Traceback" in said.err) == (2, True, False), said.err
