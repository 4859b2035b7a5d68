"""A verb's settings with their defaults and documentation, read from its config class for `--help`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, NamedTuple, Union, get_args, get_origin

from rlllm_cli import console

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


def show_settings(verb: str, method: str | None = None) -> None:
    """Every key that a verb reads with a method (None: the verb's default one), to stdout."""
    from rlllm.stages.catalog import STAGES, config_class, unread_keys

    cls = config_class(verb, method)
    chosen = method or STAGES[verb].method
    by = f" (with method={chosen}; --help --method NAME shows another's)" if chosen else ""
    console.heading(f"\nSettings, as KEY=VALUE or --KEY VALUE{by}")
    unread = unread_keys(verb, chosen)
    rows = (
        (setting.key, chosen if setting.key == "method" else _words(setting.default), setting.text)
        for setting in documented(cls)
        if setting.key not in unread
    )
    console.table(("key", "default", "what it is"), rows)
    if cls.trl_configs:
        configs = " or ".join(cls.trl_configs)
        console.emit(f"\nand every field of {configs} under TRL's own name: learning_rate=1e-5, --max_steps 60")


class Setting(NamedTuple):
    """A key with what is known about it."""

    key: str
    """Dotted, inside a section."""
    field: FieldInfo
    section: type[BaseModel] | None
    """The settings class behind it, whose keys follow."""
    default: Any
    """None where there is none, and for a section."""

    @property
    def text(self) -> str:
        """Its documentation, on one line."""
        return " ".join((self.field.description or "").split())


def documented(cls: type[BaseModel], prefix: str = "", defaults: BaseModel | None = None) -> Iterator[Setting]:
    """Every key of a settings class; those of a section follow it.

    Args:
        cls: the settings class or a section of it.
        prefix: of the keys.
        defaults: the section as the settings class fills it, where that differs from the section's own defaults.
    """
    for name, field in cls.model_fields.items():
        section = _section(field.annotation)
        value = getattr(defaults, name) if defaults is not None else field.get_default(call_default_factory=True)
        has_default = section is None and not (field.is_required() and defaults is None)
        yield Setting(f"{prefix}{name}", field, section, value if has_default else None)
        if section:
            yield from documented(section, f"{prefix}{name}.", value if isinstance(value, section) else None)


def _section(annotation: Any) -> type[BaseModel] | None:
    """The settings class behind `Section` or `Section | None`, not behind a list of them."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((kind for kind in options if isinstance(kind, type) and hasattr(kind, "model_fields")), None)


def _words(default: Any) -> str:
    return "" if default in (None, [], {}) else str(default) if isinstance(default, str | int | float | Path) else "..."
