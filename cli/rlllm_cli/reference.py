"""Writes `docs/reference/` from the code: commands, settings, methods, and everything that can be named in a recipe.

`make reference` runs it; a test compares the committed pages with what it would write. Components are read from their source
without importing them, so that no model library is loaded. Installed plugins are left out.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from rlllm_cli.settings import documented

if TYPE_CHECKING:
    from pydantic import BaseModel

    from rlllm.core.config import StageConfig
    from rlllm.core.registry import Entry, Registry
    from rlllm.training.size_defaults import SizeRow

WRITTEN = "Written by `make reference` from the code; edit that instead."
_ARGUMENT = re.compile(r"^    (?P<names>\w+(?:, \w+)*): (?P<text>.+)$")


def pages() -> dict[str, str]:
    """File name under `docs/reference/` -> text."""
    from rlllm.stages.catalog import STAGES

    written = {f"{verb}.md": _verb_page(verb) for verb in STAGES}
    written["commands.md"] = _commands_page()
    written["methods.md"] = _methods_page()
    written["trl-fields.md"] = _trl_page()
    written["size-defaults.md"] = _size_defaults_page()
    written["exit-codes.md"] = _exit_codes_page()
    written["python.md"] = _python_page()
    for name, (title, intro, registries) in _registries().items():
        written[name] = _registry_page(title, intro, registries)
    written["datasets.md"] += _procedural_parameters()
    written["README.md"] = _index(written)
    return {name: f"{text.rstrip()}\n" for name, text in sorted(written.items())}


def write(folder: Path) -> list[Path]:
    """Write every page and remove pages that are no longer made; the paths that changed."""
    made = pages()
    folder.mkdir(parents=True, exist_ok=True)
    stale = [path for path in folder.glob("*.md") if path.name not in made]
    for path in stale:
        path.unlink()
    texts = {folder / name: text for name, text in made.items()}
    changed = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in changed:
        path.write_text(texts[path], encoding="utf-8")
    return [*stale, *changed]


def _registries() -> dict[str, tuple[str, str, list[Registry]]]:
    """Page -> its title, the sentence under it, and the registries it lists."""
    from rlllm.algorithms.registry import SIGNALS, SLOTS
    from rlllm.data.registry import DATASETS
    from rlllm.data.schemas.registry import SCHEMAS
    from rlllm.evals.monitors.dynamics.registry import MONITORS
    from rlllm.evals.registry import METRICS
    from rlllm.rewards.registry import REWARDS
    from rlllm.rollouts.registry import ENGINES, ENVIRONMENTS
    from rlllm.training.registry import TRAINERS

    guide = "Guide: [{}](../{}.md)."
    return {
        "rewards.md": (
            "Rewards",
            "Named in `rewards:` of a recipe or by `--reward`. " + guide.format("rewards", "guides/rewards"),
            [REWARDS],
        ),
        "datasets.md": (
            "Data sets",
            "Named in `data:` or by `--data`. " + guide.format("data", "guides/data"),
            [DATASETS],
        ),
        "schemas.md": (
            "Data schemas",
            "Recognised by their columns, or named in `data.row_schema`. " + guide.format("data", "guides/data"),
            [SCHEMAS],
        ),
        "metrics.md": (
            "Metrics",
            "Named in `tasks:` or after `rlllm eval`. " + guide.format("evaluation", "guides/evaluation"),
            [METRICS],
        ),
        "monitors.md": (
            "Monitors",
            "All of them read every run; `allow` makes a finding a warning. "
            + guide.format("monitors", "guides/monitors"),
            [MONITORS],
        ),
        "components.md": (
            "Slot components and signals",
            "Named in `sampler:`, `advantage:` and the other slots of the loop. "
            + guide.format("the loop", "concepts/loop"),
            [SLOTS, SIGNALS],
        ),
        "trainers.md": ("Trainers", "Named by the field `trainer` of a [method](methods.md).", [TRAINERS]),
        "engines.md": (
            "Engines and environments",
            "Named in `rollout.engine` and `environment`. " + guide.format("environments", "guides/environments"),
            [ENGINES, ENVIRONMENTS],
        ),
    }


# --- settings ---------------------------------------------------------------------------------------------------------


def _verb_page(verb: str) -> str:
    from rlllm.stages.catalog import STAGES, settings_classes

    lines = [f"# Settings of `rlllm {verb}`", "", WRITTEN, ""]
    groups: dict[tuple[tuple[str, str, str, str], ...], list[tuple[type[StageConfig], list[str]]]] = {}
    for cls, methods in settings_classes(verb).items():
        groups.setdefault(tuple(_settings(cls)), []).append((cls, methods))
    if len(groups) > 1:
        lines += [
            "The method decides which settings there are; a key that it does not read is an error. Without `method=` it is "
            f"{_code(STAGES[verb].method)}.",
            "",
        ]
    for rows, members in groups.items():
        if len(groups) > 1:
            methods = [method for _, names in members for method in names]
            few = ", ".join(map(_code, methods[:3])) + (f" and {len(methods) - 3} more" if len(methods) > 3 else "")
            lines += [f"## Method {few}", ""]
            lines += [f"Read by {', '.join(map(_code, methods))}.", ""] if len(methods) > 3 else []
        lines += _settings_section(rows, [cls for cls, _ in members])
    return "\n".join(lines)


def _settings_section(rows: Iterable[tuple[str, str, str, str]], classes: Sequence[type[StageConfig]]) -> Iterator[str]:
    """The table of keys that these settings classes share, with the TRL fields and other names that they take."""
    if len(classes) == 1:
        yield from (_prose(inspect.getdoc(classes[0])), "")
    yield from _table(("key", "type", "default", "what it is"), rows)
    configs = dict.fromkeys(name for cls in classes for name in cls.trl_configs)
    if configs:
        links = " or ".join(f"[{name}](trl-fields.md#{name.lower()})" for name in configs)
        yield from ("", f"Every field of {links} is a setting too, under TRL's own name (`learning_rate=1e-5`).")
    if classes[0].aliases:
        yield from ("", "Other names that are taken:", "")
        aliases = sorted(classes[0].aliases.items())
        yield from _table(("name", "stands for"), ((_code(name), _code(key)) for name, key in aliases))
    yield ""


def _settings(cls: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """A row for each key; the keys of a section follow it."""
    for setting in documented(cls):
        bounds = " ".join(text for limit in setting.field.metadata if (text := _bound(limit)))
        kind = "section" if setting.section else f"{_type_text(setting.field.annotation)} {bounds}".rstrip()
        yield _code(setting.key), kind, _default(setting.default), setting.text


def _bound(limit: Any) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return next((f"{sign} {getattr(limit, name)}" for name, sign in signs.items() if hasattr(limit, name)), "")


def _type_text(annotation: Any) -> str:
    """An annotation as people write it in a recipe."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_text(inner[0])
    if annotation is type(None):
        return "null"
    if origin in (Union, types.UnionType):
        return " or ".join(_type_text(part) for part in inner)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (list, tuple, Sequence):
        return f"list of {_type_text(inner[0])}" if inner else "list"
    if origin in (dict, Mapping):
        return f"mapping to {_type_text(inner[1])}"
    if annotation is Any:
        return "anything"
    spelled = {
        "str": "text",
        "bool": "true or false",
        "int": "integer",
        "float": "number",
        "Path": "path",
        "dict": "mapping",
    }
    name = getattr(annotation, "__name__", str(annotation))
    return spelled.get(name, name)


