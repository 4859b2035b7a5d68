"""The page: what stands where. Every part is left out when the run has no file for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlllm.core.report import completions
from rlllm.core.report.card import card_tables
from rlllm.core.report.controls import experiment
from rlllm.core.report.curves import learning_curves, metric_table
from rlllm.core.report.gains import gain_table
from rlllm.core.report.markup import Child, Html, document, join, style_sheet, tag
from rlllm.core.report.provenance import command_block, command_of, facts, folded, settings_table
from rlllm.core.report.results import results_tables
from rlllm.core.report.rewards import Source, reward_table, shadow_curves, tally
from rlllm.core.report.signals import Difficulty, difficulty_table, entropy_figure
from rlllm.core.report.summary import SummaryRow, summary_table
from rlllm.core.report.verdict import verdict_block, verdict_of_rows
from rlllm.core.runs import Run, read_json, read_jsonl

_STYLE = Path(__file__).with_name("style.css")
_NO_NETWORK = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(slots=True)
class _Samples:
    """What one pass over samples.jsonl keeps."""

    sources: dict[str, Source] = field(default_factory=dict)
    total: Source = field(default_factory=Source)
    """The weighted total that the run maximises."""
    difficulty: Difficulty = field(default_factory=Difficulty)
    first: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the first logged step."""
    last: list[dict[str, Any]] = field(default_factory=list)


def render_run(run: Run) -> str:
    """The report of one run, as the text of an HTML file. Missing files leave their part out."""
    config = _json(run, "config.json")
    stage = str(config.get("stage") or "run")
    parts = _run_parts(run, level=2, prefix="")
    header = tag(
        "header",
        tag("p", f"rlllm {stage}", class_="eyebrow"),
        tag("h1", run.path.name or str(run.path)),
        verdict_block(run.verdict, run.status),
        facts(config, _json(run, "env.json"), run.metrics()),
        class_="page",
    )
    nav = _contents([(anchor, title) for anchor, title, _ in parts])
    return _page(f"{run.path.name} · rlllm {stage}", header, nav, [_section(2, *part) for part in parts])


