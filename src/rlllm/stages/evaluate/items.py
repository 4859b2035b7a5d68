"""The prompts of evaluation sets, to search training rows for: of data by name, or of the tasks of an `eval` recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rlllm.core.config import resolve
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.recipes import find_recipe, is_file_reference, list_recipes, read_recipe
from rlllm.core.records import PromptTask, images_of, prompt_key
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.data.sources import CallableSource, find
from rlllm.evals.harness.tasks import HARNESS
from rlllm.stages.evaluate.settings import EvalSettings

if TYPE_CHECKING:
    from rlllm.data.prepare.contamination import Item


def evaluation_sets(against: Iterable[DataConfig]) -> list[DataConfig]:
    """The data sets that are meant, a recipe replaced by those of its tasks, each once.

    Raises:
        ConfigError: a recipe that does not resolve.
    """
    data_sets = [data for entry in against for data in (_of_recipe(entry) if _is_recipe(entry.name) else [entry])]
    return [data for number, data in enumerate(data_sets) if data not in data_sets[:number]]


def evaluation_items(against: Iterable[DataConfig]) -> list[Item]:
    """The prompts of these sets: the held-out ones where there are any, else all.

    Raises:
        DataError, ConfigError: a set that cannot be read as prompts.
    """
    from rlllm.data.prepare.contamination import Item

    return [
        Item(data.name, number, prompt_key(record.prompt), bool(images_of(record.prompt)))
        for data in evaluation_sets(against)
        for number, record in enumerate(_prompts(data), start=1)
    ]


def _prompts(data: DataConfig) -> list[PromptTask]:
    if not data.mix and isinstance(find(data.name), CallableSource) and data.holdout is None:
        data = data.model_copy(update={"rows": 0, "holdout": data.rows})
    loaded = load(data, PromptTask)
    rows = loaded.holdout or loaded.train
    if not rows:
        raise DataError("the evaluation set has no rows", given=data.name)
    return rows


def _is_recipe(name: str) -> bool:
    return is_file_reference(name) or name in {entry.name for entry in list_recipes() if entry.stage == "eval"}


def _of_recipe(named: DataConfig) -> Iterator[DataConfig]:
    config = resolve(EvalSettings, read_recipe(find_recipe(named.name, "eval").path))
    for task in config.tasks:
        if task.metric == HARNESS:
            raise ConfigError(
                "the prompts of a task of lm-evaluation-harness cannot be looked for",
                given=f"{named.name}: {task.params.get('task')}",
                hint="write them to a file, and name that",
            )
        data = task.data or config.data
        procedural = not data.mix and isinstance(find(data.name), CallableSource)
        rows = config.rows if data.rows is None else min(config.rows, data.rows)
        yield data.model_copy(update={"rows": rows}) if procedural and data.holdout is None else data