def _default(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return _code(str(value).lower())
    return _code(value) if isinstance(value, str | int | float | Path) and value != "" else ""


def _trl_page() -> str:
    from rlllm.core import trl_fields
    from rlllm.stages.catalog import STAGES, settings_classes

    configs = sorted({name for verb in STAGES for cls in settings_classes(verb) for name in cls.trl_configs})
    shared = set.intersection(*(set(trl_fields.table(name)) for name in configs))
    lines = [
        "# TRL's fields",
        "",
        WRITTEN,
        "",
        "Each is a setting, under its own name, of the verbs whose methods use that config; TRL's documentation explains it.",
        "`CPOConfig`, `ORPOConfig`, `RRHFConfig` and `TPOConfig` are rlllm's: the fields of TRL's DPOConfig that these losses",
        "read, and [settings of their own](../methods/preference.md#pairs-without-a-reference).",
        "Where a method has a default of its own, `rlllm methods show NAME` prints it. Fields that rlllm sets itself:",
        "",
        *_table(("field", "instead"), ((_code(name), text) for name, text in sorted(trl_fields.MANAGED.items()))),
        "",
        "## In all of them",
        "",
        *_field_table(trl_fields.table(configs[0]), shared),
    ]
    for name in configs:
        table = trl_fields.table(name)
        lines += ["", f"## {name}", "", *_field_table(table, table.keys() - shared)]
    return "\n".join(lines)


def _field_table(table: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> list[str]:
    rows = (
        (_code(name), " or ".join(table[name]["kinds"]), _default(table[name]["default"])) for name in sorted(names)
    )
    return _table(("field", "type", "default"), rows)


# --- defaults by size -------------------------------------------------------------------------------------------------


def _size_defaults_page() -> str:
    from rlllm.training.size_defaults import KINDS, LORA_FACTOR, TABLE

    lines = ["# Defaults by the size of the model", "", WRITTEN, "", *_SIZE_RULES]
    lines += [
        f"- Adapters (`lora.r=16`) take {LORA_FACTOR} times the learning rate (LoRA Without Regret, Schulman et al. 2025, as",
        "  in TRL's docs), unless the table has another one.",
    ]
    for kind in KINDS:
        lines += ["", f"## For {kind}", "", _trained_by(kind), ""]
        lines += _size_rows([row for row in TABLE if row.kind == kind])
    return "\n".join(lines)


_SIZE_RULES = """
Where neither the method nor the recipe nor the command line sets a value, it follows from the kind of training, the number of
the model's parameters, and whether adapters are trained. Each of these wins over the ones before it: TRL's default, this
table, the method's settings, the recipe, the command line. A plan (`--dry-run`) shows where its values come from: the line
`defaults` has those of this table, `TRL defaults` those of TRL. `--defaults trl` leaves the table out.

- Parameters are counted in the weights of a folder. A Hub model has as many as its name says (`SmolLM2-135M`). Where neither
  tells, TRL's defaults hold, and the plan says so.
- `batch` counts the rows of one optimizer step over all processes. In the loop these are completions: whole groups, and of no
  more prompts than there are rows. `micro-batch` is `per_device_train_batch_size` at most.
- Settings that belong together are not mixed. Where one of them is given, the others are TRL's: `max_steps`, `num_train_epochs`
  and `max_tokens`; `lr_scheduler_type` and `warmup_steps`; the batch sizes and `steps_per_generation`.
- A completion has at most as many tokens as the longest prompt leaves in the model's context; a row at most as many as the
  context. A run of fewer than 10 steps has no warm-up.
""".strip().splitlines()


def _trained_by(kind: str) -> str:
    """The methods whose trainers take the rows of a kind."""
    from rlllm.algorithms.registry import METHODS
    from rlllm.training.registry import trainer_of

    methods = [METHODS.load(name) for name in sorted(METHODS.builtins)]
    names = [method.name for method in methods if trainer_of(method).size_defaults == kind]
    return f"Methods: {', '.join(_code(name) for name in names)}."


def _size_rows(rows: Sequence[SizeRow]) -> list[str]:
    loop = rows[0].group_size is not None
    ends = ("group size", "new tokens") if loop else ("row length",)
    titles = (
        "parameters",
        "learning rate",
        "adapters",
        "schedule",
        "warm-up",
        "batch",
        "micro-batch",
        "length of the run",
        *ends,
    )
    cells = []
    for row in rows:
        steps = f"{row.steps} steps" if row.steps else f"{row.epochs:g} epoch{'s' if row.epochs != 1 else ''}"
        own = (str(row.group_size), str(row.max_new_tokens)) if loop else (str(row.max_length or "TRL's"),)
        warm = f"{row.warmup:.0%}" if row.warmup else "none"
        how = (f"{row.rate(lora=False):g}", f"{row.rate(lora=True):g}", row.schedule, warm)
        cells.append((row.range_text, *how, str(row.batch), str(row.micro), steps, *own))
    sources = [f"- {row.range_text}: {'; '.join(row.sources)}." for row in rows]
    return [*_table(titles, cells), "", "Sources:", "", *sources]


# --- methods ----------------------------------------------------------------------------------------------------------


def _methods_page() -> str:
    from rlllm.algorithms.registry import METHODS

    methods = [METHODS.load(name) for name in sorted(METHODS.builtins)]
    rows = ((f"[`{m.name}`](#{_anchor(m.name)})", ", ".join(m.stages), m.summary) for m in methods)
    lines = ["# Methods", "", WRITTEN, "", *_table(("method", "verbs", "what it is"), rows)]
    for method in methods:
        lines += ["", *_method(method)]
    return "\n".join(lines)


def _method(method: Any) -> list[str]:
    from rlllm.algorithms.methods.base import links

    papers = ", ".join(f"[arXiv {link.rsplit('/', 1)[-1]}]({link})" for link in links(method))
    defaults = {f"{section}.{key}": value for section, own in method.defaults.items() for key, value in own.items()}
    presets = {**method.settings, **method.components, **defaults}
    page = method.page.removeprefix("docs/")
    lines = [
        f"## {method.name}",
        "",
        f"{_sentence(method.summary)}",
        "",
        "```text",
        *method.formula.splitlines(),
        "```",
        "",
    ]
    lines += [f"- verbs: {', '.join(_code(stage) for stage in method.stages)}; trainer: {_code(method.trainer)}"]
    if presets:
        lines += ["- presets: " + ", ".join(_code(f"{key}={value}") for key, value in presets.items())]
    if method.updates > 1:
        lines += [f"- updates on each rollout: {method.updates}, unless a setting of the batch says otherwise"]
    if method.reward:
        lines += [f"- reward: {_code(method.reward)}"]
    if method.notes:
        lines += [f"- {_sentence(method.notes)}"]
    lines += [f"- {method.paper.partition(', arXiv')[0]}: {papers}; page: [{page}](../{page})"]
    return [*lines, f"- `rlllm {method.stages[0]} --method {method.name} {method.example}".rstrip() + "`"]


# --- what registries list ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Argument:
    name: str
    kind: str
    default: str
    text: str


def _registry_page(title: str, intro: str, registries: list[Registry]) -> str:
    lines = [f"# {title}", "", WRITTEN, "", intro]
    for registry in registries:
        plugins = f"Plugins: entry-point group `{registry.group}`."
        heading = [f"## {registry.noun[0].upper()}{registry.noun[1:]}s", ""] if len(registries) > 1 else []
        entries = [entry for entry in registry.entries() if entry.origin == "built in"]
        rows = ((f"[`{entry.name}`](#{_anchor(entry.name)})", entry.summary) for entry in entries)
        lines += ["", *heading, plugins, "", *_table(("name", "what it is"), rows)]
        for entry in entries:
            lines += ["", *_component(entry, "#" * (3 if heading else 2))]
    return "\n".join(lines)


def _procedural_parameters() -> str:
    from rlllm.data.procedural.procedural_task import ProceduralParams

    heading = "## Parameters of procedural tasks\n\nKeys of `data.params` that each task of problems takes.\n\n"
    return "\n\n" + heading + "\n".join(_table(("key", "type", "default", "what it is"), _settings(ProceduralParams)))


def _component(entry: Entry, level: str) -> list[str]:
    target = entry.target
    node, module = _definition(target)
    if node is None:
        return [f"{level} {entry.name}", "", _sentence(entry.summary), "", f"Source: `{target}`", *_declaration(target)]
    text = ast.get_docstring(node) if isinstance(node, ast.ClassDef | ast.FunctionDef) else None
    body, _ = _split_docstring(text or "")
    lines = [f"{level} {entry.name}", "", *([body, ""] if body else []), f"Source: `{target}`"]
    constants = _constants(node)
    if constants:
        lines += ["", *(f"- {_code(f'{name} = {value}')}" for name, value in constants.items())]
    arguments = _arguments(node, module)
    if arguments:
        rows = ((_code(a.name), a.kind, a.default, a.text) for a in arguments)
        lines += ["", *_table(("argument", "type", "default", "what it is"), rows)]
    return lines


def _declaration(target: str) -> list[str]:
    """What an object such as a metric or a schema declares: its fields that are no functions and not the default."""
    from rlllm.core.registry import load_target

    declared = load_target(target)
    if not dataclasses.is_dataclass(declared):
        return []
    fields = {field.name: field for field in dataclasses.fields(declared) if field.name not in ("name", "summary")}
    values = {
        name: getattr(declared, name) for name, field in fields.items() if getattr(declared, name) != field.default
    }
    texts = {name: text for name, value in values.items() if (text := _declared(value))}
    lines = ["", *(f"- {name}: {text}" for name, text in texts.items())] if texts else []
    settings = values.get("settings") if inspect.isclass(values.get("settings")) else None
    return (
        [*lines, "", *_table(("argument", "type", "default", "what it is"), _settings(settings))] if settings else lines
    )


def _declared(value: object) -> str:
    if inspect.isclass(value):
        return "" if hasattr(value, "model_fields") else _code(value.__name__)
    if isinstance(value, Mapping | tuple):
        return ", ".join(filter(None, map(_declared, value)))
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, str | int | float) else ""


def _definition(target: str) -> tuple[ast.AST | None, ast.Module]:
    """The class, function or assignment that "module:name" means, and the module it stands in; nothing is imported."""
    module_name, _, name = target.partition(":")
    spec = find_spec(module_name)
    assert spec is not None
    assert spec.origin is not None
    module = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    node = next((node for node in module.body if getattr(node, "name", None) == name), None)
    origin = None if node else _imported_from(name, module)
    return _definition(f"{origin}:{name}") if origin else (node, module)


def _imported_from(name: str, module: ast.Module) -> str | None:
    """The module of ours that a name is imported from."""
    imports = [
        node for node in module.body if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rlllm")
    ]
    return next((node.module for node in imports if name in [alias.name for alias in node.names]), None)


def _arguments(node: ast.AST | None, module: ast.Module, *, declared: bool = False) -> list[_Argument]:
    """The fields of a dataclass, those of its bases first, or the keyword arguments of a class's `__init__`."""
    if not isinstance(node, ast.ClassDef):
        return []
    arguments: dict[str, _Argument] = {}
    for base in node.bases:
        arguments |= {argument.name: argument for argument in _inherited(base, module)}
    _, described = _split_docstring(ast.get_docstring(node) or "")
    has_fields = declared or any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    for index, item in enumerate(node.body):
        if has_fields and isinstance(item, ast.AnnAssign) and _is_argument(item):
            assert isinstance(item.target, ast.Name)
            name = item.target.id
            own = _attribute_docstring(node.body[index + 1 : index + 2])
            default = _code(ast.unparse(item.value)) if item.value else ""
            arguments[name] = _Argument(name, _code(ast.unparse(item.annotation)), default, described.get(name, own))
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            arguments |= {argument.name: argument for argument in _parameters(item, described)}
    return list(arguments.values())


def _constants(node: ast.AST | None) -> dict[str, str]:
    """What a class declares about itself, such as `needs` or `compares_group`, as the source says it."""
    constants = {}
    for item in node.body if isinstance(node, ast.ClassDef) else []:
        target = item.targets[0] if isinstance(item, ast.Assign) else getattr(item, "target", None)
        fixed = isinstance(item, ast.Assign) or (isinstance(item, ast.AnnAssign) and "ClassVar" in ast.unparse(item))
        if fixed and isinstance(target, ast.Name) and target.id not in ("name", "summary") and target.id[0] != "_":
            with contextlib.suppress(ValueError):  # what is computed is left out
                constants[target.id] = repr(ast.literal_eval(item.value))  # type: ignore[attr-defined]
    return constants


def _is_argument(item: ast.AnnAssign) -> bool:
    if not isinstance(item.target, ast.Name):
        return False
    annotation, value = ast.unparse(item.annotation), ast.unparse(item.value) if item.value else ""
    return not item.target.id.startswith("_") and "ClassVar" not in annotation and "init=False" not in value


def _inherited(base: ast.expr, module: ast.Module) -> list[_Argument]:
    if not isinstance(base, ast.Name):
        return []
    same = next((node for node in module.body if getattr(node, "name", None) == base.id), None)
    if same is not None:
        return _arguments(same, module)
    origin = _imported_from(base.id, module)
    return _arguments(*_definition(f"{origin}:{base.id}")) if origin else []


def _parameters(function: ast.FunctionDef, described: Mapping[str, str]) -> Iterator[_Argument]:
    positional = function.args.args
    padded = [None] * (len(positional) - len(function.args.defaults)) + list(function.args.defaults)
    pairs = [
        *zip(positional, padded, strict=True),
        *zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True),
    ]
    _, own = _split_docstring(ast.get_docstring(function) or "")
    for argument, default in pairs[1:]:
        kind = _code(ast.unparse(argument.annotation)) if argument.annotation else ""
        text = own.get(argument.arg) or described.get(argument.arg, "")
        yield _Argument(argument.arg, kind, _code(ast.unparse(default)) if default else "", text)


