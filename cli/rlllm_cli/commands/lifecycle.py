"""The lifecycle verbs, from pretrain to eval. One shape: words become settings, settings become a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from rlllm_cli import console, options, outcome, overrides
from rlllm_cli.progress import listening
from rlllm_cli.usage import is_bare, usage_lines


def pretrain(
    ctx: typer.Context,
    words: options.Words = None,
    model: options.Model = None,
    data: options.Data = None,
    columns: options.Columns = None,
    method: options.Method = None,
    reward: options.Reward = None,
    controls: options.Controls = None,
    seeds: options.Seeds = None,
    fail_on: options.FailOn = None,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    config: options.ConfigFile = None,
    dry_run: options.DryRun = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    accept_change: options.AcceptChange = None,
    json: options.Json = False,
) -> None:
    """Learn from raw text: think, then predict the next tokens (RPT and others), or plainly."""
    where = {"output_dir": output_dir, "seed": seed, "controls": controls, "seeds": seeds, "fail_on": fail_on}
    flags = {"model": model, "data": data, "columns": columns, "method": method, "reward": reward, **where}
    launch(ctx, words, config, flags, options.Switches(dry_run, resume, overwrite, json, accept_change))


def sft(
    ctx: typer.Context,
    words: options.Words = None,
    model: options.Model = None,
    data: options.Data = None,
    columns: options.Columns = None,
    fail_on: options.FailOn = None,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    config: options.ConfigFile = None,
    dry_run: options.DryRun = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    accept_change: options.AcceptChange = None,
    json: options.Json = False,
) -> None:
    """Imitate example completions (supervised fine-tuning)."""
    where = {"output_dir": output_dir, "seed": seed, "fail_on": fail_on}
    flags = {"model": model, "data": data, "columns": columns, **where}
    launch(ctx, words, config, flags, options.Switches(dry_run, resume, overwrite, json, accept_change))


def train_rm(
    ctx: typer.Context,
    words: options.Words = None,
    model: options.Model = None,
    data: options.Data = None,
    columns: options.Columns = None,
    method: options.Method = None,
    fail_on: options.FailOn = None,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    config: options.ConfigFile = None,
    dry_run: options.DryRun = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    accept_change: options.AcceptChange = None,
    json: options.Json = False,
) -> None:
    """Train a reward model: scalar (bt), an ensemble, of single steps (process), or a judge that writes (generative)."""
    where = {"output_dir": output_dir, "seed": seed, "fail_on": fail_on}
    flags = {"model": model, "data": data, "columns": columns, "method": method, **where}
    launch(ctx, words, config, flags, options.Switches(dry_run, resume, overwrite, json, accept_change))


def align(
    ctx: typer.Context,
    words: options.Words = None,
    model: options.Model = None,
    data: options.Data = None,
    columns: options.Columns = None,
    method: options.Method = None,
    reward: options.Reward = None,
    fail_on: options.FailOn = None,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    config: options.ConfigFile = None,
    dry_run: options.DryRun = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    accept_change: options.AcceptChange = None,
    json: options.Json = False,
) -> None:
    """Learn from preferences, by a loss on pairs or labels (DPO and others), or through a reward (PPO and others)."""
    where = {"output_dir": output_dir, "seed": seed, "fail_on": fail_on}
    flags = {"model": model, "data": data, "columns": columns, "method": method, "reward": reward, **where}
    launch(ctx, words, config, flags, options.Switches(dry_run, resume, overwrite, json, accept_change))


def reason(
    ctx: typer.Context,
    words: options.Words = None,
    model: options.Model = None,
    data: options.Data = None,
    columns: options.Columns = None,
    method: options.Method = None,
    reward: options.Reward = None,
    controls: options.Controls = None,
    seeds: options.Seeds = None,
    fail_on: options.FailOn = None,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    config: options.ConfigFile = None,
    dry_run: options.DryRun = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    accept_change: options.AcceptChange = None,
    json: options.Json = False,
) -> None:
    """Reinforce reasoning with verifiable rewards (GRPO and others)."""
    where = {"output_dir": output_dir, "seed": seed, "controls": controls, "seeds": seeds, "fail_on": fail_on}
    flags = {"model": model, "data": data, "columns": columns, "method": method, "reward": reward, **where}
    launch(ctx, words, config, flags, options.Switches(dry_run, resume, overwrite, json, accept_change))


Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="MODEL|RUN",
        help="A model to win against, or an earlier evaluation to compare with.",
        show_default=False,
    ),
]
Samples = Annotated[
    int | None, typer.Option("--samples", metavar="K", help="Completions of each problem.", show_default=False)
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", metavar="", help="Sample again what the cache of completions has.")
]


def evaluate(
    ctx: typer.Context,
    words: options.TaskWords = None,
    model: options.Model = None,
    data: options.Data = None,
    columns: options.Columns = None,
    reward: options.Reward = None,
    baseline: Baseline = None,
    samples: Samples = None,
    no_cache: NoCache = False,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    config: options.ConfigFile = None,
    dry_run: options.DryRun = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Measure a model on tasks, with intervals."""
    measured = {"model": model, "data": data, "columns": columns, "reward": reward, "baseline": baseline}
    how = {"samples": samples, "cache": False if no_cache else None, "output_dir": output_dir, "seed": seed}
    flags = {**measured, **how}
    launch(ctx, words, config, flags, options.Switches(dry_run, resume, overwrite, json))


