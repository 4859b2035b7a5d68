"""`rlllm config import`: turn another tool's config into a recipe that resolves, and list what it leaves out."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlllm.core import yaml_io
from rlllm.core.errors import unknown
from rlllm.data.prepare.settings import Preparation
from rlllm.stages.catalog import resolve_settings
from rlllm.tools.import_config import axolotl, llamafactory, openrlhf, trl, verl
from rlllm.tools.import_config.draft import Draft, Unmapped, read_config

_TOOLS: dict[str, Callable[[Path, str | None], Draft]] = {
    "trl": lambda path, stage: trl.draft(read_config(path), stage, path),
    "llamafactory": lambda path, stage: llamafactory.draft(read_config(path), stage, path),
    "axolotl": lambda path, stage: axolotl.draft(read_config(path), stage),
    "verl": lambda path, stage: verl.draft(path),
    "openrlhf": lambda path, stage: openrlhf.draft(path),
}
_NAMES = {"trl": "TRL", "llamafactory": "LLaMA-Factory", "axolotl": "Axolotl", "verl": "verl", "openrlhf": "OpenRLHF"}
_WIDEST = 60


@dataclass(frozen=True, slots=True)
class Imported:
    """A recipe made of another tool's config, and the settings of its data where that takes shares of data sets."""

    tool: str
    source: str
    verb: str
    recipe: dict[str, Any]
    unmapped: list[Unmapped]
    """Settings that the recipe does not carry, each with the reason."""
    preparation: dict[str, Any] | None = None
    """Settings for `rlllm data build`, which makes the folder that the recipe reads; None where none is needed."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self, file: str = "FILE", data_file: str | None = None) -> str:
        """The recipe as YAML, with comments on how to run it and what was left out.

        Args:
            file: name of the recipe's file, for the comments.
            data_file: name of the file with `preparation_text`; None writes that text into the comments.
        """
        head = [f"Imported from {_NAMES[self.tool]}: {_line(self.source)}", ""]
        if self.preparation is not None:
            head += [f"  rlllm data build {shlex.quote(data_file or 'DATA.yaml')}"]
        head += [f"  rlllm {self.verb} {shlex.quote(file)}"]
        if self.preparation is not None and data_file is None:
            head += ["", "DATA.yaml:", *(f"  {line}" for line in yaml_io.dump(self.preparation).splitlines())]
        if self.unmapped:
            head += ["", "Not carried over:", *(f"  {line}" for line in self.notes())]
        return "".join(f"# {line}".rstrip() + "\n" for line in head) + yaml_io.dump(self.recipe)

    def preparation_text(self, file: str) -> str:
        """The settings for `rlllm data build` as YAML, with the command in a comment."""
        return f"# rlllm data build {shlex.quote(file)}\n" + yaml_io.dump(self.preparation)

    def notes(self) -> list[str]:
        """What was left out, one setting a line."""
        return [
            f"{_line(setting.key)}={_line(setting.value)}: {_line(setting.reason, None)}" for setting in self.unmapped
        ]


def import_config(path: str | Path, tool: str, stage: str | None = None) -> Imported:
    """Turn a config of another tool into a recipe.

    Args:
        path: a YAML or JSON file; of verl and OpenRLHF, a launch script.
        tool: `trl`, `llamafactory`, `axolotl`, `verl` or `openrlhf`.
        stage: what the tool calls the kind of training; needed where its file does not say (TRL).

    Raises:
        ConfigError: the file cannot be read, or has settings for which there is no recipe at all.
    """
    if tool not in _TOOLS:
        raise unknown("tool to import from", tool, _TOOLS)
    path = Path(path)
    draft = _TOOLS[tool](path, stage)
    if draft.method == "kto":
        draft.pair_rows()
    draft.settle_model()
    preparation = draft.preparation
    if preparation is not None:
        folder = f"{path.stem}-data"
        draft.put("data.name", folder)
        preparation = {**preparation, "out": folder}
        Preparation.checked(preparation)
    recipe = draft.recipe()
    resolve_settings(draft.verb, recipe)
    return Imported(tool, path.name, draft.verb, recipe, draft.unmapped, preparation)


def _line(value: Any, width: int | None = _WIDEST) -> str:
    """A value on one line of printable text."""
    text = " ".join(str(value).split())
    text = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
    return text if width is None or len(text) <= width else text[: width - 3] + "..."
