"""What `rlllm plan` predicts of 100 runs, against the first rollouts of these runs.

    python bench/plan_calibration.py --output docs/results/plan-calibration.json

Each recipe is probed as `rlllm plan` does, with another seed than the run, and then really trained for its first steps. Levels
of the sums, group sizes, rewards, length limits and temperatures are crossed; a hundred of the combinations are drawn.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

from results_file import ROOT, TRAINING, add_output, write_results

from rlllm.core.events import NullProgress
from rlllm.core.runs import RunOptions
from rlllm.evals.statistics.prompt_chances import CONFIDENCE
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.tools.planning.learning import Learning, learning_of
from rlllm.training import flow
from rlllm.training.probe import probe

LEVELS = (1, 2, 3, 4, 5)
GROUPS = (2, 4, 8, 16)
REWARDS: Mapping[str, list[Any]] = {
    "exact": ["exact"],
    "exact and format": ["exact", {"name": "format", "weight": 0.1}],
    "format": ["format"],
    "exact and length": ["exact", {"name": "length", "weight": 0.1, "budget": 40, "buffer": 20}],
}
LIMITS = (24, 48, 96)
TEMPERATURES = (0.7, 1.0)
COMPARED = {1: "first", 3: "three"}
"""Steps of the run that are compared, 64 completions each -> their name in the results. From the second step on the rollouts
are of a policy that has learned, which a plan does not predict."""
SECONDS = 5.0
"""Of the steps of a probe."""
QUANTITIES = ("mixed groups", "cut completions", "mean reward", "passed")
PLOT = ROOT / "docs" / "images" / "plan-calibration.svg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipes", type=int, default=100)
    add_output(parser)
    options = parser.parse_args()
    rows = []
    for number, recipe in enumerate(drawn(options.recipes)):
        rows.append({**recipe, **compared(recipe, number)})
        inside = " ".join(f"{name} {rows[-1]['first'][name]['inside']}" for name in QUANTITIES)
        print(number, recipe, inside, flush=True)
    results = {"confidence": CONFIDENCE, "summary": summary(rows), "recipes": rows}
    for name, value in results["summary"].items():
        print(name, value)
    write_results(options.output, results, sources=[*TRAINING, "src/rlllm/tools/planning"], threads=1)
    if options.output:
        PLOT.write_text(plot(rows), encoding="utf-8")


def drawn(number: int) -> list[dict[str, Any]]:
    """Recipes without repeats, drawn from all combinations by one seed."""
    names = ("level", "group_size", "rewards", "limit", "temperature")
    every = list(itertools.product(LEVELS, GROUPS, REWARDS, LIMITS, TEMPERATURES))
    return [dict(zip(names, chosen, strict=True)) for chosen in random.Random(0).sample(every, number)]


def settings_of(recipe: Mapping[str, Any], seed: int, folder: str) -> Any:
    return resolve_settings(
        "reason",
        {
            "model": "nano",
            "data": {"name": "arithmetic", "level": recipe["level"], "rows": 2000, "holdout": 64},
            "rewards": REWARDS[recipe["rewards"]],
            "method": "grpo",
            "rollout": {
                "group_size": recipe["group_size"],
                "max_new_tokens": recipe["limit"],
                "temperature": recipe["temperature"],
            },
            "trainer": {
                "learning_rate": 2.0e-4,
                "max_steps": 80,
                "per_device_train_batch_size": 64,
                "lr_scheduler_type": "constant",
            },
            "eval": {"rows": 16, "samples": 1},
            "hardware": {"threads": 1},
            "seed": seed,
            "output_dir": folder,
        },
    )


def compared(recipe: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The prediction of a recipe's first rollouts, and what they were."""
    with TemporaryDirectory() as folder:
        planned: Any = plan(settings_of(recipe, seed, f"{folder}/run"))
        tried = probe(planned, NullProgress(), SECONDS)
        predictions = {
            steps: learning_of(planned, tried.samples, steps * planned.batches.prompts_per_rollout)
            for steps in COMPARED
        }
        run = flow.train(planned, RunOptions(stop_after=max(COMPARED)))
        samples = list(run.samples())
        times = [row["step_time"] for row in run.metrics()]
    found: dict[str, Any] = {}
    for steps, learning in predictions.items():
        assert learning is not None
        seen = observed(
            [row for row in samples if row["step"] <= steps], recipe["group_size"], planned.rewards.names[0]
        )
        found[COMPARED[steps]] = _against(learning, seen, recipe["group_size"])
        found["prompts"] = learning.prompts
    step = fmean(part.seconds for part in tried.steps[1:])
    return {**found, "step_ratio": median(times[1:]) / step}


