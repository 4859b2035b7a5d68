"""`rlllm sweep`: methods and settings compared in one command."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlllm_cli import completion, console, options, outcome
from rlllm_cli.overrides import refuse_repeats
from rlllm_cli.progress import listening

if TYPE_CHECKING:
    from rlllm.core.runs import Run
    from rlllm.stages.sweep.arms import PlannedArm
    from rlllm.stages.sweep.settings import Sweep


class Equal(StrEnum):
    """What all arms are given the same amount of."""

    tokens = "tokens"
    steps = "steps"
    completions = "completions"
    none = "none"


Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RECIPE|KEY=VALUE,...",
        help="A recipe of a sweep or of a verb; keys with several values make the arms, with one value they hold for all.",
        show_default=False,
        autocompletion=completion.recipes,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of all arms, commas and all.", show_default=False),
]
Arms = Annotated[
    list[str] | None,
    typer.Option(
        "--arms", metavar="NAME,...", help="Only these arms, and the baseline. Repeatable.", show_default=False
    ),
]
Seeds = Annotated[int | None, typer.Option("--seeds", metavar="N", help="Seeds of every arm.", show_default=False)]
FirstSeed = Annotated[int | None, typer.Option("--seed", metavar="N", help="The first seed.", show_default=False)]
BaselineArm = Annotated[
    str | None,
    typer.Option("--baseline", metavar="ARM", help="What is compared with; default the first arm.", show_default=False),
]
HeldEqual = Annotated[
    Equal | None, typer.Option("--equal", help="What every arm gets the same amount of.", show_default=False)
]
Tune = Annotated[
    list[str] | None,
    typer.Option(
        "--tune",
        metavar="KEY=VALUE,...",
        help="Choose the value for each arm, under seeds that are not in the table. Repeatable.",
        show_default=False,
    ),
]
TuneSeeds = Annotated[
    int | None,
    typer.Option("--tune-seeds", metavar="N", help="Seeds to choose under; 0 chooses nothing.", show_default=False),
]
StopHopeless = Annotated[
    bool, typer.Option("--stop-hopeless", metavar="", help="Give up arms that are worse under each of three seeds.")
]
Stage = Annotated[
    str | None,
    typer.Option(
        "--stage", help="The verb, without a recipe that says it.", show_default=False, autocompletion=completion.stages
    ),
]


def sweep(
    ctx: typer.Context,
    words: Words = None,
    set_: Set = None,
    arms: Arms = None,
    seeds: Seeds = None,
    seed: FirstSeed = None,
    baseline: BaselineArm = None,
    equal: HeldEqual = None,
    tune: Tune = None,
    tune_seeds: TuneSeeds = None,
    stop_hopeless: StopHopeless = False,
    stage: Stage = None,
    output_dir: options.OutputDir = None,
    dry_run: options.DryRun = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    accept_change: options.AcceptChange = None,
    json: options.Json = False,
) -> None:
    """Train arms that differ in method or settings under the same seeds, and compare them with a baseline."""
    from rlllm.core.runs import RunOptions
    from rlllm.stages.sweep.run import run_sweep

    given: dict[str, Any] = {"seeds": seeds, "seed": seed, "baseline": baseline, "tune_seeds": tune_seeds, "only": arms}
    given |= {"equal": equal and equal.value, "stop_hopeless": stop_hopeless or None}
    chosen = {key: value for key, value in given.items() if value is not None}
    tuned = {key: _values(text) for key, text in _each_once(tune or ())}
    wanted = _wanted(words or (), set_ or (), stage, {**chosen, "tune": tuned})
    if dry_run:
        show_plan(wanted, json)
        return
    folder = output_dir or Path("runs") / f"sweep-{time.strftime('%Y%m%d-%H%M%S')}"
    with listening() as progress:
        changes = tuple(accept_change or ())
        own = RunOptions(progress, resume, overwrite, command=str(ctx.obj), accept_change=changes)
        run = run_sweep(wanted, folder, own)
    conclude(run, ctx, json)


def _wanted(words: Sequence[str], set_: Sequence[str], stage: str | None, given: dict[str, Any]) -> Sweep:
    """The sweep that was typed. Raises ConfigError for a word that is neither a recipe nor KEY=VALUE."""
    from rlllm.core.errors import ConfigError
    from rlllm.core.yaml_io import parse_scalar
    from rlllm.stages.sweep.settings import compose

    bare = [word for word in words if "=" not in word]
    if len(bare) > 1:
        raise ConfigError("one recipe at most", given=" and ".join(bare), hint="settings are typed as key=value")
    if not bare and stage is None:
        raise ConfigError(
            "which recipe?", hint="rlllm sweep reason/quickstart method=grpo,dapo --seeds 3, or --stage STAGE"
        )
    axes: dict[str, list[Any]] = {}
    settings: dict[str, Any] = {}
    for word in (word for word in words if "=" in word):
        key, text = _key_and_text(word)
        values = _values(text)
        if key in axes or key in settings:
            raise ConfigError(f"{key} is given twice", given=word, hint="put all its values into one: KEY=A,B")
        if len(values) > 1:
            axes[key] = values
        else:
            settings[key] = values[0]
    for key, text in _each_once(set_):
        if key in axes or key in settings:
            raise ConfigError(f"{key} is given twice", given=f"--set {key}={text}", hint="keep one")
        settings[key] = parse_scalar(text)
    return compose(bare[0] if bare else None, stage, {**given, "axes": axes, "settings": settings})


def _each_once(words: Sequence[str]) -> list[tuple[str, str]]:
    """The parts of each KEY=VALUE. Raises ConfigError where one is missing, and for a key that stands there twice."""
    pairs = [_key_and_text(word) for word in words]
    refuse_repeats(pairs)
    return pairs


def _key_and_text(word: str) -> tuple[str, str]:
    """The parts of KEY=VALUE. Raises ConfigError where one is missing."""
    from rlllm.core.errors import ConfigError

    key, equals, text = word.partition("=")
    if not equals or not key:
        raise ConfigError("a setting is typed KEY=VALUE", given=word)
    return key, text


def _values(text: str) -> list[Any]:
    from rlllm.core.yaml_io import parse_scalar

    return [parse_scalar(part) for part in split_values(text)]


def split_values(text: str) -> list[str]:
    """`a,b` at its commas, those inside of brackets, braces and quotes left alone."""
    parts, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "[{(":
            depth += 1
        elif sign in "]})":
            depth -= 1
        if sign == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def show_plan(wanted: Sweep, as_json: bool) -> None:
    """Arms, runs and what they cost at most, to stdout. Raises the error of the first arm that cannot work."""
    from rlllm.stages.sweep.arms import plan_arms
    from rlllm.stages.sweep.tuning import FIRST_SEED, points

    arms = plan_arms(wanted)
    seeds = list(range(wanted.seed, wanted.seed + wanted.seeds))
    tokens = [_tokens(arm) * len(seeds) for arm in arms]
    if as_json:
        rows = [_arm_json(arm, cost) for arm, cost in zip(arms, tokens, strict=True)]
        console.emit_json(
            {"stage": wanted.stage, "seeds": seeds, "equal": wanted.equal, "baseline": arms[0].name, "arms": rows}
        )
        return
    console.table(("arm", "stage", "beside the baseline", "tokens sampled at most", "notes"), _arm_rows(arms, tokens))
    console.emit("")
    tuning = sum(len(points(arm)) for arm in arms) * wanted.tune_seeds
    named = wanted.expanded()
    compared = sum(other in named for arm in named.values() for other in arm.compare_with)
    console.fields(
        [
            *([("tuning", f"{tuning} runs at most, {wanted.tune_seeds} seeds from {FIRST_SEED} on")] if tuning else []),
            ("runs", f"{len(arms)} arms x {len(seeds)} seeds = {len(arms) * len(seeds)}, one after another"),
            ("seeds", ", ".join(map(str, seeds))),
            ("baseline", arms[0].name),
            *([("controls", f"{compared} comparisons of arms with others that they name")] if compared else []),
            ("equal", wanted.equal),
            ("tokens", _in_words(arms, tokens)),
        ]
    )


def _in_words(arms: Sequence[PlannedArm], tokens: Sequence[int]) -> str:
    if any(arm.plan is None for arm in arms):
        return "known once the runs before the arms are there"
    return f"at most {sum(tokens):,} sampled in all runs" if any(tokens) else "nothing is sampled in training"


def _tokens(arm: PlannedArm) -> int:
    """Tokens that one run samples at most; 0 where it samples none or nothing is known yet."""
    if arm.cost is None:
        return 0
    return min(arm.cost.tokens_sampled, arm.cost.max_tokens or arm.cost.tokens_sampled)


def _arm_json(arm: PlannedArm, tokens: int) -> dict[str, Any]:
    return {
        "arm": arm.name,
        "stage": arm.stage,
        "settings": dict(arm.overrides),
        "left_out": list(arm.left_out),
        "notes": list(arm.notes),
        "checked": arm.plan is not None,
        "tokens_sampled": tokens,
    }


def _arm_rows(arms: Sequence[PlannedArm], tokens: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    baseline = dict(arms[0].overrides)
    for arm, cost in zip(arms, tokens, strict=True):
        settings = dict(arm.overrides).items()
        own = " ".join(f"{key}={value}" for key, value in settings if key not in baseline or baseline[key] != value)
        notes = [*arm.notes, *([f"does not read {', '.join(arm.left_out)}"] if arm.left_out else [])]
        notes += [f"checked with {', '.join(arm.planned_with)}"] if arm.planned_with else []
        notes += [] if arm.plan is not None else ["checked once the runs before it are there"]
        yield arm.name, arm.stage, own, f"{cost:,}" if cost else None, "; ".join(notes)


def conclude(run: Run, ctx: typer.Context, as_json: bool) -> None:
    """Print a sweep's table. Raises typer.Exit: 130 when it was interrupted, 1 when an arm failed."""
    from rlllm.report import sweep_rows

    interrupted = run.status.get("state") == "interrupted"
    if as_json:
        console.emit_json(outcome.to_json(run))
    else:
        console.table(*sweep_rows(run.results))
        console.emit("")
        for text in run.results["findings"]:
            console.emit(text)
        tables = " ".join(str(run.path / f"table.{kind}") for kind in ("md", "csv", "tex"))
        console.fields([("run", run.path), ("report", run.path / "report.html"), ("tables", tables)])
    if interrupted:
        console.say(f"interrupted; continue with: {ctx.obj.to_resume(run.path)}")
        raise typer.Exit(130)
    outcome.show_reasons(run.verdict)
    if not run.ok:
        raise typer.Exit(1)