def _attribute_docstring(following: Sequence[ast.stmt]) -> str:
    node = following[0] if following else None
    value = node.value if isinstance(node, ast.Expr) else None
    return _prose(value.value) if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _split_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The prose of a docstring, and the texts of its `Args:` by name; other sections are dropped."""
    body, _, rest = text.partition("\nArgs:\n")
    described: dict[str, str] = {}
    names: list[str] = []
    for line in rest.splitlines():
        if line.strip() and not line.startswith("    "):
            break
        if match := _ARGUMENT.match(line):
            names = match["names"].split(", ")
            described |= dict.fromkeys(names, match["text"])
        elif line.strip():
            described |= {name: f"{described[name]} {line.strip()}" for name in names}
    body = re.split(r"\n(?:Raises|Returns|Yields|Example):\n", body)[0]
    return body.strip(), described


# --- names to import -----------------------------------------------------------------------------------------------------


def _python_page() -> str:
    import rlllm
    from rlllm import plugins

    lines = [
        "# Python names",
        "",
        WRITTEN,
        "",
        "What may be imported. Names that stand nowhere here may change without notice.",
    ]
    described: set[str] = set()
    for package, names, text in (
        ("rlllm", rlllm._PUBLIC, "The verbs as functions, and runs:"),
        ("rlllm.plugins", plugins._PUBLIC, "What authors of [plugins](../guides/plugins/README.md) need:"),
    ):
        lines += ["", f"## {package}", "", text]
        for name in sorted(names, key=str.lower):
            if name not in described:
                lines += ["", *_public(name, f"{names[name]}:{name}")]
            described.add(name)
    return "\n".join(lines)


def _public(name: str, target: str) -> list[str]:
    """A class with its fields and methods, or a function with its signature."""
    node, module = _definition(target)
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    body, described = _split_docstring(ast.get_docstring(node) or "")
    lines = [f"### {name}", ""]
    if isinstance(node, ast.FunctionDef):
        signature = f"{name}{_signature(node)}"
        texts = [(_code(argument), text) for argument, text in described.items()]
        lines += [
            "```text",
            signature,
            "```",
            "",
            body,
            *(["", *_table(("argument", "what it is"), texts)] if texts else []),
        ]
        return lines
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    lines += [body, "", f"`{target.replace(':', '.')}`" + (f", a {_code(bases)}" if bases else "")]
    if fields := _arguments(node, module, declared=True):
        rows = ((_code(f.name), f.kind, f.default, f.text) for f in fields)
        lines += ["", *_table(("field", "type", "default", "what it is"), rows)]
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef) and _is_public(item)]
    texts = [
        (_code(_spelled(method)), _prose(_split_docstring(ast.get_docstring(method) or "")[0])) for method in methods
    ]
    return [*lines, "", *_table(("method or property", "what it does"), texts)] if texts else lines


def _is_public(function: ast.FunctionDef) -> bool:
    decorators = {ast.unparse(decorator) for decorator in function.decorator_list}
    documented = ast.get_docstring(function) is not None
    return (
        documented and not decorators & {"model_validator"} and (function.name[0] != "_" or function.name == "__call__")
    )


def _spelled(method: ast.FunctionDef) -> str:
    """A method with its signature, or a property with its type."""
    if any("property" in ast.unparse(decorator) for decorator in method.decorator_list):
        return f"{method.name}: {ast.unparse(method.returns)}" if method.returns else method.name
    return f"{method.name}{_signature(method)}"


def _signature(function: ast.FunctionDef) -> str:
    arguments = ast.unparse(function.args).removeprefix("self, ").removeprefix("cls, ")
    arguments = "" if arguments in ("self", "cls") else arguments
    return f"({arguments})" + (f" -> {ast.unparse(function.returns)}" if function.returns else "")


# --- commands and exit codes ------------------------------------------------------------------------------------------


def _commands_page() -> str:
    from typer.main import get_command

    from rlllm_cli.main import build

    lines = ["# Commands", "", WRITTEN, "", "`rlllm COMMAND --help` prints the same on a terminal.", ""]
    lines += ["The lifecycle verbs also take every setting of their own page: [sft](sft.md), [train-rm](train-rm.md), "]
    lines[-1] += "[align](align.md), [reason](reason.md), [eval](eval.md)."
    for path, command in _leaves(get_command(build()), "rlllm"):
        lines += ["", f"## {path}", "", _prose(command.help), "", *_options(command)]
    return "\n".join(lines)


def _leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words that call it."""
    inner = getattr(command, "commands", None)
    if not inner:
        yield path, command
        return
    for name, child in inner.items():
        yield from _leaves(child, f"{path} {name}")


