"""`rlllm`: the command table, and the one border where errors become a message and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from rlllm_cli import console, ranks, streams
from rlllm_cli.commands import (
    chat,
    claim,
    compare_report,
    config_import,
    doctor,
    export,
    lifecycle,
    listings,
    pipelines,
    plan,
    recipes,
    runs,
    selftest,
    sweep,
    traces,
    verify,
)
from rlllm_cli.invocation import Invocation
from rlllm_cli.options import OptionsOnce, VerbCommand

if TYPE_CHECKING:
    from rlllm.core.errors import RlllmError

PANELS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Lifecycle": {
        "pretrain": lifecycle.pretrain,
        "sft": lifecycle.sft,
        "train-rm": lifecycle.train_rm,
        "align": lifecycle.align,
        "reason": lifecycle.reason,
        "eval": lifecycle.evaluate,
    },
    "Look": {
        "plan": plan.plan,
        "compare": compare_report.compare,
        "report": compare_report.report,
        "export": export.export,
        "claim": claim.claim,
        "verify": verify.verify,
        "chat": chat.chat,
        "runs": runs.app,
        "traces": traces.app,
        "doctor": doctor.doctor,
        "selftest": selftest.selftest,
    },
    "Parts": {
        "recipes": recipes.app,
        "methods": listings.methods,
        "rewards": listings.rewards,
        "metrics": listings.metrics,
        "monitors": listings.monitors,
        "data": listings.data,
        "config": config_import.app,
    },
    "Whole": {"demo": pipelines.demo, "run": pipelines.run, "sweep": sweep.sweep},
}
_HELP = {"help_option_names": ["-h", "--help"]}
_OPEN = {**_HELP, "allow_extra_args": True, "ignore_unknown_options": True}


class Commands(TyperGroup):
    """A group that shows its help when nothing follows, and has a did-you-mean for its commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args or ctx.resilient_parsing else ["--help"])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise self.unknown_command(args[0], ctx.command_path)
        return super().resolve_command(ctx, args)

    def unknown_command(self, word: str, path: str) -> RlllmError:
        """The error for a word that is no command of this group."""
        from rlllm.core.errors import unknown

        return unknown("command", word, self.commands, list_command=f"{path} --help")


class Root(Commands):
    """The root group; its panels come in the order of a run's life, also where help is plain text."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first, *rest = args or [""]
        args = {"version": ["--version"], "help": [*rest, "--help"]}.get(first, args)
        return super().parse_args(ctx, args)

    def unknown_command(self, word: str, path: str) -> RlllmError:
        """The error for a word that is no verb; methods and the verbs of other tools are answered with a line to type."""
        from rlllm.algorithms.registry import METHODS
        from rlllm.core.errors import ConfigError
        from rlllm.core.other_names import command_for

        verb = f"{METHODS.load(word).stages[0]} --method {word}" if word in METHODS else command_for(word)
        if verb is None:
            return super().unknown_command(word, path)
        return ConfigError(f"unknown command: {word}", hint=f"type {path} {verb}")

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for panel in PANELS.values() for name in panel]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for panel, names in PANELS.items():
            with formatter.section(panel):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(100)) for name in names])


def build() -> typer.Typer:
    """The whole command table."""
    app = typer.Typer(
        cls=Root,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        pretty_exceptions_enable=False,
        context_settings=_HELP,
        help="The reinforcement-learning lifecycle of a language model, from a shell.",
        epilog="Begin with: rlllm demo",
    )
    app.callback()(root)
    for panel, commands in PANELS.items():
        for name, command in commands.items():
            if isinstance(command, typer.Typer):
                for registered in command.registered_commands:
                    registered.cls = OptionsOnce
                app.add_typer(command, name=name, cls=Commands, context_settings=_HELP, rich_help_panel=panel)
            elif panel == "Lifecycle" or command is plan.plan:
                kind = plan.PlanCommand if command is plan.plan else VerbCommand
                app.command(name, cls=kind, context_settings=_OPEN, rich_help_panel=panel)(command)
            else:
                app.command(name, cls=OptionsOnce, context_settings=_HELP, rich_help_panel=panel)(command)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from rlllm import __version__

        console.emit(f"rlllm {__version__}")
        raise typer.Exit


def root(
    _version: Annotated[
        bool,
        typer.Option("--version", "-V", metavar="", help="Print the version.", is_eager=True, callback=_print_version),
    ] = False,
    _traceback: Annotated[
        bool, typer.Option("--traceback", metavar="", help="Anywhere on the line: show Python's traceback of an error.")
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str] | None = None) -> int:
    """Entry point: run a command line and return its exit code.

    Args:
        arguments: what follows `rlllm`; default: this process's own.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    show_traceback = "--traceback" in words or os.environ.get("RLLLM_TRACEBACK", "") not in ("", "0")
    words = [word for word in words if word != "--traceback"]
    with streams.kept() as out, warnings.catch_warnings():
        warnings.showwarning = _show_warning
        code, own = 0, None
        try:
            command, own = get_command(build()), ranks.Console()
            done = command.main(words, prog_name="rlllm", standalone_mode=False, obj=Invocation(tuple(words)))
            code = done if isinstance(done, int) else 0
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the sys.exit of a user's file is no success; that of --show-completion is one
            if isinstance(error, SystemExit) and not _of_a_plugin(error):
                raise
            if own is not None:
                own.last_word(f"error: {error}".partition("\n")[0])
            if show_traceback:
                sys.excepthook = _show_traceback
                raise
            code = show(error)
        if reason := streams.lost(out):
            console.say(f"error: what was to be printed is lost: {reason}")
            return code or 1
    return code


