"""Settings: frozen pydantic sections, one way to layer them, and errors that say what to type.

Precedence is class defaults < recipe < command line. A bare key on the command line is a field of the settings class, else a
TRL field name (which lands in `trainer`), else an alias; `a.b=c` reaches into a section. Nothing is abbreviated or guessed.
A verb may have several settings classes; which of them holds is decided before `resolve` is called.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator

from rlllm.core import trl_fields
from rlllm.core.addresses import refuse_keys_in_addresses
from rlllm.core.errors import ConfigError, UnknownNameError, closest, unknown
from rlllm.core.other_names import setting_for
from rlllm.core.records import fingerprint
from rlllm.core.redaction import secrets_in, without_secrets
from rlllm.core.runs import RUNS


class Section(BaseModel):
    """A group of settings. The string under a field is its documentation, in code and in `--help`."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )

    @classmethod
    def checked(cls, values: Any) -> Self:
        """The section of these values. Raises ConfigError that names the first value which does not fit."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problem = error.errors()[0]
            original = problem.get("ctx", {}).get("error")
            if isinstance(original, ConfigError):
                raise original from error
            place = ".".join(map(str, problem["loc"]))
            raise ConfigError(f"{place}: {problem['msg'].lower()}", given=repr(problem["input"])) from error


class PartSpec(Section):
    """A part named in a recipe, with its arguments: `exact`, or `{name: length, budget: 40}`."""

    noun: ClassVar[str] = "part"
    name: str
    """What the part's registry lists, `path/to/file.py:attribute`, or `package.module:attribute`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Arguments; every other key of the mapping form lands here."""

    @classmethod
    def of_text(cls, text: str) -> dict[str, Any]:
        """The fields of the short form."""
        return {"name": text}

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if isinstance(value, str):
            return cls.of_text(value)
        if not isinstance(value, Mapping):
            return value
        own = {key: item for key, item in value.items() if key in cls.model_fields}
        extra = {key: item for key, item in value.items() if key not in cls.model_fields}
        given = own.get("params") or {}
        if not extra or not isinstance(given, Mapping):
            return own
        twice = sorted(extra.keys() & given.keys())
        if twice:
            raise ConfigError(f"{cls.noun} {own.get('name', '')}: {twice[0]} is given twice", hint="leave out params")
        return {**own, "params": {**given, **extra}}


class HardwareConfig(Section):
    """What a run computes on. It changes the last bits of every sum, and so the weights; a resume keeps it, and so does a run
    from another run's `config.json`."""

    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """CPU threads; `auto` takes OMP_NUM_THREADS, else the number measured to be the fastest for the model's shape."""
    matmul: Literal["auto", "torch", "onednn"] = "auto"
    """What multiplies float32 matrices on a CPU, in training and in the engine `native`: torch or oneDNN. `auto` takes the one
    measured to be faster for the model's shape."""


class LoadingConfig(Section):
    """In which numbers a model is loaded, and what computes its attention."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = None
    """Number format of the weights in memory, in which they are trained and saved; `auto` takes that of the files. Default:
    float32 on a CPU, bfloat16 on a GPU that has it."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] | None = None
    """What computes attention (TRL: attn_implementation). Default: what transformers takes for the model, mostly sdpa."""
    quantisation: Literal["4bit", "8bit"] | None = None
    """Linear layers in 4 bits (NF4, its constants quantised as well) or 8, by bitsandbytes; with `lora` in 4 bits that is QLoRA
    (Dettmers et al. 2023, arXiv 2305.14314)."""
    trust_remote_code: str | None = None
    """The model again, by the name it was given: Python code in its repository may run on this machine, with your files and
    your network. Default: no code of a repository runs."""

    @field_validator("trust_remote_code", mode="before")
    @classmethod
    def _names_a_model(cls, value: Any) -> Any:
        if isinstance(value, bool) or value in ("true", "True"):
            if value is False:
                return None
            raise ConfigError(
                "code is trusted by the name of its repository, not of all",
                given="model.trust_remote_code=true",
                hint="model.trust_remote_code=MODEL, with what --model was given",
            )
        return value


