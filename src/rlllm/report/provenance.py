"""Command, settings, lineage and environment of a run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlllm.report.markup import Html, tag
from rlllm.report.wording import duration, named, shortened

_FACTS = (("model", "Model"), ("method", "Method"), ("data", "Data"), ("rewards", "Rewards"), ("seed", "Seed"))
_MAX_ROWS = 500


def command_block(lines: Sequence[str]) -> Html:
    """Shell commands; one click or tap selects them all."""
    return tag("pre", tag("code", "\n".join(lines)), class_="commands", tabindex="0", aria_label="Commands")


def command_of(config: Mapping[str, Any]) -> str | None:
    """The command a run was started with, as it would be typed."""
    command = config.get("command")
    if isinstance(command, list):
        return shlex.join(str(word) for word in command)
    return str(command) if command else None


def facts(config: Mapping[str, Any], env: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> Html | None:
    """The few settings a reader wants first."""
    settings = config.get("settings") or {}
    pairs_of_facts = [
        (label, named(settings[key])) for key, label in _FACTS if settings.get(key) not in (None, "", [], {})
    ]
    times = [row["time"] for row in metrics if isinstance(row.get("time"), int | float)]
    if times:
        pairs_of_facts.append(("Training time", duration(max(times))))
    if env.get("device"):
        pairs_of_facts.append(("Device", named(env["device"])))
    if not pairs_of_facts:
        return None
    pairs = [tag("div", tag("dt", label), tag("dd", shortened(shown, 160))) for label, shown in pairs_of_facts]
    return tag("dl", pairs, class_="facts")


def folded(title: str, content: Html | None) -> Html | None:
    """A part that opens on request; left out when it is empty."""
    if not content:
        return None
    box = tag("div", content, class_="scroll", role="region", aria_label=title, tabindex="0")
    return tag("details", tag("summary", title), box)


def settings_table(values: Mapping[str, Any]) -> Html | None:
    """A nested mapping as dotted keys and values."""
    rows = list(flattened(values))
    if not rows:
        return None
    shown = [tag("tr", tag("th", tag("code", key), scope="row"), tag("td", value)) for key, value in rows[:_MAX_ROWS]]
    left_out = len(rows) - len(shown)
    more = tag("caption", f"and {left_out:,} more rows, see the file") if left_out else None
    return tag("table", more, tag("tbody", shown), class_="settings")


def flattened(value: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Dotted keys and values, as text, of a nested mapping."""
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from flattened(part, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        yield prefix, shortened(shown, 400)
