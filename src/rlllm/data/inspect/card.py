"""`card.md` of a prepared folder: its contents, the rows that were left out and why, findings, and the command that made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rlllm.core.yaml_io import dump
from rlllm.data.inspect.summary import CheckReport
from rlllm.data.prepare.folder import Manifest


@dataclass(frozen=True)
class Contents:
    """What the card says in addition to the manifest."""

    check: CheckReport
    duplicates: Sequence[Sequence[str]] = ()
    """The largest groups: for each the number of its rows, and the prompt of the row that stayed."""
    against: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Evaluation set to its prompts that were found in training rows, and all its prompts."""
    hits: Sequence[Sequence[str]] = ()
    """Some contaminated rows: rule, score, the row and the evaluation prompt."""
    skipped: Sequence[str] = ()
    """Some rows that did not fit."""


def card(name: str, manifest: Manifest, contents: Contents, command: str) -> str:
    """The card as Markdown."""
    parts = [
        f"# {name}",
        f"{manifest.train:,} training rows and {manifest.holdout:,} held-out rows of type {manifest.kind}.",
        f"Content hash `{manifest.hash}`, made by rlllm {manifest.version}.",
        "## Sources",
        table(
            ("source", "read", "kept", "train", "held out"),
            ((s.name, f"{s.read:,}", f"{s.kept:,}", f"{s.train:,}", f"{s.holdout:,}") for s in manifest.sources),
        ),
        *_dropped(manifest, contents),
        *_contaminated(contents),
        "## Checks",
        _bullets(contents.check.lines()[1:]),
        "## Made by",
        _fenced(command) if command else "",
        _fenced(dump(manifest.settings).rstrip(), "yaml"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _dropped(manifest: Manifest, contents: Contents) -> Iterable[str]:
    yield "## Left out"
    yield table(("why", "rows"), ((why, f"{count:,}") for why, count in manifest.dropped.items())) or "Nothing."
    if contents.skipped:
        yield "Rows that did not fit, for example:\n\n" + _bullets(contents.skipped)
    if contents.duplicates:
        yield "The most repeated rows:\n\n" + table(("rows", "prompt of the one that stayed"), contents.duplicates)


def _contaminated(contents: Contents) -> Iterable[str]:
    if not contents.against:
        return
    yield "## Contamination"
    yield table(
        ("evaluation set", "prompts found in training rows", "prompts"),
        ((name, f"{matched:,}", f"{total:,}") for name, (matched, total) in contents.against.items()),
    )
    if contents.hits:
        yield table(("rule", "score", "training row", "evaluation prompt"), contents.hits)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; empty without rows."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [list(headers), ["---"] * len(headers), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if cells else ""


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _fenced(text: str, language: str = "") -> str:
    return f"```{language}\n{text}\n```"
