"""What the shell offers when Tab is pressed. Each function imports what it lists only when it is called."""

from __future__ import annotations

import typer


def words(ctx: typer.Context, incomplete: str) -> list[str]:
    """Recipes of the verb, and its keys once a letter is typed."""
    from rlllm.core.config import known_keys
    from rlllm.core.recipes import list_recipes
    from rlllm.stages.catalog import config_class

    verb = str(ctx.info_name)
    names = [entry.name.rpartition("/")[2] for entry in list_recipes() if entry.stage == verb]
    method = ctx.params.get("method")
    keys = [f"{key}=" for key in dict.fromkeys(known_keys(config_class(verb, method)))] if incomplete else []
    return names + keys


def recipes(incomplete: str) -> list[str]:
    from rlllm.core.recipes import list_recipes

    return [entry.name for entry in list_recipes()]


def pipelines(incomplete: str) -> list[str]:
    from rlllm.core.recipes import PIPELINES, list_recipes

    return [entry.name.rpartition("/")[2] for entry in list_recipes() if entry.stage == PIPELINES]


def methods(incomplete: str) -> list[str]:
    from rlllm.algorithms.registry import METHODS

    return METHODS.names()


def rewards(incomplete: str) -> list[str]:
    from rlllm.rewards.registry import REWARDS

    return REWARDS.names()


def datasets(incomplete: str) -> list[str]:
    from rlllm.data.registry import DATASETS

    return DATASETS.names()


def stages(incomplete: str) -> list[str]:
    from rlllm.stages.catalog import STAGES

    return list(STAGES)


def runs(incomplete: str) -> list[str]:
    """Run directories below `runs`."""

    from rlllm.core.runs import RUNS, list_runs

    return [str(run.path) for run in reversed(list_runs(RUNS))]


def controls(incomplete: str) -> list[str]:
    from rlllm.training.control_rewards import CONTROLS

    return list(CONTROLS)
