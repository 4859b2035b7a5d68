"""`rlllm chat`: talk to one model, or to two side by side. In a pipe every line of stdin is a separate question.

Replies go to stdout. On a terminal they appear as they are sampled. On a wide terminal, two models stand in two columns once
both replies are complete; on a narrow one, below each other.
"""

from __future__ import annotations

import json as jsonlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlllm_cli import completion, console, options, overrides

if TYPE_CHECKING:
    from rlllm.tools.chat import Chat, Reply, TextCallback

WIDE = 100
"""Columns from which two replies stand side by side."""
_DIM = "2"
_MODEL = "A run, a folder, a Hub id, or nano."


def chat(
    a: Annotated[str, typer.Argument(metavar="A", help=_MODEL, autocompletion=completion.runs)],
    b: Annotated[
        str | None,
        typer.Argument(metavar="B", help="A second model.", show_default=False, autocompletion=completion.runs),
    ] = None,
    reward: options.Reward = None,
    answer: Annotated[
        str | None, typer.Option("--answer", help="The right answer, for rewards that compare.", show_default=False)
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", help="A system message to begin with.", show_default=False)
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", help="0 always takes the likeliest token.")] = 0.7,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Length limit of a reply.")] = 512,
    seed: Annotated[int, typer.Option("--seed", help="Of the sampling.")] = 0,
    json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print one JSON object a reply, each on one line.")
    ] = False,
) -> None:
    """Talk to a model, or to two side by side."""
    from rlllm.rewards.config import RewardSpec
    from rlllm.rollouts.config import SamplingConfig
    from rlllm.tools.chat import open_chat

    opened = open_chat(
        [a] if b is None else [a, b],
        SamplingConfig.checked({"temperature": temperature, "max_new_tokens": max_new_tokens}),
        rewards=[RewardSpec.checked(spec) for spec in overrides.read_rewards(reward or ())],
        seed=seed,
        system=system,
        answer=answer,
    )
    if sys.stdin.isatty():
        _talk(opened, _answer_json if json else _answer)
    else:
        _answer_lines(opened, _print_json if json else _print_text)


def _answer_lines(chat: Chat, show: Callable[[str, list[Reply]], None]) -> None:
    """Every line that is not blank begins a conversation of its own. Raises Abort on Ctrl-C."""
    for line in _lines():
        chat.reset()
        replies = list(chat.replies(line))
        if replies[-1].ending == "interrupted":
            raise typer.Abort
        show(line, replies)


def _lines() -> Iterator[str]:
    if reconfigure := getattr(sys.stdin, "reconfigure", None):
        reconfigure(errors="replace")
    for line in sys.stdin:
        if text := line.strip("\r\n"):
            yield text


def _print_text(_: str, replies: list[Reply]) -> None:
    for reply in replies:
        if len(replies) > 1:
            console.heading(reply.model)
        print(console.visible(reply.text) if sys.stdout.isatty() else reply.text, flush=True)
        for line in _remarks(reply):
            console.say(line)


def _print_json(question: str, replies: list[Reply]) -> None:
    for reply in replies:
        row = {"model": reply.model, "prompt": question, "reply": reply.text, "tokens": reply.tokens}
        row |= {"ending": reply.ending, "rewards": dict(reply.rewards)}
        print(jsonlib.dumps(row, ensure_ascii=False), flush=True)


def _talk(chat: Chat, answer: Callable[[Chat, str], None]) -> None:
    """Read questions and commands until the end of input. An error is shown, and the conversation goes on."""
    from rlllm.core.errors import RlllmError

    _edit_lines()
    names = " and ".join(
        f"{dialogue.name}{'' if dialogue.chats else ' (continues text)'}" for dialogue in chat.dialogues
    )
    console.say(f"talking to {names}; /help lists the commands, Ctrl-D leaves")
    while True:
        try:
            line = input("> ")
            if line.startswith("/"):
                _command(chat, line)
            elif line.strip():
                answer(chat, line)
        except EOFError:
            console.say("")
            return
        except KeyboardInterrupt:
            console.say("\n(Ctrl-D leaves)")
        except RlllmError as error:
            console.show_error(error)


def _edit_lines() -> None:
    """With readline, `input` has a history and the keys of a shell. Not every Python has it."""
    try:
        import readline
    except ImportError:
        return
    readline.set_auto_history(True)


