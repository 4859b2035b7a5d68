"""Recipes: YAML files by name. They ship with rlllm, come from plugins, or lie in a user's folder; nothing is imported.

A name is `STAGE/NAME` (`reason/quickstart`), or only `NAME` where the stage is known. Anything that ends in `.yaml` or `.yml`
is a file, and so is the `config.json` of a run. What ships with rlllm wins over plugins, and two plugins that claim one name
are an error when it is asked for.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from rlllm.core import yaml_io
from rlllm.core.errors import ConfigError, PluginError, UnknownNameError, closest, unknown

GROUP = "rlllm.recipes"
"""Entry-point group of plugins; the value is a package whose folder holds `STAGE/NAME.yaml` files."""
PIPELINES = "pipelines"
"""The folder of recipes that chain stages; `rlllm run NAME` runs one."""
SWEEPS = "sweeps"
"""The folder of recipes that compare arms; `rlllm sweep NAME` runs one."""
_COMMANDS = {PIPELINES: "run", SWEEPS: "sweep"}
_FOLDERS = {"run": PIPELINES, "demo": PIPELINES, "sweep": SWEEPS}
BUILT_IN = "built in"
_SUFFIXES = (".yaml", ".yml")
_RUN_CONFIG = "config.json"
_USE = re.compile(r"\brlllm\s+([a-z][a-z-]*)")


@dataclass(frozen=True, slots=True)
class RecipeEntry:
    """One recipe: `name` is `STAGE/NAME` or the path of a file, `stage` its verb (or `pipelines`; "" when unknown)."""

    name: str
    stage: str
    path: Path
    summary: str
    origin: str


def list_recipes() -> list[RecipeEntry]:
    """Every named recipe, those that ship with rlllm first; a plugin whose folder cannot be found is left out."""
    own = list(_scan(builtin_folder(), BUILT_IN))
    taken = {entry.name for entry in own}
    foreign = [entry for folder, origin in _plugin_folders() for entry in _scan(folder, origin)]
    return own + sorted((entry for entry in foreign if entry.name not in taken), key=lambda entry: entry.name)


def find_recipe(ref: str, stage: str | None = None) -> RecipeEntry:
    """The recipe behind a name or a file.

    Args:
        ref: `STAGE/NAME`, a bare `NAME`, or a path that ends in .yaml or .yml.
        stage: the verb it is wanted for; a bare name is looked up there only.

    Raises:
        ConfigError: no such file, a recipe of another stage, or a bare name that several stages have.
        UnknownNameError: no such name.
        PluginError: two plugins claim the name.
    """
    if is_file_reference(ref):
        return _file_entry(Path(ref).expanduser(), stage)
    entries = list_recipes()
    if stage is None:
        found = [entry for entry in entries if ref in (entry.name, _leaf(entry))]
        if not found:
            raise _unknown(ref, (entry.name for entry in entries))
        return _only(found, ref)
    found = [entry for entry in entries if entry.stage == stage and ref in (entry.name, _leaf(entry))]
    if found:
        return _only(found, ref)
    elsewhere = [entry for entry in entries if ref == entry.name]
    if elsewhere:
        raise ConfigError(
            f"a recipe for {elsewhere[0].stage}, not for {stage}", given=ref, hint=f"type {usage(elsewhere[0])}"
        )
    raise _unknown(ref, (_leaf(entry) for entry in entries if entry.stage == stage))


def is_file_reference(ref: str) -> bool:
    """Whether `ref` means a file rather than a name: YAML, or the `config.json` of a run."""
    return ref.endswith(_SUFFIXES) or Path(ref).name == _RUN_CONFIG


def read_recipe(path: Path) -> dict[str, Any]:
    """The settings in a recipe file, or those of a run with the hardware that it computed on, from its `config.json`.

    Raises:
        ConfigError: it cannot be read, is no mapping of names to values, or is no run's `config.json`.
    """
    value = _read_mapping(path)
    return _settings_of_run(path, value) if path.name == _RUN_CONFIG else value


def as_given(path: Path) -> str | dict[str, Any]:
    """What `recipe.yaml` of a run keeps of a recipe: the file's text, or the settings that `config.json` of another run has."""
    return read_recipe(path) if path.name == _RUN_CONFIG else path.read_text(encoding="utf-8")


