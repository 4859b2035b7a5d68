"""The report: one self-contained HTML file for a run, a pipeline or several runs side by side.

No network, no script, no image files: hand-made inline SVG and one style sheet. Everything a model or a user wrote is
escaped by construction (see `markup`). The same files give the same bytes. Standard library only.
"""

from __future__ import annotations

from rlllm.report.comparison import render_comparison
from rlllm.report.page import render_pipeline, render_run
from rlllm.report.pipeline_graph import GateRow, StepCard
from rlllm.report.series import MAX_RUNS, short_names
from rlllm.report.summary import SummaryRow
from rlllm.report.sweep import render_sweep
from rlllm.report.sweep_tables import sweep_rows, sweep_tables

__all__ = [
    "MAX_RUNS",
    "GateRow",
    "StepCard",
    "SummaryRow",
    "render_comparison",
    "render_pipeline",
    "render_run",
    "render_sweep",
    "short_names",
    "sweep_rows",
    "sweep_tables",
]
