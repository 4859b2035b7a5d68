"""Pages of a run and of a pipeline: the order of their parts. A part is left out when the run has no file for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.runs import Run, read_jsonl
from rlllm.report import completions
from rlllm.report.controls import experiment, member_curves
from rlllm.report.curves import learning_curves, metric_table
from rlllm.report.difficulty import Difficulty, difficulty_table
from rlllm.report.entropy_law import entropy_figure
from rlllm.report.evaluations import evaluation_curves
from rlllm.report.gain_decomposition import gain_table
from rlllm.report.layout import Part, page, reproduce, section
from rlllm.report.markup import Html, join, tag
from rlllm.report.overlay import pass_curves
from rlllm.report.pipeline_graph import StepCard, steps_part
from rlllm.report.problems import MAP_NOTE, problem_map
from rlllm.report.provenance import command_block, command_of, facts, folded, settings_table
from rlllm.report.results import further_table, results_tables
from rlllm.report.rewards import Source, monitored_curves, reward_table, tally, written
from rlllm.report.rm_card import card_tables
from rlllm.report.summary import SummaryRow, summary_table
from rlllm.report.verdict import verdict_block, verdict_of_rows


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
    config = run.read_or_empty("config.json")
    stage = str(config.get("stage") or "run")
    parts = _run_parts(run, level=2, prefix="")
    header = tag(
        "header",
        tag("p", f"rlllm {stage}", class_="eyebrow"),
        tag("h1", run.path.name or str(run.path)),
        verdict_block(run.verdict, run.state),
        facts(config, run.read_or_empty("env.json"), run.metrics()),
        class_="page",
    )
    return page(f"{run.path.name} · rlllm {stage}", header, parts, [section(2, *part) for part in parts])


def render_pipeline(
    title: str,
    rows: Sequence[SummaryRow],
    runs: Sequence[Run],
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
    steps: Sequence[StepCard] = (),
) -> str:
    """The report of several runs: a summary table, the commands, then every run.

    Args:
        title: heading of the page.
        rows: one summary row for each number the pipeline is judged by.
        runs: the runs, in the order they ran.
        commands: what to type to get the same again; by default each run's own command.
        notes: paragraphs below the table.
        steps: of the graph; none are drawn without.
    """
    closed = next((card.name for card in steps if card.closed), None)
    ok = all(row.ok for row in rows) and all(run.ok for run in runs) and closed is None
    header = tag(
        "header",
        tag("p", "rlllm pipeline", class_="eyebrow"),
        tag("h1", title),
        verdict_of_rows(ok, rows, runs, closed),
        class_="page",
    )
    lines = list(commands) or [line for run in runs if (line := command_of(run.read_or_empty("config.json")))]
    parts: list[Part] = []
    if drawn := steps_part(steps):
        parts.append(("steps", "Steps", drawn))
    if rows:
        parts.append(
            ("summary", "Before and after", [summary_table(rows), [tag("p", note, class_="note") for note in notes]])
        )
    if lines:
        parts.append(("reproduce", "Run it again", reproduce(lines)))
    articles = [_run_article(run, position) for position, run in enumerate(runs, start=1)]
    body = [section(2, *part) for part in parts] + [section(2, *article, kind="run") for article in articles]
    return page(f"{title} · rlllm", header, [*parts, *articles], body)


def _run_article(run: Run, position: int) -> Part:
    config = run.read_or_empty("config.json")
    prefix = f"run{position}-"
    parts = _run_parts(run, level=3, prefix=prefix)
    content = [
        verdict_block(run.verdict, run.state),
        facts(config, run.read_or_empty("env.json"), run.metrics()),
        [section(3, *part) for part in parts],
    ]
    stage, name = str(config.get("stage", "")), run.path.name
    return f"run{position}", name if stage in name else f"{name} ({stage})", content


def _run_parts(run: Run, *, level: int, prefix: str) -> list[Part]:
    """(anchor, title, content) of every part this run has files for."""
    config, metrics = run.read_or_empty("config.json"), run.metrics()
    command = command_of(config)
    samples = _scan(run.samples())
    verified = config.get("stage") == "reason"  # elsewhere a reward of 1 passes nothing
    judged = run.verdict.get("diagnostics") or {}
    monitored = [change["monitored_reward"] for change in judged.get("divergences") or ()]
    before_after = list(read_jsonl(run.path / "before_after.jsonl", []))
    compared = completions.before_after(before_after, level + 1)
    texts = compared or completions.sampled(samples.first, samples.last, level + 1)
    damages = [tag("li", text) for text in run.damages()]
    parts: list[Part] = [
        ("damaged", "Damaged files", tag("ul", damages) if damages else None),
        ("results", "Results", results_tables(run.results)),
        ("pass-at-k", "More samples", pass_curves(run.results)),
        ("answers", "Response statistics", further_table(run.results)),
        ("problems", "Problem by problem", _problem_map(before_after)),
        ("controls", "Controls" if run.results.get("controls") else "Seeds", experiment(run.results)),
        ("members", "Curves of the runs", member_curves(run)),
        ("card", "Reward model card", card_tables(run.read_or_empty("card.json"), run.results)),
        ("evaluations", "Evaluations during training", evaluation_curves(run.evaluations(), run.results)),
        ("curves", "Learning curves", learning_curves(metrics)),
        ("entropy", "Reward against entropy", entropy_figure(metrics)),
        ("difficulty", "Pass rate by difficulty", difficulty_table(samples.difficulty) if verified else None),
        ("rewards", "Rewards by source", reward_table(samples.sources)),
        ("monitored", "Training and monitored rewards", monitored_curves(samples.total, samples.sources, monitored)),
        ("gain-decomposition", "Gain decomposition", gain_table(judged.get("gain_decomposition") or ())),
        ("completions", "Completions before and after" if compared else "Completions", texts),
        ("items", "Items", completions.items(read_jsonl(run.path / "items.jsonl", []), level + 1)),
        ("again", "Run it again", reproduce([command]) if command and not prefix else None),
        ("details", "Details", _details(run, config, metrics, command if prefix else None)),
    ]
    return [(prefix + anchor, title, content) for anchor, title, content in parts if content]


def _details(run: Run, config: Mapping[str, Any], metrics: Sequence[dict[str, Any]], command: str | None) -> Html:
    return join(
        [
            folded("Command", command_block([command]) if command else None),
            folded("Settings", settings_table(config.get("settings") or {})),
            folded("TRL's settings as used", settings_table(config.get("trl") or {})),
            folded("Hardware", settings_table(config.get("hardware") or {})),
            folded("Lineage", settings_table(run.read_or_empty("lineage.json"))),
            folded("Environment", settings_table(run.read_or_empty("env.json"))),
            folded("All logged metrics", metric_table(metrics)),
        ]
    )


def _problem_map(before_after: Sequence[dict[str, Any]]) -> Html | None:
    figure = problem_map(before_after, "before", "after", "Held-out prompts")
    return tag("div", figure, tag("p", MAP_NOTE, class_="note"), class_="curves") if figure else None


def _scan(rows: Iterable[dict[str, Any]]) -> _Samples:
    samples = _Samples()
    for row in written(rows):
        tally(samples.sources, [row])
        samples.difficulty.add(row)
        samples.total.add(float(row.get("step") or 0), {"value": row.get("reward")})
        if not samples.first or row.get("step") == samples.first[0].get("step"):
            samples.first.append(row)
        if samples.last and row.get("step") != samples.last[0].get("step"):
            samples.last = []
        samples.last.append(row)
    return samples