def _settings_of_run(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were given to a run, without its directory, and its threads and matrix product."""
    settings, hardware = config.get("given") or config.get("settings"), config.get("hardware")
    if not isinstance(settings, dict) or "stage" not in config:
        raise ConfigError(
            "not the config.json of a run", given=path, hint="name one that a run wrote, or a YAML recipe"
        )
    values = {key: value for key, value in settings.items() if key != "output_dir"}
    if hardware:
        chosen = ("threads", "matmul") if hardware["device"] == "cpu" else ("threads",)
        values["hardware"] = {name: hardware[name] for name in chosen}
    return values


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        value = yaml_io.read(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read the recipe: {reason}", given=path) from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(
            "a recipe is a mapping of settings",
            given=f"{path} (holds {type(value).__name__ if value is not None else 'nothing'})",
            hint="write one `key: value` a line; see one with: rlllm recipes show reason/quickstart",
        )
    return value


def usage(entry: RecipeEntry) -> str:
    """The command that runs a recipe."""
    name = _leaf(entry) if entry.name == f"{entry.stage}/{_leaf(entry)}" else entry.name
    return f"rlllm {_COMMANDS.get(entry.stage, entry.stage or 'VERB')} {name}"


def builtin_folder() -> Path:
    """Where the recipes that ship with rlllm lie: inside the wheel, or beside `src` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parents[1] / "recipes"


def _scan(folder: Path, origin: str) -> Iterator[RecipeEntry]:
    for path in sorted(folder.glob("*/*")):
        if path.suffix in _SUFFIXES:
            stage = path.parent.name
            yield RecipeEntry(f"{stage}/{path.stem}", stage, path, _summary(path), origin)


def _plugin_folders() -> Iterator[tuple[Path, str]]:
    points = {(point.value, _distribution(point)) for point in entry_points(group=GROUP)}
    for package, origin in sorted(points):
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):
            continue
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield Path(folder), origin


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown distribution"


def _file_entry(path: Path, stage: str | None) -> RecipeEntry:
    if not path.is_file():
        near = closest(str(path.with_suffix("")), (entry.name for entry in list_recipes()))
        hint = f"did you mean the recipe {near}?" if near else "list the named ones with: rlllm recipes ls"
        raise ConfigError("no such recipe file", given=path, hint=hint)
    if path.name == _RUN_CONFIG:
        return _run_entry(path, stage)
    return RecipeEntry(str(path), stage or _stage_of(path), path, _summary(path), "file")


def _run_entry(path: Path, stage: str | None) -> RecipeEntry:
    """The settings of a run as a recipe of its verb."""
    verb = str(_read_mapping(path).get("stage") or "")
    if stage is not None and verb and verb != stage:
        raise ConfigError(f"the settings of a run of {verb}, not of {stage}", given=path, hint=f"rlllm {verb} {path}")
    return RecipeEntry(str(path), stage or verb, path, f"settings of the run {path.parent}", "run")


def _stage_of(path: Path) -> str:
    """The stage a recipe file is for: the verb in its head comment (`# rlllm reason ...`), else its folder's name."""
    shipped = builtin_folder()
    for verb in _USE.findall("\n".join(_head(path))):
        stage = _FOLDERS.get(verb, verb)
        if (shipped / stage).is_dir():
            return stage
    folder = path.resolve().parent
    return folder.name if folder.parent.name == "recipes" else ""


def _head(path: Path) -> list[str]:
    """The comment lines a file begins with, without their marks."""
    lines: list[str] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.startswith("#"):
                break
            lines.append(line.lstrip("#").strip())
    return lines


def _summary(path: Path) -> str:
    return next(iter(_head(path)), "")


def _leaf(entry: RecipeEntry) -> str:
    return entry.name.rpartition("/")[2]


def _only(found: list[RecipeEntry], ref: str) -> RecipeEntry:
    if len(found) == 1:
        return found[0]
    if len({entry.name for entry in found}) == 1:
        raise PluginError(
            f"two plugins claim the recipe {found[0].name}",
            given=" and ".join(entry.origin for entry in found),
            hint=f"give its file: {found[0].path}",
        )
    raise ConfigError(
        f"several stages have a recipe {ref}", exists=(entry.name for entry in found), hint=f"type {found[0].name}"
    )


def _unknown(ref: str, names: Iterable[str]) -> UnknownNameError:
    return unknown("recipe", ref, names, list_command="rlllm recipes ls")