def _against(learning: Learning, seen: Mapping[str, float], size: int) -> dict[str, Any]:
    """Each quantity as it was predicted and as it was seen."""
    predicted = {
        "mixed groups": learning.mixed[size],
        "cut completions": learning.cut,
        "mean reward": learning.reward,
        "passed": learning.passes,
    }
    return {
        name: {
            "predicted": interval.to_json(),
            "observed": seen[name],
            "inside": bool(interval.low - 1e-9 <= seen[name] <= interval.high + 1e-9),
        }
        for name, interval in predicted.items()
        if interval is not None
    }


def observed(samples: Sequence[Mapping[str, Any]], size: int, first: str) -> dict[str, float]:
    """What the rollouts of the run were; its groups follow each other in the file."""
    groups = [samples[at : at + size] for at in range(0, len(samples), size)]
    assert all(len({row["row"] for row in group}) == 1 for group in groups)
    rewards = [[round(float(row["reward"]), 6) for row in group] for group in groups]
    return {
        "mixed groups": fmean(len(set(group)) > 1 for group in rewards),
        "cut completions": fmean(bool(row["truncated"]) for row in samples),
        "mean reward": fmean(value for group in rewards for value in group),
        "passed": fmean(float(row["rewards"][first]["value"] >= 1) for row in samples),
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"recipes": len(rows), "median_step_ratio": median(row["step_ratio"] for row in rows)}
    for kind in COMPARED.values():
        inside: dict[str, list[bool]] = defaultdict(list)
        for row in rows:
            for name, value in row[kind].items():
                inside[name].append(value["inside"])
        most = [sum(value["inside"] for value in row[kind].values()) >= len(QUANTITIES) - 1 for row in rows]
        found[kind] = {
            "inside": {name: fmean(inside[name]) for name in QUANTITIES},
            "pooled": fmean(value for values in inside.values() for value in values),
            "three_of_four": fmean(most),
        }
    return found


def plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Three panels of what was predicted (with its interval) against what was, as SVG."""
    side, gap = 240, 60
    shown = QUANTITIES[:3]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {len(shown) * (side + gap) + 20} {side + 90}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for place, name in enumerate(shown):
        parts += _panel(name, rows, 50 + place * (side + gap), 35, side)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(name: str, rows: Sequence[Mapping[str, Any]], left: int, top: int, side: int) -> Iterator[str]:
    values = [row["first"][name] for row in rows]
    most = max(1.0, *(value["predicted"]["high"] for value in values))

    def x(value: float) -> str:
        return f"{left + value / most * side:.1f}"

    def y(value: float) -> str:
        return f"{top + side - value / most * side:.1f}"

    share = fmean(value["inside"] for value in values)
    yield f'<text x="{left}" y="{top - 12}" font-weight="bold">{name}: {share:.0%} inside</text>'
    yield f'<rect x="{left}" y="{top}" width="{side}" height="{side}" fill="none" stroke="#888"/>'
    yield f'<line x1="{x(0)}" y1="{y(0)}" x2="{x(most)}" y2="{y(most)}" stroke="#bbb"/>'
    for tick in (0.0, most / 2, most):
        yield f'<text x="{x(tick)}" y="{top + side + 16}" text-anchor="middle">{tick:.2g}</text>'
        yield f'<text x="{left - 6}" y="{y(tick)}" text-anchor="end" dominant-baseline="middle">{tick:.2g}</text>'
    yield f'<text x="{left + side / 2}" y="{top + side + 36}" text-anchor="middle">predicted, with 80 % interval</text>'
    yield (
        f'<text transform="translate({left - 34},{top + side / 2}) rotate(-90)" text-anchor="middle">'
        "first rollout of the run</text>"
    )
    for value in values:
        low, middle, high = (value["predicted"][key] for key in ("low", "estimate", "high"))
        colour = "#1a6fb5" if value["inside"] else "#c8361f"
        seen = value["observed"]
        yield f'<line x1="{x(low)}" y1="{y(seen)}" x2="{x(high)}" y2="{y(seen)}" stroke="{colour}" stroke-opacity=".45"/>'
        yield f'<circle cx="{x(middle)}" cy="{y(seen)}" r="2.2" fill="{colour}"/>'


if __name__ == "__main__":
    main()