def render_pipeline(
    title: str,
    rows: Sequence[SummaryRow],
    runs: Sequence[Run],
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """The report of several runs: a summary table, the commands, then every run.

    Args:
        title: heading of the page.
        rows: one summary row for each number the pipeline is judged by.
        runs: the runs, in the order they ran.
        commands: what to type to get the same again; by default each run's own command.
        notes: paragraphs below the table.
    """
    ok = all(row.ok for row in rows) and all(run.ok for run in runs)
    header = tag(
        "header",
        tag("p", "rlllm pipeline", class_="eyebrow"),
        tag("h1", title),
        verdict_of_rows(ok, rows, runs),
        class_="page",
    )
    lines = list(commands) or [line for run in runs if (line := command_of(_json(run, "config.json")))]
    parts: list[tuple[str, str, Child]] = []
    if rows:
        parts.append(
            ("summary", "Before and after", [summary_table(rows), [tag("p", note, class_="note") for note in notes]])
        )
    if lines:
        parts.append(("reproduce", "Run it again", _reproduce(lines)))
    articles = [_run_article(run, position) for position, run in enumerate(runs, start=1)]
    anchors = [(anchor, heading) for anchor, heading, _ in [*parts, *articles]]
    body = [_section(2, *part) for part in parts] + [_section(2, *article, kind="run") for article in articles]
    return _page(f"{title} · rlllm", header, _contents(anchors), body)


def _run_article(run: Run, position: int) -> tuple[str, str, Child]:
    config = _json(run, "config.json")
    prefix = f"run{position}-"
    parts = _run_parts(run, level=3, prefix=prefix)
    content = [
        verdict_block(run.verdict, run.status),
        facts(config, _json(run, "env.json"), run.metrics()),
        [_section(3, *part) for part in parts],
    ]
    stage, name = str(config.get("stage", "")), run.path.name
    return f"run{position}", name if stage in name else f"{name} ({stage})", content


def _run_parts(run: Run, *, level: int, prefix: str) -> list[tuple[str, str, Child]]:
    """(anchor, title, content) of every part this run has files for."""
    config, metrics = _json(run, "config.json"), run.metrics()
    command = command_of(config)
    samples = _scan(run.samples())
    verified = config.get("stage") == "reason"  # elsewhere a reward of 1 passes nothing
    judged = run.verdict.get("facts") or {}
    watched = [found["shadow"] for found in judged.get("divergences") or ()]
    compared = completions.before_after(list(read_jsonl(run.path / "before_after.jsonl")), level + 1)
    written = compared or completions.sampled(samples.first, samples.last, level + 1)
    parts: list[tuple[str, str, Child]] = [
        ("results", "Results", results_tables(run.results)),
        ("controls", "Controls" if run.results.get("controls") else "Seeds", experiment(run.results)),
        ("card", "Reward model card", card_tables(_json(run, "card.json"), run.results)),
        ("curves", "Learning curves", learning_curves(metrics)),
        ("entropy", "Reward bought with entropy", entropy_figure(metrics)),
        ("difficulty", "Pass rate by difficulty", difficulty_table(samples.difficulty) if verified else None),
        ("rewards", "Rewards by source", reward_table(samples.sources)),
        ("watched", "Proxy and watched rewards", shadow_curves(samples.total, samples.sources, watched)),
        ("gains", "What the gain is made of", gain_table(judged.get("gains") or ())),
        ("completions", "Completions before and after" if compared else "Completions", written),
        ("items", "Items", completions.items(read_jsonl(run.path / "items.jsonl"), level + 1)),
        ("again", "Run it again", _reproduce([command]) if command and not prefix else None),
        ("details", "Details", _details(run, config, metrics, command if prefix else None)),
    ]
    return [(prefix + anchor, title, content) for anchor, title, content in parts if content]


def _details(run: Run, config: Mapping[str, Any], metrics: Sequence[dict[str, Any]], command: str | None) -> Html:
    return join(
        [
            folded("Command", command_block([command]) if command else None),
            folded("Settings", settings_table(config.get("settings") or {})),
            folded("Lineage", settings_table(_json(run, "lineage.json"))),
            folded("Environment", settings_table(_json(run, "env.json"))),
            folded("All logged metrics", metric_table(metrics)),
        ]
    )


def _scan(rows: Iterable[dict[str, Any]]) -> _Samples:
    found = _Samples()
    for row in rows:
        tally(found.sources, [row])
        found.difficulty.add(row)
        found.total.add(float(row.get("step") or 0), {"value": row.get("reward")})
        if not found.first or row.get("step") == found.first[0].get("step"):
            found.first.append(row)
        if found.last and row.get("step") != found.last[0].get("step"):
            found.last = []
        found.last.append(row)
    return found


def _reproduce(lines: Sequence[str]) -> Html:
    return join([tag("p", "One click selects all of it.", class_="hint"), command_block(lines)])


def _section(level: int, anchor: str, title: str, content: Child, kind: str | None = None) -> Html:
    heading = tag(f"h{level}", title, id=f"{anchor}-title")
    return tag("section", heading, content, id=anchor, class_=kind, aria_labelledby=f"{anchor}-title")


def _contents(anchors: Sequence[tuple[str, str]]) -> Html | None:
    if len(anchors) < 2:
        return None
    entries = [tag("li", tag("a", title, href=f"#{anchor}")) for anchor, title in anchors]
    return tag("nav", tag("ul", entries), aria_label="Contents")


def _page(title: str, header: Html, nav: Html | None, sections: Sequence[Html]) -> str:
    head = join(
        [
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("meta", http_equiv="Content-Security-Policy", content=_NO_NETWORK),
            tag("meta", name="referrer", content="no-referrer"),
            tag("title", title),
            style_sheet(_STYLE.read_text(encoding="utf-8")),
        ]
    )
    return document(head, join([header, nav, tag("main", sections)]))


def _json(run: Run, name: str) -> Mapping[str, Any]:
    path = run.path / name
    value = read_json(path) if path.exists() else {}
    return value if isinstance(value, Mapping) else {}
