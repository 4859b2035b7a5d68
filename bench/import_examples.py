"""Import every example config of five tools from their checkouts, plan each recipe on small data, and print a table.

    python bench/import_examples.py FOLDER

FOLDER holds the checkouts under their names on GitHub: LLaMA-Factory, axolotl, trl, open-r1, alignment-handbook, verl and
OpenRLHF. Those that are not there are left out. Small data are made in the layout that the recipe's column map names.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlllm.core.errors import RlllmError
from rlllm.data.prepare.settings import Preparation
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.tools.data.build import prepare
from rlllm.tools.import_config.recipe import Imported, import_config

_YAML = ("*.yaml", "*.yml")
_KINDS = (
    ("LLaMA-Factory", "llamafactory", "LLaMA-Factory", "examples", _YAML),
    ("Axolotl", "axolotl", "axolotl", "examples", _YAML),
    ("TRL", "trl", "trl", "examples", _YAML),
    ("open-r1", "trl", "open-r1", "recipes", _YAML),
    ("alignment-handbook", "trl", "alignment-handbook", "recipes", _YAML),
    ("verl", "verl", "verl", "examples", ("*.sh",)),
    ("OpenRLHF", "openrlhf", "OpenRLHF", "examples", ("*.sh",)),
)
"""Name, tool of the import, checkout, folder in it, and files."""
_ROWS = 2_100
"""More prompts than the largest rollout of an example takes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.absolute()
    print("| files | result | number |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        for name, tool, checkout, part, patterns in _KINDS:
            files = sorted(path for pattern in patterns for path in (folder / checkout / part).rglob(pattern))
            results = Counter(_result(path, tool) for path in files)
            for result, number in sorted(
                results.items(), key=lambda item: (item[0][:7] != "planned", -item[1], item[0])
            ):
                print(f"| {name} | {result} | {number} |", flush=True)


def _result(path: Path, tool: str) -> str:
    """What became of a file: `planned: VERB, METHOD`, `refused: REASON`, or `not planned: REASON`, which is a fault."""
    try:
        imported = import_config(path, tool)
    except RlllmError as error:
        return f"refused: {_short(error)}"
    try:
        _plan(imported)
    except RlllmError as error:
        return f"not planned: {_short(error)}"
    return f"planned: `{imported.verb}`, {imported.recipe['method']}"


def _short(error: RlllmError) -> str:
    return error.what.replace("|", "/")


def _plan(imported: Imported) -> None:
    recipe = copy.deepcopy(imported.recipe)
    recipe["model"] = "nano-vision" if "images" in json.dumps(recipe["data"]) else "nano"
    recipe.pop("output_dir", None)
    if "lora" in recipe:
        recipe["lora"]["target_modules"] = "all-linear"
    for reward in recipe.get("rewards", []):
        if reward["name"] == "model" or ":" in reward["name"]:
            weight = reward.get("weight", 1.0)
            reward.clear()
            reward.update({"name": "exact", "weight": weight})
    if imported.preparation is not None:
        preparation = copy.deepcopy(imported.preparation)
        preparation["sources"] = [_local(source, imported) for source in preparation["sources"]]
        prepare(Preparation.checked({**preparation, "overwrite": True}))
    elif "mix" in recipe["data"]:
        recipe["data"]["mix"] = [_local(part, imported) for part in recipe["data"]["mix"]]
    else:
        recipe["data"] = _local(recipe["data"], imported)
    plan(resolve_settings(imported.verb, recipe))


def _local(source: dict[str, Any], imported: Imported) -> dict[str, Any]:
    """The same data set as a small file; one whose file is there stays."""
    if Path(source["name"]).is_file():
        return source
    from rlllm.algorithms.registry import METHODS
    from rlllm.training.registry import trainer_of

    record = trainer_of(METHODS.load(imported.recipe["method"])).record.__name__
    columns = source.get("columns", {})
    file = Path(f"rows-{abs(hash((record, json.dumps(columns, sort_keys=True))))}.jsonl")
    if not file.is_file():
        lines = (json.dumps(row) for row in _rows(record, columns))
        file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    kept = {key: value for key, value in source.items() if key in ("columns", "weight", "holdout")}
    return {"name": str(file), **kept}


_DEFAULT_FIELDS = {
    "Conversation": ("messages",),
    "PreferencePair": ("prompt", "chosen", "rejected"),
    "LabelledCompletion": ("prompt", "completion", "label"),
    "StepwiseSolution": ("prompt", "steps", "labels"),
    "PromptTask": ("prompt", "answer"),
}
"""Fields of the small data where a recipe has no column map."""


def _rows(record: str, columns: dict[str, str]) -> Iterator[dict[str, Any]]:
    fields = dict(columns)
    if not fields or (record == "PromptTask" and "prompt" not in fields and "messages" not in fields):
        fields = {**{field: field for field in _DEFAULT_FIELDS[record]}, **fields}
    if set(fields) <= {"prompt"} and record != "PromptTask":
        fields = {**{field: field for field in _DEFAULT_FIELDS[record]}, **fields}
    whole = record == "PreferencePair" and "prompt" not in fields
    for number in range(_ROWS):
        row: dict[str, Any] = {}
        for field, expression in fields.items():
            for column in expression.split("+"):
                value = _value(field, number, column)
                _set(row, column, [*_value("messages", number, "")[:1], _answer(value)] if whole else value)
        yield row


def _answer(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _set(row: dict[str, Any], column: str, value: Any) -> None:
    *outer, last = column.split(".")
    for name in outer:
        row = row.setdefault(name, {})
    row[last] = value


def _value(field: str, number: int, column: str) -> Any:
    user, assistant = (
        {"role": "user", "content": f"{number} + 1 = ?"},
        {"role": "assistant", "content": str(number + 1)},
    )
    if field == "messages":
        return [user, assistant]
    if field == "images":
        return []
    if field == "prompt" and column in ("messages", "conversation", "context_messages"):
        return [user]
    if field in ("label", "labels", "steps"):
        return {"label": number % 2 == 0, "labels": [True, False], "steps": ["one", "two"]}[field]
    return {"prompt": user["content"], "rejected": "none"}.get(field, str(number + 1))


if __name__ == "__main__":
    main()
