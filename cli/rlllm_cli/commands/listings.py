"""`rlllm rewards | methods | metrics | monitors | data`: what can be named. Listing reads names only and imports nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlllm_cli import completion, console, options
from rlllm_cli.commands import (
    data_build,
    data_check,
    data_export,
    data_from_run,
    data_show,
    label_prefs,
    label_steps,
    reward_replay,
    reward_test,
)

if TYPE_CHECKING:
    from rlllm.core.registry import Registry

rewards = typer.Typer(help="Rewards: what scores a completion.")
methods = typer.Typer(help="Methods: named choices of loss, advantage, mask and sampler.")
metrics = typer.Typer(help="Metrics: what an evaluation measures.")
monitors = typer.Typer(help="Monitors: what names a worthless run while it trains.")
data = typer.Typer(help="Data: look at it, check it, prepare it, label it, write it for others.")
rewards.command("replay")(reward_replay.replay)
rewards.command("test")(reward_test.reward_test)
data.command("show")(data_show.show)
data.command("check")(data_check.check)
data.command("build")(data_build.build)
data.command("mix")(data_build.mix)
data.command("decontaminate")(data_build.decontaminate)
data.command("export")(data_export.export)
data.command("from-run")(data_from_run.from_run)
data.command("label-prefs")(label_prefs.label_prefs)
data.command("label-steps")(label_steps.label_steps)


@rewards.command("ls")
def list_rewards(json: options.Json = False) -> None:
    """List rewards: built in and from plugins."""
    from rlllm.rewards.registry import REWARDS

    _list(REWARDS, json)


@metrics.command("ls")
def list_metrics(json: options.Json = False) -> None:
    """List metrics of `eval`: built in and from plugins."""
    from rlllm.evals.registry import METRICS

    _list(METRICS, json)


@monitors.command("ls")
def list_monitors(json: options.Json = False) -> None:
    """List monitors of training dynamics: built in and from plugins."""
    from rlllm.evals.monitors.dynamics.registry import MONITORS

    _list(MONITORS, json)


@data.command("ls")
def list_data(json: options.Json = False) -> None:
    """List procedural data sets: built in and from plugins."""
    from rlllm.data.registry import DATASETS

    _list(DATASETS, json)


@data.command("schemas")
def list_schemas(json: options.Json = False) -> None:
    """List data schemas: the columns of published data sets, built in and from plugins."""
    from rlllm.data.schemas.registry import SCHEMAS

    _list(SCHEMAS, json)


@methods.command("ls")
def list_methods(
    stage: Annotated[
        str | None,
        typer.Option("--stage", help="Only of this stage.", show_default=False, autocompletion=completion.stages),
    ] = None,
    slots: Annotated[bool, typer.Option("--slots", help="The components of the slots instead.")] = False,
    signals: Annotated[bool, typer.Option("--signals", help="The signals that components may need instead.")] = False,
    json: options.Json = False,
) -> None:
    """List methods: built in and from plugins."""
    from rlllm.algorithms.registry import METHODS, SIGNALS, SLOTS
    from rlllm.stages.catalog import config_class

    if stage is not None:
        config_class(stage)
        _list(METHODS, json, [name for name in METHODS.names() if stage in _stages_of(name)])
    else:
        _list(SIGNALS if signals else SLOTS if slots else METHODS, json)


@methods.command("show")
def show_method(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=completion.methods)], json: options.Json = False
) -> None:
    """What a method presets, and where it comes from."""
    from dataclasses import asdict

    from rlllm.algorithms.methods.base import links
    from rlllm.algorithms.registry import METHODS

    method = METHODS.load(name)
    if json:
        console.emit_json({**asdict(method), "links": links(method)})
        return
    defaults = {f"{section}.{key}": value for section, own in method.defaults.items() for key, value in own.items()}
    rows = {
        "name": method.name,
        "summary": method.summary,
        "formula": method.formula,
        "paper": "\n".join(filter(None, [method.paper, *links(method)])),
        "page": method.page,
        "stages": ", ".join(method.stages),
        "trainer": method.trainer,
        "settings": _lines(method.settings),
        "components": _lines(method.components),
        "defaults": _lines(defaults),
        "updates": f"{method.updates} on each rollout" if method.updates > 1 else "",
        "reward": method.reward,
        "notes": method.notes,
    }
    console.fields((label, value) for label, value in rows.items() if value)
    verb, *_ = method.stages
    console.emit(f"\nrlllm {verb} --method {name} {method.example}".rstrip())


def _lines(values: Mapping[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in values.items())


def _list(registry: Registry, as_json: bool, names: list[str] | None = None) -> None:
    entries = [entry for entry in registry.entries() if names is None or entry.name in names]
    if as_json:
        console.emit_json([_entry_json(entry) for entry in entries])
    else:
        console.table((registry.noun, "what it is", "from"), [(e.name, e.summary, e.origin) for e in entries])


def _entry_json(entry: Any) -> dict[str, Any]:
    return {"name": entry.name, "summary": entry.summary, "origin": entry.origin, "target": entry.target}


def _stages_of(name: str) -> tuple[str, ...]:
    """The stages that may name a method; none for a plugin's that does not load, which is an error only where it is named."""
    from rlllm.algorithms.registry import METHODS
    from rlllm.core.errors import RlllmError

    try:
        method = METHODS.load(name)
    except RlllmError:
        return ()
    return method.stages
