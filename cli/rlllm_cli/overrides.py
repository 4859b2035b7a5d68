"""Everything typed after a verb that is not a declared option: a recipe, and overrides of the stage's settings.

    rlllm reason quickstart learning_rate=1e-5 --max_steps 60 --bf16 rollout.group_size=4

A word without `=` or dashes is the recipe (for `eval`: a task). `key=value`, `--key value` and `--key=value` mean the same;
dashes and underscores in keys are one. A key stands without a value only where it is a switch. Nothing is abbreviated.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlllm.core.config import StageConfig
    from rlllm.core.errors import ConfigError

Overrides = list[tuple[str, Any]]

_KEY_VALUE = re.compile(r"\+*[A-Za-z_][\w.-]*=")
_TASK_FILE = "lm-eval:"
"""What a file of lm-evaluation-harness is named with; such a file is a task and no recipe."""
_NEGATIVE = re.compile(r"-\.?\d")
_TRUTH_WORDS = {"true", "false", "yes", "no", "on", "off", "0", "1", "none", "null"}


@dataclass(frozen=True, slots=True)
class Typed:
    """The words after a verb: those without a key, and the settings, in the order they were typed."""

    bare: list[str]
    overrides: Overrides


def join_values(verb: str, args: Sequence[str], takes_value: Mapping[str, bool]) -> list[str]:
    """The arguments with every undeclared `--key value` turned into one `--key=value`.

    Args:
        verb: the lifecycle verb; the settings of the method that is named say which keys exist and which are switches.
        args: what was typed after the verb.
        takes_value: the declared options, and whether each is followed by a value.

    Raises:
        ConfigError: an unknown option, or one that lacks its value.
    """
    settings = settings_class(verb, args)
    joined: list[str] = []
    rest = deque(args)
    while rest:
        token = rest.popleft()
        name, equals, _ = token.partition("=")
        following = rest[0] if rest and not _is_option(rest[0]) else None
        if token == "--":
            return [*joined, token, *rest]
        if not token.startswith("--"):
            joined.append(token)
        elif name in takes_value:
            joined.append(token)
            if takes_value[name] and not equals:
                joined.append(_needed(name, following))
                rest.popleft()
        elif equals:
            _check_known(settings, name[2:], takes_value)
            joined.append(token)
        else:
            _check_known(settings, name[2:], takes_value)
            value = _value(settings, name, following)
            joined.append(f"{token}={value or 'true'}")
            if value is not None:
                rest.popleft()
    return joined


def settings_class(verb: str, args: Sequence[str]) -> type[StageConfig]:
    """The settings class of the method that is named among the arguments, or in the recipe among them.

    Raises:
        UnknownNameError: there is no such method.
        ConfigError: it is a method of another verb, or the recipe cannot be read.
    """
    from rlllm.stages.catalog import config_class

    return config_class(verb, method_named(verb, args))


def method_named(verb: str, args: Sequence[str]) -> str | None:
    """The method that is typed (`--method X`, `method=X`), or that the recipe among the arguments names; else None."""
    from rlllm.stages.catalog import STAGES

    typed: list[str] = []
    for place, word in enumerate(args):
        key, equals, value = word.removeprefix("--").partition("=")
        if key in STAGES[verb].method_keys and (equals or word.startswith("--")):
            typed += [value] if equals else args[place + 1 : place + 2]
    return typed[-1] if typed else _method_of_recipe(verb, args)


def _method_of_recipe(verb: str, args: Sequence[str]) -> str | None:
    """The method of the first recipe; None without one. What is wrong with a recipe is reported where it is read in full."""
    from rlllm.core.errors import ConfigError
    from rlllm.core.recipes import find_recipe, read_recipe
    from rlllm.stages.catalog import method_of

    words = (word.removeprefix("--config=") for word in args)
    recipe = next((word for word in words if _is_recipe(verb, word)), None)
    if recipe is None:
        return None
    try:
        return method_of(verb, read_recipe(find_recipe(recipe, verb).path))
    except ConfigError:
        return None


def read_words(verb: str, words: Iterable[str]) -> Typed:
    """Sort joined words into bare ones and overrides with parsed values. Raises ConfigError for a single-dash option."""
    from rlllm.core.errors import ConfigError
    from rlllm.core.yaml_io import parse_scalar

    typed = Typed([], [])
    for word in words:
        if word.startswith("--") or _KEY_VALUE.match(word):
            key, _, text = word.removeprefix("--").partition("=")
            typed.overrides.append((key, parse_scalar(text)))
        elif word.startswith("-") and len(word) > 1:
            raise ConfigError(f"no such option for {verb}: {word}", hint=f"list them with: rlllm {verb} --help")
        else:
            typed.bare.append(word)
    return typed


def names_and_settings(command: str, words: Iterable[str]) -> Typed:
    """Names of data sets, and settings that hold for all of them: `data.KEY=VALUE`, or `KEY=VALUE` for a key of a data set.

    Raises:
        ConfigError: a single-dash option, or a key that data sets do not have.
    """
    from rlllm.core.errors import unknown
    from rlllm.data.config import DataConfig

    names = [word for word in words if not _KEY_VALUE.match(word) or Path(word).exists()]
    typed = read_words(command, (word for word in words if word not in names))
    settings = [(data_key(key) or key, value) for key, value in typed.overrides]
    for key, _ in settings:
        if not key.startswith("data."):
            raise unknown("setting of data", key, DataConfig.model_fields)
    return Typed([*names, *typed.bare], settings)


def data_settings(command: str, words: Iterable[str], options: Collection[str] = ()) -> Overrides:
    """Settings of the one data set of a command: `data.KEY=VALUE`, or `KEY=VALUE` for a key of a data set.

    Args:
        command: for error messages.
        words: what was typed.
        options: options of the command that are not settings of its data; a key like one of them needs its `data.`.

    Raises:
        ConfigError: a word that is no setting, a key that data sets do not have, or one that is also such an option.
    """
    from rlllm.core.errors import ConfigError

    words = list(words)
    typed = names_and_settings(command, words)
    if typed.bare:
        raise ConfigError(
            f"{command} reads one data set, and settings are written KEY=VALUE",
            given=typed.bare[0],
            hint="for example on_bad_row=skip; several data sets are mixed as A,B",
        )
    for word in words:
        key, _, value = word.removeprefix("--").partition("=")
        if key in options:
            raise ConfigError(
                f"{key} is an option of {command}, and a setting of its data",
                given=word,
                hint=f"type --{key} {value}, or data.{key}={value}",
            )
    return typed.overrides


def data_key(key: str) -> str | None:
    """The dotted key of a setting of data that is typed with or without `data.`; None for another key."""
    from rlllm.data.config import DataConfig

    head, dot, rest = key.removeprefix("data.").partition(".")
    head = head.replace("-", "_")
    is_own = key.startswith("data.") or head in DataConfig.model_fields
    return f"data.{head}{dot}{rest}" if is_own else None


def refuse_repeats(settings: Overrides) -> None:
    """Raise ConfigError for a key that is typed twice; dashes and underscores are one."""
    from rlllm.core.errors import ConfigError

    values: dict[str, Any] = {}
    for key, value in settings:
        name = key.replace("-", "_")
        if name in values:
            raise ConfigError(f"{key} is given twice", given=f"{key}={values[name]} and {key}={value}", hint="keep one")
        values[name] = value


def recipe_and_tasks(verb: str, bare: Sequence[str], config_file: str | None) -> tuple[str | None, list[str]]:
    """The recipe among the bare words, and for `eval` the tasks beside it.

    Raises:
        ConfigError: more than one recipe, or a word that is none; the hint says what it was probably meant to be.
    """
    from rlllm.core.errors import ConfigError

    named = [word for word in bare if _is_recipe(verb, word)]
    others = [word for word in bare if word not in named]
    tasks, strays = (others, []) if verb == "eval" else ([], others)
    for word in strays:
        if meant := _meant(verb, word, bare[bare.index(word) + 1 :]):
            raise ConfigError(f"{word} is not a recipe", hint=meant)
    recipes = [*named, *strays, *([config_file] if config_file else [])]
    if len(recipes) > 1:
        raise ConfigError(
            f"one recipe at most, not {len(recipes)}",
            given=" and ".join(recipes),
            hint=f"type rlllm {verb} {recipes[0]}, and settings as key=value",
        )
    return (recipes[0] if recipes else None), tasks


def _is_recipe(verb: str, word: str) -> bool:
    from rlllm.core.recipes import is_file_reference, list_recipes

    names = {name for entry in list_recipes() for name in (entry.name, Path(entry.name).name) if entry.stage == verb}
    return word in names or (is_file_reference(word) and not word.startswith(_TASK_FILE))


def flag_overrides(flags: Mapping[str, Any], typed: Overrides) -> Overrides:
    """Declared options as overrides. Raises ConfigError where the same setting was also typed as a key."""
    from rlllm.core.errors import ConfigError

    given = {key: value for key, value in flags.items() if value not in (None, [], ())}
    for key, value in typed:
        if key.replace("-", "_") in given:
            flag = "--" + key.replace("_", "-")
            raise ConfigError(
                f"{key} is given twice",
                given=f"{_typed(flag, given[key.replace('-', '_')])} and {key}={value}",
                hint="keep one",
            )
    return [(_SPELLING.get(key, key), _READERS.get(key, _verbatim)(value)) for key, value in given.items()]


def _typed(flag: str, value: Any) -> str:
    """An option as it was typed, once for each of its values."""
    return " ".join(f"{flag} {item}" for item in (value if isinstance(value, list) else [value]))


def read_columns(text: str) -> dict[str, str]:
    """`prompt=question,answer=final` as a mapping of record field to column name. Raises ConfigError."""
    from rlllm.core.errors import ConfigError

    pairs = [part.partition("=") for part in text.split(",")]
    if not all(field.strip() and equals and column.strip() for field, equals, column in pairs):
        raise ConfigError(
            "--columns takes FIELD=COLUMN pairs", given=text, hint="for example --columns prompt=question,answer=final"
        )
    refuse_repeats([(field.strip(), column.strip()) for field, _, column in pairs])
    return {field.strip(): column.strip() for field, _, column in pairs}


def read_rewards(texts: Sequence[str]) -> list[str | dict[str, Any]]:
    """Each `NAME`, `NAME=WEIGHT` or `{name: NAME, ...}` as a recipe would write it. Raises ConfigError for a wrong weight."""
    from rlllm.core.errors import ConfigError
    from rlllm.core.yaml_io import parse_scalar

    rewards: list[str | dict[str, Any]] = []
    for text in texts:
        name, equals, weight = text.rpartition("=")
        if text.lstrip().startswith("{"):
            if not isinstance(value := parse_scalar(text), dict):
                raise ConfigError(
                    "that is no mapping in YAML", given=f"--reward {text}", hint="put odd values in quotes"
                )
            rewards.append(value)
            continue
        if not equals:
            rewards.append(text)
            continue
        try:
            rewards.append({"name": name, "weight": float(weight)})
        except ValueError as error:
            raise ConfigError("a reward's weight is a number", given=f"--reward {text}", hint="name=0.5") from error
    return rewards


def _verbatim(value: Any) -> Any:
    return str(value) if hasattr(value, "__fspath__") else value


def _one_or_several(names: Sequence[str]) -> str | list[str]:
    """One data set by its name; several are mixed."""
    return names[0] if len(names) == 1 else list(names)


_SPELLING = {"columns": "data.columns", "reward": "rewards"}
_READERS = {"columns": read_columns, "reward": read_rewards, "data": _one_or_several}


def _is_option(token: str) -> bool:
    return token.startswith("-") and len(token) > 1 and not _NEGATIVE.match(token)


def _needed(name: str, following: str | None) -> str:
    from rlllm.core.errors import ConfigError

    if following is None:
        raise ConfigError(f"{name} needs a value", hint=f"type {name} VALUE")
    return following


def _value(settings: type[StageConfig], name: str, following: str | None) -> str | None:
    """The value of an undeclared option; None means that it stands alone, as a switch."""
    kinds = _kinds(settings, name[2:])
    if "bool" not in kinds:
        return _needed(name, following)
    only_switch = kinds <= {"bool", "none"}
    if following is not None and (not only_switch or following.lower() in _TRUTH_WORDS):
        return following
    return None


def _kinds(cls: type[StageConfig], key: str) -> set[str]:
    """Kinds of value a key takes, as far as they matter for parsing: "bool" marks a switch."""
    from rlllm.core import trl_fields
    from rlllm.core.config import SWITCHES

    key = key.replace("-", "_").removeprefix("trainer.")
    if key in SWITCHES:
        return {"bool"}
    if key in cls.model_fields:
        return {"bool"} if cls.model_fields[key].annotation is bool else {"any"}
    fields = trl_fields.union(cls.trl_configs)
    return set(fields[key]["kinds"]) if key in fields else {"any"}


def _check_known(settings: type[StageConfig], key: str, takes_value: Mapping[str, bool]) -> None:
    from rlllm.core.config import known_keys
    from rlllm.stages.catalog import readers_of

    names = known_keys(settings)
    normal = key.replace("-", "_")
    section = normal.partition(".")[0]
    if normal in {name.replace("-", "_") for name in names} or (section != normal and section in settings.model_fields):
        return
    if readers_of(settings.stage, normal):
        return  # resolve says which methods read it
    raise _no_such_option(settings, key, [name[2:] for name in takes_value if name.startswith("--")] + names)


def _no_such_option(settings: type[StageConfig], key: str, names: Sequence[str]) -> ConfigError:
    from rlllm.core.errors import ConfigError, closest
    from rlllm.core.other_names import setting_for

    verb, positive = settings.stage, re.sub(r"^no[-_]", "", key)
    if positive != key and "bool" in _kinds(settings, positive):
        hint = f"type --{positive}=false"
    elif near := _initials(key, names) or setting_for(key, names) or closest(key, names):
        hint = f"did you mean --{near}?"
    else:
        hint = f"list them with: rlllm {verb} --help"
    return ConfigError(f"no such option for {verb}: --{key}", hint=hint)


def _initials(key: str, names: Sequence[str]) -> str | None:
    """`lr` was meant as `learning_rate`."""
    plain = (name for name in names if "." not in name)
    return next((name for name in plain if key == "".join(part[:1] for part in name.split("_"))), None)


def _meant(verb: str, word: str, following: Sequence[str]) -> str | None:
    """What a bare word that is no recipe was probably meant to be, as something to type."""
    from rlllm.algorithms.registry import METHODS
    from rlllm.core.config import known_keys
    from rlllm.data.registry import DATASETS
    from rlllm.rewards.registry import REWARDS

    if word.replace("-", "_") in {key.replace("-", "_") for key in known_keys(settings_class(verb, ()))}:
        return f"did you mean {word}={following[0] if following else 'VALUE'}?"
    if word == "nano" or Path(word).is_dir():
        return f"did you mean --model {word}?"
    if word in DATASETS or Path(word).suffix in (".jsonl", ".json", ".csv", ".parquet"):
        return f"did you mean --data {word}?"
    if word in REWARDS:
        return f"did you mean --reward {word}?"
    if word in METHODS:
        stages = METHODS.load(word).stages
        return f"did you mean {'' if verb in stages else f'rlllm {stages[0]} '}--method {word}?"
    return None