def _of_a_plugin(error: BaseException) -> bool:
    from rlllm.core.plugin_errors import plugin_place

    return plugin_place(error) is not None


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    """Python's warning, by the border to the terminal: that a server is left out shows what it answered."""
    console.say(warnings.formatwarning(message, category, filename, lineno).rstrip())


def _show_traceback(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Python's traceback, by the border to the terminal: the message of an error holds what others wrote."""
    import traceback

    console.say("".join(traceback.format_exception(kind, error, trace)).rstrip())


def show(error: BaseException) -> int:
    """An error as one screen on stderr; returns its exit code."""
    from rlllm.core.errors import RlllmError

    if isinstance(error, RlllmError):
        console.show_error(error)
        return int(error.exit_code)
    if isinstance(error, typer.TyperException):
        console.show_error(_usage_error(error))
        return 2
    if isinstance(error, typer.Abort):
        return 130
    unexpected = _unexpected(error)
    console.show_error(unexpected)
    return int(unexpected.exit_code)


def _usage_error(error: typer.TyperException) -> RlllmError:
    """A complaint of the option parser, in the shape of all other errors."""
    from rlllm.core.errors import ConfigError

    context = getattr(error, "ctx", None)
    path = context.command_path if context else "rlllm"
    near = getattr(error, "possibilities", None)
    hint = f"did you mean {near[0]}?" if near else f"{path} --help"
    message = (error.message if near else error.format_message()).rstrip(".")
    return ConfigError(f"{message[:1].lower()}{message[1:]}", hint=hint)


def _unexpected(error: BaseException) -> RlllmError:
    """Names the file and line of a plugin, where one had a part in the error; otherwise it is a bug in rlllm."""
    from rlllm.core.errors import ConfigError, PluginError, RlllmError, describe, shortened
    from rlllm.core.plugin_errors import existing_attributes, plugin_place

    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # every path is looked up somewhere
        return ConfigError(
            "a name that is too long for any file",
            given=shortened(str(error.filename)),
            hint="is it a text, or a list?",
        )
    place = plugin_place(error)
    if place is not None:
        return PluginError(
            f"{place.file}, line {place.line}, raised {describe(error)}",
            exists=existing_attributes(error),
            hint="--traceback shows how it was called",
        )
    return RlllmError(
        f"unexpected {describe(error)}",
        hint="this is a bug in rlllm; run it again with --traceback and report what that shows",
    )
