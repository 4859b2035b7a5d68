"""YAML the way people write it: `1e-4` is a number here, which YAML 1.1 (and so PyYAML) reads as text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from rlllm.core.errors import ConfigError

_FLOAT = re.compile(r"^[-+]?(?:\d[\d_]*)(?:\.[\d_]*)?(?:[eE][-+]?\d+)$")

_DEEPEST = 100
_TOO_DEEP = f"nested deeper than {_DEEPEST} levels"
_INTEGER = re.compile(r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$")


class _Loader(yaml.SafeLoader):
    """SafeLoader plus floats in scientific notation without a dot, and without keys that stand twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:  # PyYAML would keep the last one
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands there twice", key.start_mark)
            keys |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what the loader would read as something else."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # outside of double quotes PyYAML writes these line breaks as they are, and reads them back as blanks
    style = '"' if re.search("[\x85\u2028\u2029]", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Loader.yaml_implicit_resolvers = {  # 24:00:00 is a time, and not the number 86400
    first: [(tag, _INTEGER if tag == "tag:yaml.org,2002:int" else pattern) for tag, pattern in resolvers]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789"))
_Dumper.add_representer(str, _represent_text)


def parse(text: str, *, source: str) -> Any:
    """The value of a YAML text. Raises ConfigError with line and column."""
    try:
        return _not_too_deep(yaml.load(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"not valid YAML{place}: {error.problem}", given=source) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none, such as 2024-13-45
        raise ConfigError(f"not valid YAML: {error}", given=source) from error
    except RecursionError as error:
        raise ConfigError(_TOO_DEEP, given=source, hint="settings have a few levels at most") from error


def parse_scalar(text: str) -> Any:
    """A command-line value: number, boolean, null, list or mapping where it reads as one, else the text itself."""
    try:
        value = _not_too_deep(yaml.load(text, Loader=_Loader))
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
    return text if value is None and text.strip().lower() not in ("null", "~") else value


def _not_too_deep(value: Any) -> Any:
    """The value; raises RecursionError where it is nested deeper than what reads it can follow."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise RecursionError(_TOO_DEEP)
        parts = [item for item in level if isinstance(item, dict | list)]
        level = [inner for item in parts for inner in (item.values() if isinstance(item, dict) else item)]
    return value


def read(path: Path) -> Any:
    return parse(path.read_text(encoding="utf-8"), source=str(path))


def dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)
