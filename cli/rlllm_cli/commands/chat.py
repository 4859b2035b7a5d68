"""`rlllm chat`: talk to one model, or to two side by side. In a pipe every line of stdin is a separate question.

With --environment, an episode of an environment is played; see `commands.chat_environment`.

Replies go to stdout. On a terminal they appear as they are sampled. On a wide terminal, two models stand in two columns once
both replies are complete; on a narrow one, below each other.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlllm_cli import completion, console, options, overrides, typed_lines
from rlllm_cli.commands import chat_environment

if TYPE_CHECKING:
    from rlllm.tools.chat import Chat, Reply, TextCallback

WIDE = 100
"""Columns from which two replies stand side by side."""
_DIM = "2"
_MODEL = "A run, a folder, a Hub id, or nano."


_Images = Annotated[
    list[Path] | None,
    typer.Option(
        "--image",
        metavar="FILE",
        help="An image before the first question, or before every line of a pipe; several times for several.",
        show_default=False,
    ),
]


def chat(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]... [KEY=VALUE]...",
            help=f"{_MODEL} Two models stand side by side. KEY=VALUE: the environment and its data.",
            show_default=False,
            autocompletion=completion.runs,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="The model, as an option.", show_default=False)
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment",
            metavar="NAME",
            help="Play it, by hand or with a model; a name or file.py:Class. See: rlllm doctor.",
            show_default=False,
        ),
    ] = None,
    data: options.Data = None,
    reward: options.Reward = None,
    answer: Annotated[
        str | None, typer.Option("--answer", help="The right answer, for rewards that compare.", show_default=False)
    ] = None,
    image: _Images = None,
    system: Annotated[
        str | None, typer.Option("--system", help="A system message to begin with.", show_default=False)
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", help="0 always takes the likeliest token.")] = 0.7,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", help="Length limit of a reply, or of all turns of an episode.")
    ] = 512,
    seed: Annotated[int, typer.Option("--seed", help="Of the sampling.")] = 0,
    json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print one JSON object a reply, each on one line.")
    ] = False,
) -> None:
    """Talk to a model, or to two side by side; or play an environment."""
    from rlllm.core.yaml_io import parse_scalar
    from rlllm.rewards.config import RewardSpec
    from rlllm.rollouts.config import SamplingConfig

    typed = overrides.read_words("chat", words or ())
    models = [*([model] if model else []), *typed.bare]
    flags = {"environment": parse_scalar(environment or "") or None, "data": data}
    settings = [*overrides.flag_overrides(flags, typed.overrides), *typed.overrides]
    sampling = SamplingConfig.checked({"temperature": temperature, "max_new_tokens": max_new_tokens})
    rewards = [RewardSpec.checked(spec) for spec in overrides.read_rewards(reward or ())]
    if settings:
        _refuse_beside_environment(models, {"--answer": answer, "--image": image, "--system": system, "--json": json})
        chat_environment.play(settings, next(iter(models), None), sampling, rewards, seed)
        return
    from rlllm.tools.chat import open_chat

    _check_number(models)
    images = [_reference_of(path) for path in image or ()]
    _begin(open_chat(models, sampling, rewards=rewards, seed=seed, system=system, answer=answer), images, json)


def _begin(chat: Chat, images: list[str], json: bool) -> None:
    if sys.stdin.isatty():
        chat.images = images
        _talk(chat, _answer_json if json else _answer)
    else:
        _answer_lines(chat, images, _print_json if json else _print_text)


def _reference_of(path: Path) -> str:
    """The image of a file, after a look into it. Raises DataError where it is none."""
    from rlllm.core.images import open_image

    reference = str(path.expanduser().resolve())
    open_image(reference)
    return reference


def _check_number(models: list[str]) -> None:
    from rlllm.core.errors import ConfigError

    if not models:
        raise ConfigError("missing argument: a model", hint="rlllm chat nano, or rlllm chat --environment guess")
    if len(models) > 2:
        raise ConfigError("two models at most stand side by side", given=" ".join(models), hint="name one or two")


def _refuse_beside_environment(models: list[str], options_given: Mapping[str, object]) -> None:
    """Raise ConfigError for what an episode of an environment has no use for."""
    from rlllm.core.errors import ConfigError

    hints = {
        "--answer": "the row of the data has the answer",
        "--image": "environments are played with text",
        "--system": "data.system_prompt=TEXT",
        "--json": "/save FILE writes JSON lines",
    }
    given = next((name for name, value in options_given.items() if value), None)
    if given is not None:
        raise ConfigError(f"{given} is not for an environment", given=given, hint=hints[given])
    if len(models) > 1:
        raise ConfigError("one model at most plays an environment", given=" ".join(models), hint="name one, or none")


def _answer_lines(chat: Chat, images: list[str], show: Callable[[str, list[Reply]], None]) -> None:
    """Every line that is not blank begins a conversation of its own. Raises Abort on Ctrl-C."""
    for line in typed_lines.piped():
        chat.reset()
        chat.images = images
        replies = list(chat.replies(line))
        if replies[-1].ending == "interrupted":
            raise typer.Abort
        show(line, replies)


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
        print(console.as_json(row), flush=True)


def _talk(chat: Chat, answer: Callable[[Chat, str], None]) -> None:
    """Read questions and commands until the end of input. An error is shown, and the conversation goes on."""
    names = " and ".join(
        f"{dialogue.name}{'' if dialogue.chats else ' (continues text)'}" for dialogue in chat.dialogues
    )
    console.say(f"talking to {names}; /help lists the commands, Ctrl-D leaves")

    def act(line: str) -> None:
        if line.startswith("/"):
            typed_lines.command(_COMMANDS, chat, line)
        elif line.strip():
            answer(chat, line)

    typed_lines.converse(act)


def _answer(chat: Chat, question: str) -> None:
    several = len(chat.dialogues) > 1
    if several and sys.stdout.isatty() and shutil.get_terminal_size().columns >= WIDE:
        _side_by_side(list(chat.replies(question)))
        return
    for reply in chat.replies(question, _live if several else lambda _: _write):
        print(flush=True)
        for line in _remarks(reply):
            console.emit_painted([(f"  {line}", _DIM)])


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
    return lines + [console.score_line(name, row) for name, row in reply.rewards.items()]


def _help(_: Chat, __: str) -> None:
    typed_lines.show_help(_COMMANDS)
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


def _image(chat: Chat, text: str) -> None:
    from rlllm.core.images import image_size

    if not text:
        chat.images = []
        console.say("the next question has no image")
        return
    reference = _reference_of(Path(text))
    chat.images = [*chat.images, reference]
    width, height = image_size(reference)
    console.say(f"{text} ({width} x {height}) stands before the next question: {len(chat.images)} in all")


def _save(chat: Chat, text: str) -> None:
    from rlllm.core.errors import ConfigError

    if not text:
        raise ConfigError("/save needs a file", hint="/save chat.jsonl")
    chat.save(Path(text).expanduser())
    console.say(f"saved to {text}")


_COMMANDS: typed_lines.Commands[Chat] = {
    "/reset": ("", _reset, "forget the conversation"),
    "/system": ("TEXT", _system, "begin anew under a system message; without TEXT, under none"),
    "/temperature": ("X", _temperature, "sample at this temperature; 0 takes the likeliest token"),
    "/answer": ("TEXT", _reference, "the right answer, for rewards that compare; without TEXT, none"),
    "/image": ("FILE", _image, "put an image before the next question; without FILE, take all away"),
    "/save": ("FILE", _save, "write the conversation as JSON lines"),
    "/help": ("", _help, "list the commands"),
    "/quit": ("", typed_lines.leave, "leave, as Ctrl-D does"),
}