class ModelConfig(LoadingConfig):
    """The model, by its name alone (`model: nano`) or with how it is loaded."""

    name: str = "nano"
    """`nano`, a folder, a Hub id, a run directory, or a folder with an adapter; `ADAPTER@BASE` is an adapter on its base."""
    base: str | None = None
    """The model that an adapter was trained on, where the adapter does not say, or it has moved."""

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("base") and not value.get("name"):
            raise ConfigError("model.base is the base of an adapter", hint="name the adapter with --model")
        return {"name": value} if isinstance(value, str) else value

    @property
    def reference(self) -> str:
        """What `resolve_model` takes."""
        return f"{self.name}@{self.base}" if self.base else self.name

    def short(self) -> str | dict[str, Any]:
        """As it is written down: the reference alone where nothing says how it is loaded, else a mapping with `name`."""
        loading = {name: getattr(self, name) for name in LoadingConfig.model_fields if getattr(self, name) is not None}
        return {"name": self.reference, **loading} if loading else self.reference


def model_reference(recorded: Any) -> str:
    """The name of a model as `ModelConfig.short` wrote it into a run's settings."""
    return str(recorded["name"]) if isinstance(recorded, Mapping) else str(recorded)


class StageConfig(Section):
    """What every verb shares. Other settings classes add their fields and name the TRL config behind `trainer`."""

    stage: ClassVar[str]
    """The verb."""
    trl_configs: ClassVar[tuple[str, ...]] = ()
    """Name of the TRL dataclass whose fields `trainer` accepts, e.g. ("GRPOConfig",); empty where there is no `trainer`."""
    aliases: ClassVar[Mapping[str, str]] = {}
    """Other names users type, mapped to dotted paths; TRL's names for what rlllm keeps in a section of its own."""

    model: ModelConfig = ModelConfig()
    """`nano`, a folder, a Hub id, a run directory, or a folder with an adapter; `ADAPTER@BASE`, or `model.base=BASE` beside
    it, names the model that the adapter was trained on. A mapping says how it is loaded, too: `name`, `dtype`, `attention`,
    `quantisation`, `trust_remote_code`."""
    output_dir: Path | None = None
    """Run directory; default `runs/STAGE-TIME`."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seeds data order, sampling and initialisation."""
    hardware: HardwareConfig = HardwareConfig()
    """CPU threads and matrix product."""
    watchdog: float = Field(14_400, ge=0, allow_inf_nan=False)
    """Seconds without a sign of progress (a phase, a step, a batch that was sampled, a completion that was scored) after which
    the run writes the stacks of its processes and ends with exit code 75; 0 waits for ever. Linux only."""

    @field_validator("output_dir")
    @classmethod
    def _can_be_made(cls, value: Path | None) -> Path | None:
        """Refuse a name that no file system takes."""
        longest = max((len(part.encode(errors="surrogatepass")) for part in value.parts), default=0) if value else 0
        if longest > _LONGEST_NAME or (value and "\0" in str(value)):
            raise ConfigError(
                f"output_dir: a file name has at most {_LONGEST_NAME} bytes, none of them 0",
                given=f"{str(value)[:60]!r}, {longest} bytes",
                hint="--output-dir runs/NAME",
            )
        return value

    @field_serializer("model")
    def _model_in_short(self, model: ModelConfig) -> str | dict[str, Any]:
        return model.short()

    @model_validator(mode="before")
    @classmethod
    def _one_for_many(cls, value: Any) -> Any:
        """A list of sections may be given as its only item: `rewards: exact`."""
        if not isinstance(value, Mapping):
            return value
        lists = _sections(cls, in_lists=True).keys() - _sections(cls).keys()
        return {key: [v] if key in lists and isinstance(v, str | Mapping) else v for key, v in value.items()}

    @model_validator(mode="after")
    def _no_keys_in_addresses(self) -> Self:
        given = self.model_dump(mode="json", exclude_unset=True)
        refuse_keys_in_addresses(given)
        secrets_in(given)
        return self

    def digest(self) -> str:
        """Content hash of everything that shapes the run's result; where it is written and how it is judged do not count.

        Nor does the hardware: a resume keeps the recorded one. Nor does what starts its processes and watches over them, or a
        key.
        """
        judged = {"fail_on", "allow", "monitors"}
        ended = {"watchdog", "grace_period"}
        shaping = self.model_dump(mode="json", exclude={"output_dir", "hardware", "launch", *ended, *judged})
        return fingerprint(without_secrets(shaping))

    def directory(self) -> Path:
        """The run directory: the one that was named, or `runs/STAGE-TIME`."""
        return self.output_dir or RUNS / f"{self.stage}-{time.strftime('%Y%m%d-%H%M%S')}"


