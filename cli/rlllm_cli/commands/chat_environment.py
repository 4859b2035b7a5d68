"""`rlllm chat --environment`: an episode of an environment, played by hand, by a model, or by both in turns.

Every line of stdin is a command, on a terminal and in a pipe; an empty one lets the model take a turn on a terminal, and is
nothing in a pipe. The transcript goes to stdout. An error is shown and the episode
goes on; in a pipe the first error decides the exit code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rlllm_cli import console, typed_lines

if TYPE_CHECKING:
    from rlllm.core.records import Message
    from rlllm.rewards.config import RewardSpec
    from rlllm.rollouts.config import SamplingConfig
    from rlllm.tools.play import Play

_WIDTH = len("reward")
"""Columns of the label in front of a turn."""


def play(
    settings: Iterable[tuple[str, Any]],
    model: str | None,
    sampling: SamplingConfig,
    rewards: Sequence[RewardSpec],
    seed: int,
) -> None:
    """Play episodes by the lines of stdin.

    Args:
        settings: of `environment` and `data`, as they were typed.
        model: who plays beside the person, if anybody.
        sampling: of the model's turns.
        rewards: what scores an episode; without any, those of the data.
        seed: of the sampling.
    """
    from rlllm.tools.play import open_play, play_settings

    opened = open_play(play_settings(settings), model, sampling, rewards=rewards, seed=seed)
    if not sys.stdin.isatty():
        _show_opening(opened)
        _follow(opened)
        return
    console.say(f"{opened.environment.name}, played by {_players(opened)}; /help lists the commands, Ctrl-D leaves")
    _show_opening(opened)
    typed_lines.converse(lambda line: _act(opened, line))


def _players(play: Play) -> str:
    return "you" if play.model is None else f"you and {play.model}"


def _follow(play: Play) -> None:
    """Carry out the lines of a pipe. Raises Exit with the exit code of the first error, once all lines are done."""
    from rlllm.core.errors import ExitCode, RlllmError

    code = ExitCode.OK
    for line in filter(str.strip, typed_lines.piped()):
        try:
            _act(play, line)
        except EOFError:
            break
        except RlllmError as error:
            console.show_error(error)
            code = code or error.exit_code
    if code:
        raise typer.Exit(int(code))


def _act(play: Play, line: str) -> None:
    from rlllm.core.errors import ConfigError

    if line.startswith("/"):
        typed_lines.command(_COMMANDS, play, line)
    elif not line.strip():
        _model(play, "")
    else:
        raise ConfigError("a line is a command here", given=line, hint=f"/answer {line}")


def _show_opening(play: Play) -> None:
    console.heading(f"{play.environment.name}, row {play.row}")
    for message in play.opening:
        _show(message["role"], _text(message))


def _show_turns(play: Play, player: str, messages: Sequence[Message]) -> None:
    """New turns and results of tools; at the end of the episode also why it ended and what it is worth."""
    for message in messages:
        _show("tool" if message["role"] == "tool" else player, _text(message))
    if play.ending in _CUT:
        _show("end", _CUT[play.ending])
    if play.ending:
        for name, row in play.scores().items():
            _show("reward", console.score_line(name, row))


_CUT = {
    "rounds": "the rounds of calls are used up: the last call is not answered",
    "length": "the length limit is reached",
}
"""Why an episode ended without an answer."""


def _text(message: Message) -> str:
    """A message for a reader: its words, and its calls as `name(key=value)`."""
    from rlllm.rollouts.environments.base import transcript_text

    return (message["content"] if message["role"] == "tool" else transcript_text([message])) or "(empty)"


def _show(label: str, text: str) -> None:
    console.fields([(label.ljust(_WIDTH), text)])


def _tools(play: Play, _: str) -> None:
    console.fields((str(tool), tool.summary) for tool in play.tools)


def _call(play: Play, text: str) -> None:
    from rlllm.core.errors import ConfigError

    if not text:
        raise ConfigError(
            "/call needs a tool", exists=[str(tool) for tool in play.tools], hint="/call NAME key=value ..."
        )
    _show_turns(play, "you", play.call(text))


def _answer(play: Play, text: str) -> None:
    from rlllm.core.errors import ConfigError

    if not text:
        raise ConfigError("/answer needs the answer", hint="/answer 42")
    _show_turns(play, "you", play.answer(text))


def _model(play: Play, _: str) -> None:
    _show_turns(play, "model", play.model_turn())


def _finish(play: Play, _: str) -> None:
    _model(play, "")
    while not play.ending:
        _model(play, "")


def _row(play: Play, text: str) -> None:
    from rlllm.core.errors import ConfigError

    if text and not text.isdecimal():
        raise ConfigError("/row needs the number of a row", given=f"/row {text}", hint="/row 2")
    play.begin(int(text) if text else play.row % len(play.tasks) + 1)
    _show_opening(play)


def _reset(play: Play, _: str) -> None:
    play.begin(play.row)
    _show_opening(play)


def _temperature(play: Play, text: str) -> None:
    from rlllm.core.errors import ConfigError

    if not text:
        raise ConfigError("/temperature needs a number", hint="/temperature 0.7")
    console.say(f"temperature {play.set_temperature(text):g}")


def _save(play: Play, text: str) -> None:
    from rlllm.core.errors import ConfigError

    if not text:
        raise ConfigError("/save needs a file", hint="/save played.jsonl")
    count = play.save(Path(text).expanduser())
    console.say(f"saved to {text}: {count} episode{'' if count == 1 else 's'}")


def _help(_: Play, __: str) -> None:
    typed_lines.show_help(_COMMANDS)


_COMMANDS: typed_lines.Commands[Play] = {
    "/tools": ("", _tools, "list the tools"),
    "/call": ("NAME KEY=VALUE ...", _call, 'call a tool; also NAME {"key": value}, or NAME VALUE for one argument'),
    "/answer": ("TEXT", _answer, "give the final answer, and see what the episode is worth"),
    "/model": ("", _model, "let the model take its next turn, as an empty line does"),
    "/finish": ("", _finish, "let the model play to the end"),
    "/row": ("[N]", _row, "begin an episode on row N; without N, on the next one"),
    "/reset": ("", _reset, "begin the episode anew"),
    "/temperature": ("X", _temperature, "sample the model's turns at this temperature; 0 takes the likeliest token"),
    "/save": ("FILE", _save, "write the episodes as JSON lines"),
    "/help": ("", _help, "list the commands"),
    "/quit": ("", typed_lines.leave, "leave, as Ctrl-D does"),
}
