"""`rlllm config import`: turn another tool's config into a recipe that resolves, and list what it leaves out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlllm.core import yaml_io
from rlllm.core.errors import ConfigError, unknown
from rlllm.data.prepare.settings import Preparation
from rlllm.stages.catalog import resolve_settings
from rlllm.tools.import_config import axolotl, llamafactory, trl
from rlllm.tools.import_config.draft import Draft, Unmapped

_TOOLS: dict[str, Callable[[Mapping[str, Any], str | None, Path], Draft]] = {
    "trl": trl.draft,
    "llamafactory": llamafactory.draft,
    "axolotl": lambda config, stage, path: axolotl.draft(config, stage),
}
_NAMES = {"trl": "TRL", "llamafactory": "LLaMA-Factory", "axolotl": "Axolotl"}
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
        path: a YAML or JSON file.
        tool: `trl`, `llamafactory` or `axolotl`.
        stage: what the tool calls the kind of training; needed where its file does not say (TRL).

    Raises:
        ConfigError: the file cannot be read, or has settings for which there is no recipe at all.
    """
    if tool not in _TOOLS:
        raise unknown("tool to import from", tool, _TOOLS)
    path = Path(path)
    draft = _TOOLS[tool](_read(path), stage, path)
    preparation = draft.preparation
    if preparation is not None:
        folder = f"{path.stem}-data"
        draft.put("data.name", folder)
        preparation = {**preparation, "out": folder}
        Preparation.checked(preparation)
    recipe = draft.recipe()
    resolve_settings(draft.verb, recipe)
    return Imported(tool, path.name, draft.verb, recipe, draft.unmapped, preparation)


def _read(path: Path) -> dict[str, Any]:
    try:
        config = yaml_io.read(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read the config: {reason}", given=path) from error
    except RecursionError as error:
        raise ConfigError("cannot read the config: it is nested too deeply", given=path) from error
    if not isinstance(config, dict) or not config or not all(isinstance(key, str) for key in config):
        raise ConfigError("a config is a mapping of settings", given=path, hint="give the tool's YAML or JSON file")
    return config


def _line(value: Any, width: int | None = _WIDEST) -> str:
    """A value on one line of printable text."""
    text = " ".join(str(value).split())
    text = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
    return text if width is None or len(text) <= width else text[: width - 3] + "..."