_LONGEST_NAME = 255
"""Bytes of a file's name on Linux and macOS."""
Config = TypeVar("Config", bound=StageConfig)
_COMMON_ALIASES = {
    "model_name_or_path": "model",
    "dataset_name": "data",
    "output-dir": "output_dir",
    "on_bad_row": "data.on_bad_row",
    "row_schema": "data.row_schema",
    "system_prompt": "data.system_prompt",
    "dtype": "model.dtype",
    "attn_implementation": "model.attention",
    "lora_r": "lora.r",
    "lora_alpha": "lora.alpha",
    "lora_dropout": "lora.dropout",
    "lora_target_modules": "lora.target_modules",
    "use_rslora": "lora.use_rslora",
    "use_dora": "lora.use_dora",
}
"""TRL's and transformers' names for what rlllm keeps in a section; those of a section that a verb does not have are unknown
there."""
SWITCHES: Mapping[str, tuple[list[str], Any]] = {
    "load_in_4bit": (["model", "quantisation"], "4bit"),
    "load_in_8bit": (["model", "quantisation"], "8bit"),
    "use_peft": (["lora"], {}),
}
"""TRL's switches -> the setting that they mean, and its value where the switch is on; off is the default."""


def resolve(
    cls: type[Config],
    recipe: Mapping[str, Any],
    overrides: Iterable[tuple[str, Any]] = (),
    unread: UnreadKey | None = None,
    *,
    layered: bool = False,
) -> Config:
    """Layer a recipe and overrides over the class defaults and validate the result.

    Args:
        cls: the settings class.
        recipe: mapping read from a recipe file (may be empty).
        overrides: (key, value) pairs, values already parsed. Their order does not matter.
        unread: key -> the error for a key that other settings classes of the verb have, or None if none has it.
        layered: the overrides are several layers, the later one wins; otherwise a setting that is given twice is an error.

    Raises:
        ConfigError: unknown key, wrong type, a setting given twice, or values that do not fit together.
    """
    try:
        return _resolve(cls, recipe, overrides, layered)
    except UnknownKeyError as error:
        better = unread(error.key) if unread else None
        if better is None:
            raise
        raise better from error


UnreadKey = Callable[[str], ConfigError | None]


class UnknownKeyError(UnknownNameError):
    """A key that the settings class does not have.

    Args:
        key: as it was typed.
        error: what is wrong, with the keys that exist.
    """

    def __init__(self, key: str, error: ConfigError) -> None:
        super().__init__(error.what, given=error.given, exists=error.exists, hint=error.hint)
        self.key = key


def accepts(cls: type[StageConfig], key: str) -> bool:
    """Whether a key, dotted or not, may be typed for a settings class."""
    path = _known_path(cls, key)
    if path is None:
        return False
    if path[0] == "trainer" and len(path) > 1 and cls.trl_configs:
        return path[1] in trl_fields.union(cls.trl_configs)
    section: type[BaseModel] | None = cls
    for part in path:
        if section is None:
            return True
        if part not in section.model_fields:
            return "params" in section.model_fields  # arguments of a named part, such as `data.level`
        section = _sections(section).get(part)
    return True


def _resolve(
    cls: type[Config], recipe: Mapping[str, Any], overrides: Iterable[tuple[str, Any]], layered: bool
) -> Config:
    values = _recipe_values(cls, copy.deepcopy(dict(recipe)))
    places = [(key, path, item) for key, value in overrides for path, item in _places(cls, key, value)]
    for _, path, item in places if layered else _once(cls, places):
        _assign(cls, values, path, item)
    if cls.trl_configs and isinstance(values.get("trainer"), Mapping):
        trainer = values["trainer"].items()
        values["trainer"] = {key: _check_trl_field(cls, key, value) for key, value in trainer}
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        raise _translate(cls, error) from error


def _check_trl_field(cls: type[StageConfig], name: str, value: Any) -> Any:
    try:
        return trl_fields.check(cls.trl_configs, name, value)
    except UnknownNameError as error:
        raise UnknownKeyError(f"trainer.{name}", error) from error


