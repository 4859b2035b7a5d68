"""The tables of methods: a sweep's recipe, run to its end and written as a results file.

    python bench/sweeps.py NAME [--output docs/results/NAME.json]

Further words are given to `rlllm sweep` (`--seeds 5`, `--arms dpo,ppo`). Runs are kept in runs/recorded/NAME and not repeated:
a stopped recording goes on where it was. One thread a run. `papers-smollm2` is given the folder of SmolLM2-135M-Instruct by
`--smollm2`. Some results have a table beside the sweep's own, made by the function that TABLES names.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from results_file import TRAINING, add_output, write_results

from rlllm.algorithms.samplers.curriculum import TIERS, tier_of
from rlllm.core.records import prompt_text
from rlllm.core.runs import Run, read_json
from rlllm.data.procedural.cues import relation_of, sign_of
from rlllm.evals.statistics.intervals import UNIT
from rlllm.evals.statistics.seeds import t_interval

ROOT = Path("runs/recorded")
RLLLM = str(Path(sys.executable).with_name("rlllm"))
EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
"""Ends of the bands of KL, in nats a completion."""
RECORDINGS: dict[str, tuple[str, ...]] = {
    "reason-methods": ("reason-methods",),
    "align-methods": ("align-methods",),
    "papers-sums": ("papers-methods",),
    "papers-lists": ("papers-methods", "--set", "data.name=lists", "--set", "data.level=1"),
    "papers-smollm2": ("papers-smollm2",),
    "tracer-controls": ("tracer-controls",),
    "calculator-controls": ("calculator-controls",),
    "guess-controls": ("guess-controls",),
    "vac-curriculum": ("vac-curriculum",),
    "physics-controls": ("physics-controls",),
    "abstention": ("abstention",),
    "shapes-controls": ("shapes-controls",),
    "pretrain-controls": ("pretrain-controls",),
}
"""Name of the results file -> words of `rlllm sweep`, the recipe first. What each is about stands in its recipe; `papers-sums`
and `papers-lists` are one recipe on an easy task and on one where GRPO stops to improve."""
SHARES = ("right", "wrong", "abstained", "score")
GOLD, KL = "rewards/gold/mean", "kl_per_completion"


def frontier(run: Run) -> list[dict[str, Any]]:
    """Gold utility of the rollouts of methods of `align` that sample, by the KL from the start that the policy had.

    One row for each band of KL that a method was in; a column for each method that logs its KL: the mean over a seed's steps,
    then over seeds.
    """
    logs = {
        name: [Run(run.path / entry["run"]).metrics() for entry in arm["seeds"] if entry["numbers"]]
        for name, arm in run.results["arms"].items()
    }
    logs = {
        name: seeds
        for name, seeds in logs.items()
        if seeds and all(GOLD in row and KL in row for rows in seeds for row in rows)
    }
    rows = []
    for low, high in pairwise(EDGES):
        bands = {name: [_between(rows_of_seed, low, high) for rows_of_seed in seeds] for name, seeds in logs.items()}
        means = {name: [fmean(values) for values in band if values] for name, band in bands.items()}
        rows.append(
            {"low": low, "high": high}
            | {name: t_interval(values).to_json() for name, values in means.items() if values}
        )
    return [row for row in rows if len(row) > 2]


def _between(rows: list[dict[str, Any]], low: float, high: float) -> list[float]:
    return [row[GOLD] for row in rows if low <= row[KL] < high]


def majority(run: Run) -> list[dict[str, Any]]:
    """Right answers by the majority of k completions of the models of `grpo`, for as many calls as dialogues have.

    Intervals over seeds; the difference is that of the arm `stopping` to it, paired by seed.
    """
    arms = {name: {entry["seed"]: entry for entry in arm["seeds"]} for name, arm in run.results["arms"].items()}
    rows = []
    for k in (3, 4):
        right = {}
        for seed, entry in arms["grpo"].items():
            folder = run.path / "majority" / f"{k}-seed-{seed}"
            if not (folder / "results.json").exists():
                data = ["data.level=2", f"data.seed={seed}", "data.rows=1920", "data.holdout=256", "rows=256"]
                sampled = [f"samples={k}", "sampling.max_new_tokens=96", f"seed={seed}"]
                model = str(run.path / entry["run"])
                words = ["eval", "arithmetic", "--model", model, *data, *sampled]
                rlllm([*words, "--output-dir", str(folder), "--overwrite"])
            right[seed] = Run(folder).results["tasks"]["arithmetic"]["values"][f"maj@{k}"]["estimate"]
        over = [arms["stopping"][seed]["numbers"]["after"] - value for seed, value in right.items()]
        rows.append(
            {
                "completions": k,
                "right": t_interval(list(right.values())).to_json(),
                "stopping_over_it": t_interval(over).to_json(),
            }
        )
    return rows


def tiers(run: Run) -> list[dict[str, Any]]:
    """Right answers by tier of difficulty, one row for each arm and tier: before, after, and over the baseline by seed.

    A held-out row's tier is made as the curriculum makes those of training rows: from the start model's share of right answers,
    here among the completions of the measurement before, and the relation of its channels.
    """
    arms = {
        name: {entry["seed"]: _by_tier(Run(run.path / entry["run"])) for entry in arm["seeds"]}
        for name, arm in run.results["arms"].items()
    }
    baseline = next(iter(arms))
    rows = []
    for name, seeds in arms.items():
        for tier in TIERS:
            known = {seed: by_tier[tier] for seed, by_tier in seeds.items() if tier in by_tier}
            over = [right["after"] - arms[baseline][seed][tier]["after"] for seed, right in known.items()]
            if len(known) < 2:
                continue
            rows.append(
                {
                    "arm": name,
                    "tier": tier,
                    "problems": sum(right["problems"] for right in known.values()),
                    **{
                        when: t_interval([right[when] for right in known.values()], bounds=UNIT).to_json()
                        for when in ("before", "after")
                    },
                    **({} if name == baseline else {"over_baseline": t_interval(over).to_json()}),
                }
            )
    return rows


def _by_tier(run: Run) -> dict[int, dict[str, float]]:
    """Tier -> number of held-out problems and their shares of right answers before and after."""
    measured = {when: read_json(run.path / f"measured_{when}.json")[0] for when in ("before", "after")}
    relations = [_relation(prompt_text(prompt)) for prompt in measured["before"]["prompts"]]
    scores = [[fmean(row) for row in measured[when]["scores"]] for when in ("before", "after")]
    found: dict[int, list[tuple[float, float]]] = {}
    for relation, before, after in zip(relations, *scores, strict=True):
        found.setdefault(tier_of(before, relation), []).append((before, after))
    return {
        tier: {"problems": len(pairs), "before": fmean(b for b, _ in pairs), "after": fmean(a for _, a in pairs)}
        for tier, pairs in found.items()
    }


def _relation(prompt: str) -> str | None:
    """How the channels of a prompt of the data set `cues` relate."""
    channels = prompt.removeprefix("[V] ").split(" [A] ")
    face, voice = (sign_of([pair.partition("=")[2] for pair in channel.split()]) for channel in channels)
    return relation_of(face, voice)


def transfer(run: Run) -> list[dict[str, Any]]:
    """pass@1 on redrawn numbers of the families that were shown, and on the one that was not, by the recipe eval/physics.

    Intervals over seeds; the differences are to the model that the arm started from, paired by seed. `spread` is the standard
    deviation over the five draws, the mean of it over seeds.
    """
    arms = {
        name: {entry["seed"]: run.path / entry["run"] for entry in arm["seeds"]}
        for name, arm in run.results["arms"].items()
    }
    seeds = list(next(iter(arms.values())))
    starts = {seed: run.path / "before" / "shown" / f"seed-{seed}" for seed in seeds}
    measured = {
        name: {seed: _physics(run.path / "transfer" / f"{name}-{seed}", models[seed], seed) for seed in seeds}
        for name, models in {"start": starts, **arms}.items()
    }
    rows = []
    for name, tasks in measured.items():
        row: dict[str, Any] = {"arm": name}
        for task in ("redrawn", "held-out family"):
            values = {seed: tasks[seed][task]["values"]["pass@1"]["estimate"] for seed in seeds}
            over = [values[seed] - measured["start"][seed][task]["values"]["pass@1"]["estimate"] for seed in seeds]
            row[task] = t_interval(list(values.values()), bounds=UNIT).to_json()
            row[f"{task} over start"] = t_interval(over).to_json() if name != "start" else None
        row["spread"] = fmean(tasks[seed]["redrawn"]["spread over redraw"] for seed in seeds)
        rows.append(row)
    return rows


def _physics(folder: Path, model: Path, seed: int) -> dict[str, Any]:
    """What a model makes of the tasks of the recipe eval/physics: held-out numbers, the same for every model."""
    if not (folder / "results.json").exists():
        words = ["eval", "physics", "--model", str(model), f"seed={seed}", "--output-dir", str(folder), "--overwrite"]
        rlllm(words)
    tasks: dict[str, Any] = Run(folder).results["tasks"]
    return tasks


def outcomes(run: Run) -> list[dict[str, Any]]:
    """Right, wrong and abstained shares of the start and of each arm on the held-out problems; intervals over seeds.

    `wrong_over_baseline` is the difference in wrong answers to the baseline, paired by seed.
    """
    arms = {
        name: {entry["seed"]: run.path / entry["run"] for entry in arm["seeds"]}
        for name, arm in run.results["arms"].items()
    }
    seeds = run.results["seeds"]
    models = {"start": {seed: run.path / "before" / "shown" / f"seed-{seed}" for seed in seeds}, **arms}
    found = {
        name: {seed: _answered(run, f"{name}-{seed}", seed, model) for seed, model in by_seed.items()}
        for name, by_seed in models.items()
    }
    base = found[run.results["baseline"]]
    rows = []
    for name, by_seed in found.items():
        bounds = {key: None if key == "score" else UNIT for key in SHARES}  # wrong answers cost more than there is
        shares = {
            key: t_interval([row[key] for row in by_seed.values()], bounds=bounds[key]).to_json() for key in SHARES
        }
        apart = [row["wrong"] - base[seed]["wrong"] for seed, row in by_seed.items()]
        over = t_interval(apart).to_json() if name not in ("start", run.results["baseline"]) else None
        rows.append({"arm": name, **shares, "wrong_over_baseline": over})
    return rows


def _answered(run: Run, name: str, seed: int, model: Path) -> dict[str, float]:
    """The shares of one model, by the metric `abstention`; measured once."""
    folder = run.path / "outcomes" / name
    if not (folder / "results.json").exists():
        data = ["data.level=2", f"data.seed={seed}", "data.rows=1920", "data.holdout=256", "rows=256"]
        sampled = ["samples=4", "sampling.max_new_tokens=96", f"seed={seed}"]
        words = [
            "eval",
            "abstention",
            "--model",
            str(model),
            "--data",
            "arithmetic",
            "--reward",
            "exact",
            *data,
            *sampled,
        ]
        rlllm([*words, "--output-dir", str(folder), "--overwrite"])
    (task,) = Run(folder).results["tasks"].values()
    return {key: task["values"][key]["estimate"] for key in SHARES}


def looks(run: Run) -> list[dict[str, Any]]:
    """Right answers of each arm after training, with the given pictures and with those of other questions, and the difference.

    One row for all questions of an arm, and one for each kind. The difference is paired by question within a seed; intervals
    are over seeds.
    """
    rows = []
    for name, arm in run.results["arms"].items():
        seeds = [_seen(Run(run.path / entry["run"])) for entry in arm["seeds"]]
        for kind in seeds[0]:
            given, swapped = ([seed[kind][side] for seed in seeds] for side in (0, 1))
            over = [one - other for one, other in zip(given, swapped, strict=True)]
            rows.append(
                {
                    "arm": name,
                    "questions": kind,
                    "right": t_interval(given, bounds=UNIT).to_json(),
                    "images_swapped": t_interval(swapped, bounds=UNIT).to_json(),
                    "over_images_swapped": t_interval(over).to_json(),
                }
            )
    return rows


def _seen(run: Run) -> dict[str, tuple[float, float]]:
    """Kind of question -> shares of right answers, with the given pictures and with those of others."""
    measured = {row["name"]: row for row in read_json(run.path / "measured_after.json")}
    kinds = [_kind_of(prompt_text(prompt)) for prompt in measured["pass@1"]["prompts"]]
    sides = [[fmean(row) for row in measured[name]["scores"]] for name in ("pass@1", "pass@1, images swapped")]
    shares = {}
    for kind in ("all", *_KINDS):
        places = [place for place, own in enumerate(kinds) if kind in ("all", own)]
        given, swapped = (fmean(side[place] for place in places) for side in sides)
        shares[kind] = (given, swapped)
    return shares


_KINDS = ("colour of one shape", "colour of one of two", "side", "number")


def _kind_of(prompt: str) -> str:
    if "How many" in prompt:
        return "number"
    if "left or right" in prompt:
        return "side"
    return "colour of one shape" if "is the shape?" in prompt else "colour of one of two"


TABLES: dict[str, Callable[[Run], list[dict[str, Any]]]] = {
    "align-methods": frontier,
    "tracer-controls": majority,
    "vac-curriculum": tiers,
    "physics-controls": transfer,
    "abstention": outcomes,
    "shapes-controls": looks,
}
"""Name of the results file -> what it holds beside the sweep's results, under the function's name."""


def starting_from(recipe: str, model: Path) -> Path:
    """A copy of a recipe whose runs before the arms train another model, under a name that is no path of this machine."""
    ROOT.mkdir(parents=True, exist_ok=True)
    link = ROOT / "SmolLM2-135M"
    link.unlink(missing_ok=True)
    link.symlink_to(model.resolve())
    settings = yaml.safe_load(Path(f"recipes/sweeps/{recipe}.yaml").read_text(encoding="utf-8"))
    settings["before"] = [{**step, "model": str(link)} for step in settings["before"]]
    copy = ROOT / f"{recipe}.yaml"
    copy.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return copy


def rlllm(words: list[str]) -> None:
    """Run a command. Raises SystemExit where it was not carried out; its verdict may be anything."""
    done = subprocess.run([RLLLM, *words], env={"OMP_NUM_THREADS": "1", **os.environ})
    if done.returncode not in (0, 1):
        raise SystemExit(f"rlllm {' '.join(words)} ended with exit code {done.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(RECORDINGS))
    add_output(parser)
    parser.add_argument("--smollm2", metavar="FOLDER", help="for papers-smollm2: the model that is trained")
    given, further = parser.parse_known_args()
    folder = ROOT / given.name
    begun = ["--resume"] if folder.exists() else []
    recipe = RECORDINGS[given.name][0]
    words = list(RECORDINGS[given.name])
    if given.smollm2:
        words[0] = str(starting_from(recipe, Path(given.smollm2)))
    rlllm(["sweep", *words, *further, "--output-dir", str(folder), *begun])
    run = Run(folder)
    table = TABLES.get(given.name)
    added = {table.__name__: table(run)} if table else {}
    sources = [*TRAINING, f"recipes/sweeps/{recipe}.yaml"]
    write_results(given.output, {**run.results, **added}, sources=sources, threads=1, runs=folder)


if __name__ == "__main__":
    main()
