"""The file of a claim: rows of finished runs, sealed by a checksum.

One JSON document. `rows` have what differs between them; `shared` has settings and environment that all rows have. A results
file of the documentation holds a claim under the key `claim`, and is read like one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import fingerprint
from rlllm.core.redaction import without_keys

FORMAT = "rlllm-claim"
VERSION = 1
_SHARED = ("settings", "environment")


@dataclass(frozen=True, kw_only=True)
class ClaimRow:
    """One finished training run.

    Args:
        name: of the row: ARM/seed-N of a sweep, the step of a pipeline, else the name of the run's folder.
        arm: what it is one seed of; its own name where there is one run.
        stage: the verb.
        settings: those that were given, without the output directory; all others have the defaults of the code.
        trl: TRL's settings as they were used; empty where the run did not record them.
        environment: packages, device, threads and matrix products, and a hash of rlllm's code.
        model: hash of the weights that it started from; None of a Hub id.
        data: name of the data and hash of its records.
        rewards: hash of the rewards' code and arguments; None where nothing is scored.
        files: files that the settings name, with their SHA-256.
        needs: run directories that the settings name -> the row that makes them.
        series: numbers of the first logged steps.
        measures: rows of the run's `results.json`.
        scores: of each held-out problem the mean score after training; None where it could not be judged.
        weights: SHA-256 of each file of resulting weights.
        samples: how many completions were sampled, the SHA-256 of all their texts, and some of them.
        outcome: what the verdict says of the main measure; None where it does not say it.
        ok: whether the run counted as a success.
        steps: optimizer steps.
        seconds: wall time.
    """

    name: str
    arm: str
    stage: str
    settings: dict[str, Any]
    trl: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any]
    model: str | None
    data: dict[str, Any]
    rewards: str | None
    files: dict[str, str] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)
    series: list[dict[str, float]]
    measures: list[dict[str, Any]]
    scores: list[float | None]
    weights: dict[str, str]
    samples: dict[str, Any]
    outcome: dict[str, Any] | None = None
    ok: bool
    steps: int
    seconds: float

    @property
    def seed(self) -> int:
        return int(self.settings["seed"])


@dataclass(frozen=True)
class Claim:
    """What a file holds.

    Args:
        title: what was run.
        command: the command that was typed; None where none was recorded.
        claims: names of the rows that the claim is about.
        rows: these, and the runs that they need.
    """

    title: str
    command: str | None
    claims: list[str]
    rows: list[ClaimRow]

    def row(self, name: str) -> ClaimRow:
        """A row by its name, or the first seed of an arm. Raises ConfigError for neither."""
        rows = {**{row.arm: row for row in reversed(self.rows)}, **{row.name: row for row in self.rows}}
        if name not in rows:
            raise ConfigError("the claim has no such row", given=name, exists=self.claims)
        return rows[name]

    def spread(self, count: int) -> list[ClaimRow]:
        """As many claimed rows as asked for, or all there are: the first seed of every arm, then the second of every arm."""
        by_arm: dict[str, list[ClaimRow]] = {}
        for name in self.claims:
            by_arm.setdefault(self.row(name).arm, []).append(self.row(name))
        deepest = max(map(len, by_arm.values()))
        return [rows[place] for place in range(deepest) for rows in by_arm.values() if place < len(rows)][:count]

    def to_json(self) -> dict[str, Any]:
        """The sealed document, without what looks like a key: it is made to be given away."""
        rows = [asdict(row) for row in self.rows]
        shared = {part: _common([row[part] for row in rows]) for part in _SHARED}
        for row in rows:
            for part in _SHARED:
                row[part] = {key: value for key, value in row[part].items() if key not in shared[part]}
        content = {"format": FORMAT, "version": VERSION, "title": self.title, "command": self.command}
        return sealed(without_keys({**content, "claims": self.claims, "shared": shared, "rows": rows}))


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the checksum of its content."""
    return {**content, "checksum": _checksum(content)}


def text_of(document: Mapping[str, Any]) -> str:
    """A claim as text: a line for each key, and for each row."""
    lines = []
    for key, value in document.items():
        if key == "rows":
            rows = ",\n".join(f"  {_line(row)}" for row in value)
            lines.append(f' "rows": [\n{rows}\n ]')
        else:
            lines.append(f" {json.dumps(key)}: {_line(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_claim(path: Path | str) -> Claim:
    """The claim of a file.

    Raises:
        ConfigError: no such file, no claim in it, one of another version of the format, or one that was changed.
    """
    document = _document(Path(path))
    if document.get("version") != VERSION:
        raise ConfigError(
            "the claim has another version of the format",
            given=f"{path} has {document.get('version')}, this rlllm reads {VERSION}",
            hint="verify it with the rlllm that its environment names",
        )
    if document.get("checksum") != _checksum(document):
        raise ConfigError(
            "the claim was changed after it was made: its checksum does not fit",
            given=path,
            hint="make it again from the run: rlllm claim RUN",
        )
    known = {item.name for item in fields(ClaimRow)}
    rows = []
    for row in document["rows"]:
        merged = {**row, **{part: {**document["shared"][part], **row[part]} for part in _SHARED}}
        rows.append(ClaimRow(**{key: value for key, value in merged.items() if key in known}))
    return Claim(document["title"], document["command"], document["claims"], rows)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the claim: {error.strerror}", given=path) from error
    except ValueError as error:
        raise ConfigError("the claim is not JSON", given=path, hint=str(error)) from error
    inner = document.get("claim", document) if isinstance(document, dict) else {}
    if not isinstance(inner, dict) or inner.get("format") != FORMAT:
        raise ConfigError("there is no claim in this file", given=path, hint="make one with: rlllm claim RUN")
    return inner


def _common(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The keys and values that all of them have."""
    first, *others = parts
    missing = object()
    return {key: value for key, value in first.items() if all(part.get(key, missing) == value for part in others)}


def _checksum(document: Mapping[str, Any]) -> str:
    return fingerprint({key: value for key, value in document.items() if key != "checksum"})


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