def known_keys(cls: type[StageConfig]) -> list[str]:
    """Every key a user may type for this stage: fields, dotted fields, aliases and TRL names."""
    switches = [name for name, (path, _) in SWITCHES.items() if path[0] in cls.model_fields]
    keys = [*cls.model_fields, *cls.aliases]
    for name, section in _sections(cls).items():
        keys += [f"{name}.{field}" for field in section.model_fields]
    keys += trl_fields.union(cls.trl_configs)
    return [*keys, *_common_aliases(cls), *switches]


def _recipe_values(cls: type[StageConfig], recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with every setting in its own place; whole sections first, so that they take away nothing."""
    values: dict[str, Any] = {}
    given = [place for key, value in recipe.items() for place in _places(cls, key, value)]
    for path, value in sorted(given, key=lambda place: len(place[0])):
        before = _find(values, path)
        if before not in (None, value):
            name = ".".join(path)
            raise ConfigError(f"{name} is given twice", given=f"{name}={before} and {value}", hint="keep one")
        _assign(cls, values, path, value)
    return values


_Place = tuple[str, list[str], Any]
"""A key as it was typed, the path of the setting it means, and the value."""


def _once(cls: type[StageConfig], places: list[_Place]) -> list[_Place]:
    """The places with whole sections first, so that they take away nothing. Raises ConfigError for one that is given twice."""
    for number, place in enumerate(places):
        for earlier in places[:number]:
            outer, inner = sorted((earlier, place), key=lambda item: len(item[1]))
            rest = inner[1][len(outer[1]) :]
            if inner[1][: len(outer[1])] != outer[1]:
                continue
            is_section = len(outer[1]) == 1
            whole = _widened(cls, outer[1][0], outer[2]) if is_section else outer[2]
            is_text = not is_section and not isinstance(whole, Mapping)
            if not rest or is_text or _find(whole, rest) is not None:
                raise ConfigError(
                    f"{'.'.join(inner[1])} is given twice",
                    given=" and ".join(f"{key}={value}" for key, _, value in (earlier, place)),
                    hint="keep one",
                )
    return sorted(places, key=lambda place: len(place[1]))


def _places(cls: type[StageConfig], key: str, value: Any) -> Iterator[tuple[list[str], Any]]:
    """Where a setting belongs. Of a `trainer` mapping, TRL's names for what rlllm keeps elsewhere go there."""
    path = _path(cls, key)
    switch = SWITCHES.get(key.replace("-", "_"))
    if switch is not None:
        if not isinstance(value, bool):
            raise ConfigError(f"{key} is on or off", given=f"{key}={value}", hint=f"{key}=true")
        if value:
            yield switch
        return
    if path != ["trainer"] or not isinstance(value, Mapping):
        yield path, value
        return
    places = [(_path(cls, f"trainer.{name}"), item) for name, item in value.items()]
    yield path, {place[1]: item for place, item in places if place[0] == "trainer"}
    yield from ((place, item) for place, item in places if place[0] != "trainer")


def _find(values: Mapping[str, Any], path: list[str]) -> Any:
    node: Any = values
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _path(cls: type[StageConfig], key: str) -> list[str]:
    if key.startswith("+"):
        raise ConfigError("keys are written without Hydra's +", given=key, hint=f"type {key.lstrip('+')}=...")
    path = _known_path(cls, key)
    if path is None:
        raise _unknown_key(cls, key)
    return path


def _known_path(cls: type[StageConfig], key: str) -> list[str] | None:
    """Where a key belongs; None where the settings class has no such key. What stands in a section is not looked at."""
    head, _, rest = key.partition(".")
    head = _spell(head, cls.model_fields)
    if rest and head in cls.model_fields:
        return _trainer_path(cls, rest) if head == "trainer" and cls.trl_configs else [head, *rest.split(".")]
    switch = SWITCHES.get(key.replace("-", "_"))
    if switch is not None and switch[0][0] in cls.model_fields:
        return switch[0]
    for alias in (cls.aliases, _common_aliases(cls)):
        spelled = _spell(key, alias)
        if spelled in alias:
            return alias[spelled].split(".")
    if head in cls.model_fields and not rest:
        return [head]
    names = trl_fields.union(cls.trl_configs)
    spelled = _spell(key, names)
    if spelled in names:
        return ["trainer", spelled]
    return None


def _common_aliases(cls: type[StageConfig]) -> dict[str, str]:
    return {name: path for name, path in _COMMON_ALIASES.items() if path.partition(".")[0] in cls.model_fields}


def _trainer_path(cls: type[StageConfig], name: str) -> list[str]:
    names = trl_fields.union(cls.trl_configs)
    name = _spell(name, names)
    return cls.aliases[name].split(".") if name in names and name in cls.aliases else ["trainer", *name.split(".")]


def _spell(key: str, names: Iterable[str]) -> str:
    """The registered spelling of `key`; dashes and underscores are one."""
    return {name.replace("-", "_"): name for name in names}.get(key.replace("-", "_"), key)


def _unknown_key(cls: type[StageConfig], key: str) -> UnknownKeyError:
    return UnknownKeyError(key, _explain_unknown_key(cls, key))


def _explain_unknown_key(cls: type[StageConfig], key: str) -> ConfigError:
    leaf = key.rsplit(".", 1)[-1]
    for name, section in _sections(cls).items():
        if leaf in section.model_fields and f"{name}.{leaf}" != key:
            return ConfigError(f"unknown key for {cls.stage}: {key}", hint=f"did you mean {name}.{leaf}?")
    if meant := setting_for(key, known_keys(cls)):
        return ConfigError(f"unknown key for {cls.stage}: {key}", hint=f"did you mean {meant}?")
    return unknown(
        f"key for {cls.stage}", key, known_keys(cls) if closest(key, known_keys(cls)) else list(cls.model_fields)
    )


def _sections(cls: type[BaseModel], *, in_lists: bool = False) -> dict[str, type[BaseModel]]:
    """Field name -> section behind it; with `in_lists` also the sections a list is made of."""
    sections = {}
    for name, field in cls.model_fields.items():
        inner = get_args(field.annotation) if in_lists or get_origin(field.annotation) is not list else ()
        for option in (field.annotation, *inner):
            if isinstance(option, type) and issubclass(option, BaseModel):
                sections[name] = option
    return sections


def _assign(cls: type[StageConfig], values: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a nested value. A shorthand (`data: arithmetic`) already there is widened through its section first."""
    head, *rest = path
    if not rest:
        values[head] = value
        return
    current = values.get(head)
    if current is not None and not isinstance(current, Mapping) and head not in _sections(cls):
        raise ConfigError(f"{head} has no parts", given=".".join(path))
    current = {} if current is None else _widened(cls, head, current)
    node = values[head] = dict(current)
    for part in rest[:-1]:
        child = node.get(part)
        node[part] = dict(child) if isinstance(child, Mapping) else {}
        node = node[part]
    node[rest[-1]] = value


def _widened(cls: type[StageConfig], head: str, value: Any) -> Any:
    """The shorthand of a section (`data: arithmetic#5`) as a mapping of what it says; any other value as it is."""
    section = _sections(cls).get(head)
    if section is None or value is None or isinstance(value, Mapping):
        return value
    try:
        return section.model_validate(value).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise _translate(cls, error, (head,)) from error


def _translate(cls: type[StageConfig], error: ValidationError, section: tuple[str, ...] = ()) -> ConfigError:
    """The first problem of a pydantic report, in our words; `section` is where the validated part belongs."""
    problem = error.errors()[0]
    loc = (*section, *problem["loc"])
    original = problem.get("ctx", {}).get("error")
    if isinstance(original, ConfigError):
        return original
    place = ".".join(str(part) for part in loc)
    if problem["type"] == "extra_forbidden":
        return _unknown_section_key(cls, [str(part) for part in loc])
    message = str(problem["msg"]).removeprefix("Value error, ")
    return ConfigError(
        f"{place or cls.stage}: {message[:1].lower()}{message[1:]}",
        given=repr(problem.get("input")),
        hint=_describe_field(cls, loc),
    )


def _unknown_section_key(cls: type[StageConfig], path: list[str]) -> ConfigError:
    section: type[BaseModel] = cls
    for part in path[:-1]:
        section = _sections(section, in_lists=True).get(part, section)
    if section is cls:
        return _unknown_key(cls, ".".join(path))
    error = unknown(f"key in {'.'.join(path[:-1])}", path[-1], list(section.model_fields))
    return UnknownKeyError(".".join(path), error)


def _describe_field(cls: type[StageConfig], place: tuple[int | str, ...]) -> str | None:
    section: type[BaseModel] = cls
    for part in place[:-1]:
        section = _sections(section, in_lists=True).get(str(part), section)
    field = section.model_fields.get(str(place[-1])) if place else None
    if field is None or not field.description:
        return None
    return f"{place[-1]}: {' '.join(field.description.split())}"