def _options(command: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        is_option = parameter.param_type_name == "option"
        name = ", ".join(parameter.opts) if is_option else (parameter.metavar or parameter.name.upper())
        value = parameter.metavar if is_option and parameter.metavar and not parameter.is_flag else ""
        rows.append((_code(f"{name} {value}".rstrip()), _prose(getattr(parameter, "help", None))))
    return _table(("argument or option", "what it is"), rows) if rows else []


def _exit_codes_page() -> str:
    from rlllm.core import errors

    lines = ["# Exit codes and errors", "", WRITTEN, ""]
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.RlllmError)]
    documented = _enum_texts(errors.ExitCode)
    rows = ((str(int(code)), code.name.lower(), documented.get(code.name, "")) for code in errors.ExitCode)
    lines += _table(("code", "name", "meaning"), rows)
    lines += ["", "An error names what is wrong, what was given, what exists, and what to type next. From Python:", ""]
    rows = ((_code(kind.__name__), str(int(kind.exit_code)), _prose(inspect.getdoc(kind))) for kind in kinds)
    lines += _table(
        ("class", "exit code", "when"), ((name, code, text.split(" Args:")[0]) for name, code, text in rows)
    )
    return "\n".join(
        [*lines, "", "Guide: [runs and verdicts](../guides/runs.md), [troubleshooting](../guides/troubleshooting.md)."]
    )


def _enum_texts(kind: type) -> dict[str, str]:
    """Member -> the string under it."""
    node = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(node, ast.ClassDef)
    members = {}
    for index, item in enumerate(node.body):
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            members[item.targets[0].id] = _attribute_docstring(node.body[index + 1 : index + 2])
    return members


# --- words ------------------------------------------------------------------------------------------------------------


def _index(written: Mapping[str, str]) -> str:
    lines = [
        "# Reference",
        "",
        WRITTEN,
        "",
        "What each verb, method and component takes, and what it is by default.",
        "",
    ]
    titles = {name: text.splitlines()[0].removeprefix("# ") for name, text in written.items()}
    return "\n".join([*lines, *(f"- [{title}]({name})" for name, title in titles.items())])


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(headers)} |", f"|{'---|' * len(headers)}"]
    return [*lines, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)]


def _code(value: object) -> str:
    return f"`{value}`"


def _prose(text: str | None) -> str:
    """A docstring's prose on one line."""
    return " ".join((text or "").split())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def _anchor(heading: str) -> str:
    """The anchor that MkDocs and GitHub make of a heading in code or plain."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    import sys

    for changed in write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference")):
        print(changed)
