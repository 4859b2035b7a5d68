"""`rlllm chat`: in a pipe just replies, on a terminal a conversation with commands. The model is the embedded one."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from command_line import Rlllm, Said

CHAT = "chat nano --temperature 0 --max-new-tokens 40"


class Terminal(io.StringIO):
    """Typed lines."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def piped(rlllm: Rlllm, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def call(text: str, *words: str) -> Said:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return rlllm(*CHAT.split(), *words)

    return call


@pytest.fixture
def typed(rlllm: Rlllm, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def call(*lines: str, words: str = CHAT) -> Said:
        monkeypatch.setattr(sys, "stdin", Terminal("".join(line + "\n" for line in lines)))
        return rlllm(*words.split())

    return call


def test_in_a_pipe_each_line_gets_just_its_reply(piped) -> None:  # type: ignore[no-untyped-def]
    said = piped("What is 3 + 4?\n\n\r\nWhat is 2 + 2?\n")
    assert said.code == 0
    assert [line for line in said.out.splitlines() if line.startswith("####")] == ["#### 7", "#### 4"]
    assert (said.err, "nano" in said.out) == ("", False)
    assert piped("What is 2 + 2?").out == said.out[said.out.index("#### 7") + 7 :], (
        "a line is a conversation of its own"
    )


def test_in_a_pipe_rewards_go_to_stderr_and_slashes_are_text(piped) -> None:  # type: ignore[no-untyped-def]
    said = piped("What is 3 + 4?\n", "--reward", "exact", "--answer", "7")
    assert said.err == "exact 1.000, read 7\n"
    assert piped("/help\n").code == 0
    assert "/reset" not in piped("/help\n").out


def test_json_is_one_object_a_reply(piped) -> None:  # type: ignore[no-untyped-def]
    rows = [json.loads(line) for line in piped("What is 3 + 4?\n", "--json", "--reward", "exact").out.splitlines()]
    assert [row["prompt"] for row in rows] == ["What is 3 + 4?"]
    assert (rows[0]["model"], rows[0]["ending"], rows[0]["rewards"]["exact"]["value"]) == ("nano", "end", None)


def test_nothing_to_answer_is_no_error(piped) -> None:  # type: ignore[no-untyped-def]
    said = piped("")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_two_models_answer_under_their_names(rlllm: Rlllm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is 3 + 4?\n"))
    said = rlllm("chat nano nano --temperature 0 --max-new-tokens 40")
    names = [line for line in said.out.splitlines() if line.startswith("nano")]
    assert names == ["nano", "nano 2"]


def test_a_conversation_has_commands_and_survives_wrong_ones(typed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    said = typed(
        "/help",
        "/answer 7",
        "What is 3 + 4?",
        "/temperature hot",
        "/temperature",
        "/temperature 0.5",
        "/nonsense",
        "/save said.jsonl",
        "/save said.jsonl",
        "/reset",
        "/system Add.",
        "/save",
        words=f"{CHAT} --reward exact",
    )
    assert said.code == 0
    assert "#### 7" in said.out
    assert "exact 1.000, read 7" in said.out
    for text in (
        "/temperature X",
        "unknown command",
        "temperature 0.5",
        "exists already",
        "begins anew",
        "needs a file",
    ):
        assert text in said.out + said.err, text
    assert "Traceback" not in said.err
    (row,) = map(json.loads, (tmp_path / "said.jsonl").read_text().splitlines())
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"]


def test_quit_leaves_and_a_leading_blank_makes_a_question_of_a_slash(typed) -> None:  # type: ignore[no-untyped-def]
    said = typed(" /help", "/quit", "What is 3 + 4?")
    assert "/reset" not in said.out
    assert "#### 7" not in said.out


def test_two_models_stand_side_by_side_on_a_wide_terminal(typed, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)
    said = typed("What is 3 + 4?", words="chat nano nano --temperature 0 --reward exact --answer 7")
    assert any(line.count("#### 7") == 2 for line in said.out.splitlines())
    assert any(line.count("exact 1.000") == 2 for line in said.out.splitlines())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("chat no-such-model", "no such model"),
        ("chat nano --reward nope", "unknown reward"),
        ("chat nano --temperature -1", "temperature"),
        ("chat nano --max-new-tokens 0", "max_new_tokens"),
        ("chat", "missing argument"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    words: str, message: str, rlllm: Rlllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
    said = rlllm(words)
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err


@pytest.fixture
def red(tmp_path: Path) -> str:
    from PIL import Image

    Image.new("RGB", (40, 20), "red").save(tmp_path / "red.png")
    return str(tmp_path / "red.png")


def test_an_image_stands_before_the_next_question_alone(typed, red: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    words = "chat nano-vision --temperature 0 --max-new-tokens 4"
    said = typed(f"/image {red}", "Which colour?", "And now?", f"/save {tmp_path / 'said.jsonl'}", words=words)
    assert said.code == 0, said.err
    assert "(40 x 20) stands before the next question: 1 in all" in said.err
    messages = json.loads((tmp_path / "said.jsonl").read_text())["messages"]
    assert messages[0]["content"] == [{"type": "image", "image": red}, {"type": "text", "text": "Which colour?"}]
    assert messages[2]["content"] == "And now?"


def test_an_image_for_a_model_that_reads_text_is_refused(piped, red: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    said = piped("Which colour?\n", "--image", red)
    assert (said.code, "the model reads text only" in said.err) == (2, True)
    assert "no such image file" in piped("?\n", "--image", str(tmp_path / "none.png")).err