def launch(
    ctx: typer.Context,
    words: Sequence[str] | None,
    config_file: str | None,
    flags: dict[str, Any],
    switches: options.Switches,
) -> None:
    """Resolve the settings, then plan or run. Raises RlllmError before the run starts, typer.Exit after it."""
    from rlllm.core.processes import is_main, supervised
    from rlllm.core.recipes import as_given, find_recipe, read_recipe
    from rlllm.core.runs import RunOptions
    from rlllm.stages.catalog import resolve_settings, stage_function

    verb = str(ctx.command.name)
    typed = overrides.read_words(verb, words or ())
    reference, tasks = overrides.recipe_and_tasks(verb, typed.bare, config_file)
    path = find_recipe(reference, verb).path if reference else None
    recipe = read_recipe(path) if path else {}
    settings = overrides.flag_overrides({**flags, "tasks": tasks}, typed.overrides) + typed.overrides
    if is_bare(reference, [key for key, _ in settings]) and not (switches.dry_run or switches.resume):
        for line in usage_lines(verb, str(ctx.command.help)):
            console.say(line)
        raise typer.Exit(2)
    config = resolve_settings(verb, recipe, settings)
    if switches.dry_run:
        show_plan(config, switches.json, ctx.obj.arguments)
        return
    with listening() as progress:
        run_options = RunOptions(
            progress,
            switches.resume,
            switches.overwrite,
            as_given(path) if path else None,
            words=ctx.obj.arguments,
            command=str(ctx.obj),
            accept_change=tuple(switches.accept_change or ()),
        )
        run = stage_function(verb)(config, run_options)
    if supervised() or not is_main():  # the first process of a run speaks for it, by its exit code as well
        return
    outcome.conclude(run, ctx.obj, switches.json)


def show_plan(config: Any, as_json: bool, words: Sequence[str] = ()) -> None:
    """What would run, and what would start its processes, to stdout. `words` follow `rlllm` on the command line."""
    from rlllm.stages.catalog import plan
    from rlllm.training.cost import cost_of
    from rlllm.training.launched import launch_of
    from rlllm.training.plan import Plan, starts_processes
    from rlllm.training.row_checks import look_at_templates
    from rlllm.training.storage import check_planned_room

    planned = plan(config)
    cost = cost_of(planned)
    findings, room = [], ""
    if isinstance(planned, Plan):
        findings, room = look_at_templates(planned), check_planned_room(planned)
    launch = launch_of(planned, words) if isinstance(planned, Plan) and starts_processes(config) else None
    if as_json:
        more = {**({"cost": cost.to_json()} if cost else {}), **({"template": findings} if findings else {})}
        more |= {"room": room} if room else {}
        more |= {"launch": launch.to_json()} if launch else {}
        console.emit_json({**planned.to_json(), **more})
    else:
        warnings = [("warning", text) for text in (*findings, room) if text]
        console.fields([*planned.lines(), *warnings, *(cost.lines() if cost else ())])
        if launch:
            console.fields(launch.lines())
