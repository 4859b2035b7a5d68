"""Learning curves: which metrics are drawn, in which order and under which title; and a table of all metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rlllm.report.axes import Point
from rlllm.report.charts import learning_curve
from rlllm.report.markup import Html, tag
from rlllm.report.wording import DASH, is_number, number

CURVES: dict[str, tuple[str, str]] = {
    "reward": ("Reward", "mean over all completions"),
    "rewards/accuracies": ("Preference accuracy", "pairs ranked as labelled"),
    "accuracy": ("Pair accuracy", "pairs ranked as labelled"),
    "step_accuracy": ("Step accuracy", "steps judged as labelled"),
    "mean_token_accuracy": ("Token accuracy", "next token is the most likely one"),
    "loss": ("Loss", "training objective"),
    "rewards/margins": ("Margin", "chosen minus rejected"),
    "margin": ("Margin", "chosen minus rejected"),
    "kl_per_completion": ("KL divergence", "from the reference policy, nats a completion"),
    "kl": ("KL divergence", "from the reference policy, nats per token"),
    "explained_variance": ("Explained variance", "1: the critic knows the return; 0: only its mean"),
    "value_loss": ("Value loss", "half the mean squared error of the critic"),
    "entropy": ("Entropy", "nats per token"),
    "completions/mean_length": ("Completion length", "tokens"),
    "completions/clipped_ratio": ("Cut short", "share of completions at the length limit"),
    "frac_reward_zero_std": ("Groups without signal", "all rewards of the group equal"),
    "reward_std": ("Reward spread", "standard deviation"),
    "clip_ratio/region_mean": ("Clipped ratios", "share of tokens outside the trust region"),
    "cispo_clip_ratio": ("Clipped weights", "share of tokens whose importance weight was cut"),
    "rollout_corr/k3_kl": ("Mismatch", "KL of the trainer from the sampler, nats per token"),
    "rollout_corr/ratio_fraction_outside": ("Mismatched tokens", "share with a ratio outside of 0.5 to 2"),
    "grad_norm": ("Gradient norm", "before clipping"),
    "tokens_per_second": ("Speed", "tokens per second"),
}
"""Metric name -> title and note, in the order they are drawn."""
_MAX_CURVES = 12
_ALWAYS = {"reward", "rewards/accuracies", "accuracy", "step_accuracy", "loss", "grad_norm"}
"""Drawn even when flat: a flat line is then the finding."""
_NOISE = {"rollout_corr/k3_kl": 1e-4}
"""Metric name -> value up to which it is rounding: a curve that stays below is not drawn."""
_BOOKKEEPING = {"step", "time", "epoch"}


def finite_points(rows: Sequence[dict[str, Any]], name: str) -> list[Point]:
    """(step, value) of one metric where it was logged and finite; the last value of a step counts."""
    by_step = {
        float(row["step"]): float(row[name])
        for row in rows
        if is_number(row.get("step")) and is_number(row.get(name)) and math.isfinite(row[name])
    }
    return sorted(by_step.items())


def learning_curves(rows: Sequence[dict[str, Any]]) -> Html | None:
    """Small multiples of the best-known metrics that moved, and of the essential ones; None when there are none."""
    names = [name for curve in CURVES for name in (curve, f"eval_{curve}")]
    figures: list[Html] = []
    for name in names:
        points = finite_points(rows, name)
        floor = _NOISE.get(name, -math.inf)
        moved = len({value for _, value in points}) > 1 and max(value for _, value in points) > floor
        if len(figures) < _MAX_CURVES and points and (moved or name in _ALWAYS):
            title, note = CURVES[name.removeprefix("eval_")]
            figures.append(learning_curve(f"{title}, held out" if name.startswith("eval_") else title, note, points))
    if not figures:
        return None
    return tag("div", figures, class_="curves")


def metric_table(rows: Sequence[dict[str, Any]]) -> Html | None:
    """Every numeric metric: how often logged, first, last, smallest and largest value, and how many were not finite."""
    names = dict.fromkeys(name for row in rows for name, value in row.items() if is_number(value))
    listed = [name for name in names if name not in _BOOKKEEPING]
    if not listed:
        return None
    heads = ["Metric", "Logged", "First", "Last", "Smallest", "Largest", "Not finite"]
    columns = [tag("th", head, scope="col", class_=None if head == "Metric" else "num") for head in heads]
    return tag("table", tag("thead", tag("tr", columns)), tag("tbody", [_metric_row(rows, name) for name in listed]))


def _metric_row(rows: Sequence[dict[str, Any]], name: str) -> Html:
    logged = [row[name] for row in rows if is_number(row.get(name))]
    finite = [value for value in logged if math.isfinite(value)]
    cells = [str(len(logged))]
    cells += [number(value) for value in (finite[0], finite[-1], min(finite), max(finite))] if finite else [DASH] * 4
    cells.append(str(len(logged) - len(finite)))
    return tag("tr", tag("th", tag("code", name), scope="row"), [tag("td", cell, class_="num") for cell in cells])
