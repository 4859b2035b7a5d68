"""A verb's settings with their defaults and documentation, read from its config class for `--help`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rlllm_cli import console

if TYPE_CHECKING:
    from pydantic import BaseModel


def show_settings(verb: str, method: str | None = None) -> None:
    """Every key that a verb reads with a method (None: the verb's default one), to stdout."""
    from rlllm.stages.catalog import STAGES, config_class, unread_keys

    cls = config_class(verb, method)
    chosen = method or STAGES[verb].method
    by = f" (with method={chosen}; --help --method NAME shows another's)" if chosen else ""
    console.heading(f"\nSettings, as KEY=VALUE or --KEY VALUE{by}")
    unread = unread_keys(verb, chosen)
    rows = [(key, chosen if key == "method" else default, text) for key, default, text in documented(cls)]
    console.table(("key", "default", "what it is"), [row for row in rows if row[0] not in unread])
    if cls.trl_configs:
        configs = " or ".join(cls.trl_configs)
        console.emit(f"\nand every field of {configs} under TRL's own name: learning_rate=1e-5, --max_steps 60")


def documented(
    cls: type[BaseModel], prefix: str = "", defaults: BaseModel | None = None
) -> Iterator[tuple[str, str, str]]:
    """(key, default, documentation) of each field; those of sections are dotted and follow their section.

    Args:
        cls: the settings class or a section of it.
        prefix: of the keys.
        defaults: the section as the settings class fills it, where that differs from the section's own defaults.
    """
    for name, field in cls.model_fields.items():
        section = _section(field.annotation)
        value = getattr(defaults, name) if defaults is not None else field.get_default(call_default_factory=True)
        default = "" if section or (field.is_required() and defaults is None) else _words(value)
        yield f"{prefix}{name}", default, " ".join((field.description or "").split())
        if section:
            yield from documented(section, f"{prefix}{name}.", value if isinstance(value, section) else None)


def _section(annotation: Any) -> type[BaseModel] | None:
    """The settings class behind an annotation: `Section` or `Section | None`, not a list of them."""
    for option in (annotation, *get_args(annotation)):
        if isinstance(option, type) and hasattr(option, "model_fields") and not str(annotation).startswith("list"):
            return option
    return None


def _words(default: Any) -> str:
    return "" if default in (None, [], {}) else str(default) if isinstance(default, str | int | float | Path) else "..."
