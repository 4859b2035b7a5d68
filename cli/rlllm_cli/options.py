"""Options that several verbs share, each declared once. Whatever else is typed is read by `overrides`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from rlllm_cli import completion, console
from rlllm_cli.overrides import join_values, method_named
from rlllm_cli.settings import show_settings

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RECIPE|KEY=VALUE",
        help="A recipe's name or file, and settings to override.",
        show_default=False,
        autocompletion=completion.words,
    ),
]
TaskWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TASK|RECIPE|KEY=VALUE",
        help="Tasks to evaluate, or a recipe, and settings to override.",
        show_default=False,
        autocompletion=completion.words,
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="nano, a folder, a Hub id, or a run directory.", show_default=False),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Built-in name, file, or Hub id; NAME#N takes N rows. Repeatable, and A,B:0.3 mixes.",
        show_default=False,
        autocompletion=completion.datasets,
    ),
]
DataSettings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Settings of the data: on_bad_row=skip, data.split=test.",
        show_default=False,
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns", metavar="FIELD=COLUMN,...", help="Which column is what: prompt=question,...", show_default=False
    ),
]
RowSchema = Annotated[
    str | None,
    typer.Option(
        "--row-schema",
        metavar="NAME|FILE:NAME",
        help="How rows become records. See: rlllm data schemas. Default: recognised.",
        show_default=False,
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method", metavar="NAME", help="See: rlllm methods ls.", show_default=False, autocompletion=completion.methods
    ),
]
Reward = Annotated[
    list[str] | None,
    typer.Option(
        "--reward",
        metavar="NAME[=WEIGHT]",
        help="Repeatable; a name or file.py:function. See: rlllm rewards ls.",
        show_default=False,
        autocompletion=completion.rewards,
    ),
]
Controls = Annotated[
    str | None,
    typer.Option(
        "--controls",
        metavar="NAME,...",
        help="Train again with senseless rewards, and compare: random, format, flipped, frozen.",
        show_default=False,
        autocompletion=completion.controls,
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option("--seeds", metavar="N", help="Train under N seeds, and compare.", show_default=False),
]
FailOn = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="no-gain|not-measured",
        help="Repeatable; an outcome that makes the exit code 1, as a main measure that got worse always does.",
        show_default=False,
    ),
]
OutputDir = Annotated[
    Path | None,
    typer.Option("--output-dir", metavar="DIR", help="Run directory; default runs/STAGE-TIME.", show_default=False),
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Of data order, sampling, weights.", show_default=False)
]
ConfigFile = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="The recipe, as an option.", show_default=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", metavar="", help="Check everything, say what would run, and stop.")]
Resume = Annotated[bool, typer.Option("--resume", metavar="", help="Continue the run in the output directory.")]


class Change(StrEnum):
    """What may have changed before a resume."""

    data = "data"
    rewards = "rewards"
    model = "model"
    code = "code"


AcceptChange = Annotated[
    list[Change] | None,
    typer.Option(
        "--accept-change",
        help="Repeatable; with --resume: go on though this changed, and record both.",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", metavar="", help="Replace the run in the output directory.")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON document to stdout.")]


@dataclass(frozen=True, slots=True)
class Switches:
    """How to go about it, as opposed to what to run."""

    dry_run: bool
    resume: bool
    overwrite: bool
    json: bool
    accept_change: Sequence[str] | None = None


_TYPED = "rlllm_cli.typed"
"""Key of the context's notes under which the words after the verb are kept for `--help`."""


class OptionsOnce(TyperCommand):
    """A command that refuses an option that is given twice, unless it is a list: the parser alone keeps the last one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            self._refuse_repeats(ctx, args)
        return super().parse_args(ctx, args)

    def _refuse_repeats(self, ctx: Any, args: Sequence[str]) -> None:
        from rlllm.core.errors import ConfigError

        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        given = [param for param in order if param.param_type_name == "option" and not param.multiple]
        twice = next((option for option in given if given.count(option) > 1), None)
        if twice is not None:
            name, times = max(twice.opts, key=len), given.count(twice)
            raise ConfigError(f"{name} is given {times} times", given=" ".join(args), hint="keep one")


class VerbCommand(OptionsOnce):
    """A command that takes any setting of its stage as an option, beside the declared ones."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[_TYPED] = list(args)
        if not ctx.resilient_parsing:
            self._refuse_repeats(ctx, args)
            args = join_values(str(self.name), args, self._takes_value(ctx))
        return super().parse_args(ctx, args)

    def get_help(self, ctx: Any) -> str:
        console.emit(super().get_help(ctx))
        show_settings(str(self.name), method_named(str(self.name), ctx.meta.get(_TYPED, ())))
        return ""

    def _takes_value(self, ctx: Any) -> dict[str, bool]:
        options = [param for param in self.get_params(ctx) if param.param_type_name == "option"]
        return {name: not getattr(option, "is_flag", False) for option in options for name in option.opts}