def _answer(chat: Chat, question: str) -> None:
    several = len(chat.dialogues) > 1
    if several and sys.stdout.isatty() and shutil.get_terminal_size().columns >= WIDE:
        _side_by_side(list(chat.replies(question)))
        return
    for reply in chat.replies(question, _live if several else lambda _: _write):
        print(flush=True)
        for line in _remarks(reply):
            print(console.paint(f"  {line}", _DIM, sys.stdout))


def _side_by_side(replies: list[Reply]) -> None:
    texts = [console.visible(reply.text) for reply in replies]
    console.table([reply.model for reply in replies], [texts, ["\n".join(_remarks(reply)) for reply in replies]])


def _answer_json(chat: Chat, question: str) -> None:
    _print_json(question, list(chat.replies(question)))


def _live(name: str) -> TextCallback:
    console.heading(name)
    return _write


def _write(piece: str) -> None:
    print(console.visible(piece), end="", flush=True)


def _remarks(reply: Reply) -> list[str]:
    """Lines below a reply: why it ended early, and its rewards."""
    lines = []
    if reply.ending != "end":
        reason = {"length": "cut off at the limit", "interrupted": "interrupted"}[reply.ending]
        lines.append(f"[{reason} after {reply.tokens} tokens]")
    return lines + [_scored(name, row) for name, row in reply.rewards.items()]


def _scored(name: str, row: Mapping[str, Any]) -> str:
    """`exact 1.000, read 42`; of a reward that cannot judge, why."""
    value = row["value"]
    parts = [f"{name} {'cannot judge' if value is None else f'{value:.3f}'}"]
    parts += [f"read {row['parsed']}"] if row.get("parsed") else []
    parts += [str(row[key]) for key in ("note", "error") if row.get(key)]
    return console.visible(", ".join(parts))


def _command(chat: Chat, line: str) -> None:
    """Carry out a line that begins with a slash. Raises ConfigError for an unknown command or a wrong argument."""
    from rlllm.core.errors import unknown

    name, _, argument = line.partition(" ")
    if name not in _COMMANDS:
        raise unknown("command", name, _COMMANDS)
    _, act, _ = _COMMANDS[name]
    act(chat, argument.strip())


def _help(_: Chat, __: str) -> None:
    console.fields((f"{name} {argument}".rstrip(), what) for name, (argument, _, what) in _COMMANDS.items())
    console.say("a line that begins with a blank is a question, whatever follows")


def _reset(chat: Chat, _: str) -> None:
    chat.reset()
    console.say("the conversation begins anew")


def _system(chat: Chat, text: str) -> None:
    chat.set_system(text or None)
    console.say(
        "the conversation begins anew" + (", with that system message" if text else ", without a system message")
    )


def _temperature(chat: Chat, text: str) -> None:
    from rlllm.core.errors import ConfigError
    from rlllm.rollouts.config import SamplingConfig

    if not text:
        raise ConfigError("/temperature needs a number", hint="/temperature 0.7")
    chat.sampling = SamplingConfig.checked({**chat.sampling.model_dump(), "temperature": text})
    console.say(f"temperature {chat.sampling.temperature:g}")


def _reference(chat: Chat, text: str) -> None:
    chat.answer = text or None
    console.say(f"the right answer is now: {text}" if text else "there is no right answer now")


def _save(chat: Chat, text: str) -> None:
    from rlllm.core.errors import ConfigError

    if not text:
        raise ConfigError("/save needs a file", hint="/save chat.jsonl")
    chat.save(Path(text).expanduser())
    console.say(f"saved to {text}")


def _leave(_: Chat, __: str) -> None:
    raise EOFError


_COMMANDS: dict[str, tuple[str, Callable[[Chat, str], None], str]] = {
    "/reset": ("", _reset, "forget the conversation"),
    "/system": ("TEXT", _system, "begin anew under a system message; without TEXT, under none"),
    "/temperature": ("X", _temperature, "sample at this temperature; 0 takes the likeliest token"),
    "/answer": ("TEXT", _reference, "the right answer, for rewards that compare; without TEXT, none"),
    "/save": ("FILE", _save, "write the conversation as JSON lines"),
    "/help": ("", _help, "list the commands"),
    "/quit": ("", _leave, "leave, as Ctrl-D does"),
}
"""Name to the argument it takes, what it does, and its help."""
