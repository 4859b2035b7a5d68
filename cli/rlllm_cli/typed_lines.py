"""Lines that a person types or a pipe brings, and commands among them that begin with a slash."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from rlllm_cli import console

Subject = TypeVar("Subject")
Commands = Mapping[str, tuple[str, Callable[[Subject, str], None], str]]
"""Name to the argument it takes, what it does to a subject, and its help."""


def piped() -> Iterator[str]:
    """The lines of stdin that are not empty, without their ends."""
    if reconfigure := getattr(sys.stdin, "reconfigure", None):
        reconfigure(errors="replace")
    for line in sys.stdin:
        if text := line.strip("\r\n"):
            yield text


def converse(act: Callable[[str], None]) -> None:
    """Act on each line that is typed until the end of input. An error is shown, and more is read."""
    from rlllm.core.errors import RlllmError

    _edit_lines()
    while True:
        try:
            act(input("> "))
        except EOFError:
            console.say("")
            return
        except KeyboardInterrupt:
            console.say("\n(Ctrl-D leaves)")
        except RlllmError as error:
            console.show_error(error)


def command(commands: Commands[Subject], subject: Subject, line: str) -> None:
    """Carry out a line that begins with a slash. Raises ConfigError for an unknown command or a wrong argument."""
    from rlllm.core.errors import unknown

    name, _, argument = line.partition(" ")
    if name not in commands:
        raise unknown("command", name, commands)
    _, act, _ = commands[name]
    act(subject, argument.strip())


def show_help(commands: Commands[Subject]) -> None:
    """The commands, one a line."""
    console.fields((f"{name} {argument}".rstrip(), what) for name, (argument, _, what) in commands.items())


def leave(_: object, __: str) -> None:
    """Leave, as at the end of input."""
    raise EOFError


def _edit_lines() -> None:
    """With readline, `input` has a history and the keys of a shell. Not every Python has it."""
    try:
        import readline
    except ImportError:
        return
    readline.set_auto_history(True)
