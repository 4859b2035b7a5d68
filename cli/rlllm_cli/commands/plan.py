"""`rlllm plan`: whether a run fits, how long it takes and whether it can learn, before it is started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from rlllm_cli import console, options, overrides
from rlllm_cli.progress import listening

_VERB = "rlllm_cli.verb"
"""Key of the context's notes under which the verb is kept that is planned."""

Seconds = Annotated[
    float, typer.Option("--seconds", metavar="S", help="How long the steps of the probe may take, about.", min=0)
]


class PlanCommand(options.VerbCommand):
    """A command whose first word is a verb or a recipe, and that takes any setting of that verb."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            self._refuse_repeats(ctx, args)
        bare = [word for word in args if not word.startswith("-")]
        if ctx.resilient_parsing or not bare or {"--help", "-h"} & {*args}:
            return options.OptionsOnce.parse_args(self, ctx, args)
        verb = _verb_of(bare[0])
        ctx.meta[_VERB] = verb
        if bare[0] == verb:
            args = [*args[: (at := args.index(verb))], *args[at + 1 :]]
        joined = overrides.join_values(verb, args, self._takes_value(ctx))
        return options.OptionsOnce.parse_args(self, ctx, joined)

    def get_help(self, ctx: Any) -> str:
        return options.OptionsOnce.get_help(self, ctx)


def _verb_of(word: str) -> str:
    """The verb that is meant by the first word: itself, or that of the recipe which it names."""
    from rlllm.core.errors import ConfigError
    from rlllm.core.recipes import find_recipe
    from rlllm.stages.catalog import STAGES

    trained = [name for name, entry in STAGES.items() if entry.method]
    if word in trained:
        return word
    if "=" in word:
        raise ConfigError("which verb is planned?", given=word, exists=trained, hint=f"rlllm plan reason {word}")
    stage = find_recipe(word).stage
    if stage not in trained:
        raise ConfigError(
            "only what trains is planned",
            given=f"{word} ({stage or 'a file that names no verb'})",
            exists=trained,
            hint=f"rlllm plan VERB {word}",
        )
    return stage


def plan(
    ctx: typer.Context,
    words: options.Words = None,
    model: options.Model = None,
    data: options.Data = None,
    columns: options.Columns = None,
    method: options.Method = None,
    reward: options.Reward = None,
    seed: options.Seed = None,
    config: options.ConfigFile = None,
    seconds: Seconds = 20.0,
    json: options.Json = False,
) -> None:
    """Say whether a run fits, how long it takes and whether it can learn, by trying its first steps."""
    from rlllm.tools.planning.forecast import forecast

    flags = {"model": model, "data": data, "columns": columns, "method": method, "reward": reward, "seed": seed}
    if _VERB not in ctx.meta:
        raise typer.BadParameter("which run is planned? rlllm plan reason quickstart", ctx=ctx)
    settings = _settings(ctx.meta[_VERB], words or (), config, flags)
    with listening() as progress:
        found = forecast(settings, progress, seconds)
    if json:
        console.emit_json(found.to_json())
    else:
        console.fields(found.lines())
    if not found.ok:
        raise typer.Exit(1)


def _settings(verb: str, words: Sequence[str], config_file: str | None, flags: dict[str, Any]) -> Any:
    """The settings of the verb, as the verb itself would read them."""
    from rlllm.core.recipes import find_recipe, read_recipe
    from rlllm.stages.catalog import resolve_settings

    typed = overrides.read_words(verb, words)
    reference, _ = overrides.recipe_and_tasks(verb, typed.bare, config_file)
    recipe = read_recipe(find_recipe(reference, verb).path) if reference else {}
    return resolve_settings(verb, recipe, overrides.flag_overrides(flags, typed.overrides) + typed.overrides)
