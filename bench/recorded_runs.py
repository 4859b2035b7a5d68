"""Runs whose numbers stand on pages of the documentation, each recorded by `rlllm` commands over some seeds.

    python bench/recorded_runs.py NAME [--seeds 3] [--output docs/results/NAME.json]

Runs are kept in runs/recorded/NAME and not repeated while the code is the same: a recording that was stopped goes on where it
was. One thread a run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from results_file import TRAINING, add_output, made_with_this_code, write_results

from rlllm.core.runs import Run, read_jsonl

ROOT = Path("runs/recorded")
RLLLM = str(Path(sys.executable).with_name("rlllm"))
WORLD = ["--data", "arithmetic", "data.level=2", "data.rows=1920", "data.holdout=256"]
MEASURED = ["rollout.max_new_tokens=96", "eval.rows=256", "eval.samples=4", "save_strategy=no"]
GYM = {
    "products": ["data.params.max_digits=2"],
    "letter_counting": ["data.params.min_words=2", "data.params.max_words=4"],
}
"""Task of reasoning-gym -> its difficulty in the recording `size-defaults`."""
BARE = {
    "train-rm": ["train-rm"],
    "train-rm process": ["train-rm", "--method", "process"],
    "align dpo": ["align"],
    "align kto": ["align", "--method", "kto"],
    "align orpo": ["align", "--method", "orpo"],
}
"""What is trained with only model and data given -> its words."""
TRAINED = {"true": "all weights", "random": "all weights, random reward"}
"""Kind of a child run in the recording `real-model` -> what the table calls it."""
BEST_OF = ["--model", "nano", "data.level=2", "data.holdout=512", "rows=512", "samples=8", "sampling.max_new_tokens=96"]


def rlllm(words: Sequence[str], folder: Path) -> Run:
    """Run a command into a folder, unless it is done with this code; its verdict may be anything."""
    run = Run(folder)
    done = run.status["state"] in ("done", "failed") or (folder / "pipeline.json").exists()
    current = made_with_this_code(folder)
    if not (done and current):
        begun = ["--resume" if current else "--overwrite"] if folder.exists() else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run([RLLLM, *words, "--output-dir", str(folder), *begun], env=environment)
        if ended.returncode not in (0, 1):
            raise SystemExit(f"rlllm {' '.join(words)} ended with exit code {ended.returncode}")
    return run


def measure(run: Run, name: str) -> dict[str, Any]:
    """A measure of a run by the beginning of its name."""
    return next(row for row in run.results["measures"] if row["name"].startswith(name))


def controls(folder: Path, seeds: int) -> Any:
    """The quickstart of `reason` beside itself with the sense taken out of its reward."""
    words = ["reason", "quickstart", "--controls", "random,format,flipped,frozen", "--seeds", str(seeds)]
    results = rlllm(words, folder).results
    added = {row["control"]: row["added"] for row in results["controls"]}
    kinds = [row["name"] for row in results["seeds"]]
    rows = zip(kinds, results["measures"], strict=True)
    return {
        "controls": [
            {
                "reward": kind,
                **{part: row[part] for part in ("before", "after", "difference")},
                "true_reward_adds": added.get(kind),
            }
            for kind, row in rows
        ]
    }


def overoptimisation(folder: Path, _: int) -> Any:
    """RLOO without a KL term and at nearly ten times the learning rate, against one reward model."""
    reward = rlllm(["train-rm", "quickstart"], folder / "reward-model")
    settings = [
        "learning_rate=6e-4",
        "beta=0",
        "max_steps=80",
        "per_device_train_batch_size=64",
        "lr_scheduler_type=linear",
    ]
    words = ["align", "--method", "rloo", "--reward", str(reward.path), *WORLD, *MEASURED, *settings]
    run = rlllm(words, folder / "rloo")
    names = {
        "training reward": "model utility",
        "gold utility": "gold utility",
        "KL from the start": "KL from the start",
    }
    rows = {shown: measure(run, name) for shown, name in names.items()}
    alarm = run.verdict["diagnostics"]["divergences"][0]
    return {
        "measures": [{"measure": name, "before": row["before"], "after": row["after"]} for name, row in rows.items()],
        "warning": {"training_change": alarm["training_change"], "gold_change": alarm["monitored_change"]},
    }


def process_reward_model(folder: Path, seeds: int) -> Any:
    """Process models, and what they choose among samples beside outcome models."""
    return {
        "process": [_process(folder, seed) for seed in range(seeds)],
        "best_of_8": [_best_of(folder, seed) for seed in range(seeds)],
    }


def _process(folder: Path, seed: int) -> dict[str, Any]:
    run = rlllm(["train-rm", "process", "--seed", str(seed), f"data.seed={seed}"], folder / f"process-{seed}")
    rows = {name: measure(run, name) for name in ("first error", "step accuracy")}
    ends = {name: {"before": row["before"], "after": row["after"]} for name, row in rows.items()}
    chance = measure(run, "chance")["after"]["estimate"]
    return {"seed": seed, "chance": chance, "first_error": ends["first error"], "steps": ends["step accuracy"]}


def _best_of(folder: Path, seed: int) -> dict[str, Any]:
    settings = [f"data.seed={seed}", "data.rows=16000", "max_steps=500"]
    outcome = rlllm(["train-rm", "quickstart", "--seed", str(seed), *settings], folder / f"outcome-{seed}")
    selectors = [
        {"name": "process", "path": str(folder / f"process-{seed}")},
        {"name": "model", "path": str(outcome.path)},
    ]
    words = ["eval", "best-of", "--data", "arithmetic", *BEST_OF, f"seed={seed}"]
    run = rlllm([*words, f"rewards={json.dumps(['exact', *selectors])}"], folder / f"best-of-{seed}")
    (task,) = run.results["tasks"].values()
    values = task["values"]
    return {
        "seed": seed,
        **{name: values[name]["estimate"] for name in ("pass@1", "pass@8")},
        "majority": values["maj@8"]["estimate"],
        "process": values["best-of-8 process"],
        "outcome": values["best-of-8 model"],
        "outcome_over_process": values["best-of-8 model over best-of-8 process"],
    }


def judge(folder: Path, seeds: int) -> Any:
    """A judge that writes: imitation of simulated verdicts, then reinforcement."""
    rows = []
    for seed in range(seeds):
        taught = [
            "--model",
            "nano",
            "--data",
            "verdicts#4000",
            "learning_rate=1e-3",
            "max_steps=200",
            "defaults=trl",
            "--seed",
            str(seed),
        ]
        start = rlllm(["sft", *taught], folder / f"sft-{seed}")
        run = rlllm(["train-rm", "generative", f"model={start.path}", "--seed", str(seed)], folder / f"judge-{seed}")
        measures = [{key: row[key] for key in ("name", "before", "after")} for row in run.results["measures"]]
        rows += [{"seed": seed, **row} for row in measures]
    return {"measures": rows}


def size_defaults(folder: Path, seeds: int) -> Any:
    """Each kind of training with only model and data given: the rows of the table for models under 10M parameters."""
    rows = []
    for seed in range(seeds):
        for task, difficulty in GYM.items():
            words = ["--data", f"gym:{task}", *difficulty, "--seed", str(seed)]
            taught = rlllm(["sft", "--model", "nano", *words, "max_steps=40"], folder / f"{task}-sft-{seed}")
            run = rlllm(["reason", "--model", str(taught.path), *words], folder / f"{task}-{seed}")
            rows += [
                {"what": f"sft, gym:{task}, 40 steps", "seed": seed, **_first(taught)},
                {"what": f"reason, gym:{task}", "seed": seed, **_first(run)},
            ]
        for name, start in BARE.items():
            words = [*start, "--model", "nano", "--data", "arithmetic", "--seed", str(seed)]
            run = rlllm(words, folder / f"{name.replace(' ', '-')}-{seed}")
            rows.append({"what": f"{name}, arithmetic", "seed": seed, **_first(run)})
    return {"runs": rows}


def _first(run: Run) -> dict[str, Any]:
    """The first measure of a run, and what it took."""
    row = run.results["measures"][0]
    ends = {part: row[part] for part in ("before", "after", "difference")}
    return {
        "measure": row["name"],
        **ends,
        "steps": run.verdict["diagnostics"]["steps_done"],
        "seconds": run.status["seconds"],
    }


def real_model(folder: Path, seeds: int) -> Any:
    """Two tasks with short answers on SmolLM2-135M: all weights, the same under a random reward, and LoRA with one seed."""
    model = folder / "SmolLM2-135M"
    if not (model / "config.json").exists():
        subprocess.run([sys.executable, str(Path(__file__).with_name("smollm2.py")), str(model)], check=True)
    sums = rlllm(["sft", "smollm2-sums", "--model", str(model)], folder / "sums-start").path
    rows = []
    for task, start in (("sums", sums), ("words", model)):
        words = ["reason", f"smollm2-{task}", "--model", str(start)]
        trained = rlllm([*words, "--controls", "random", "--seeds", str(seeds)], folder / task)
        adapted = rlllm([*words, "lora.r=16", "learning_rate=2e-4"], folder / f"{task}-lora")
        runs = [
            *((TRAINED[kind], seed, Run(trained.path / f"{kind}-{seed}")) for kind in TRAINED for seed in range(seeds)),
            ("LoRA, rank 16", 0, adapted),
        ]
        rows += [
            {"task": task, "training": name, "seed": seed, **_first(run), "pass@4": _covered(run)}
            for name, seed, run in runs
        ]
    return {"start": _first(Run(sums)), "runs": rows}


def _covered(run: Run) -> dict[str, float]:
    """Share of the problems that one of their four samples solves, before and after."""
    texts = list(read_jsonl(run.path / "before_after.jsonl"))
    return {
        when: fmean(max(sample["score"] for sample in text[when]) for text in texts) for when in ("before", "after")
    }


TIERS = (("arithmetic", 2), ("arithmetic", 1), ("countdown", 1), ("countdown", 2), ("lists", 1))
"""Data and level."""


def nano(folder: Path, _: int) -> Any:
    """The embedded model on held-out problems: four samples each, and greedily."""
    rows = []
    for data, level in TIERS:
        words = ["eval", "--model", "nano", "--data", data, f"data.level={level}", "rows=256", "max_new_tokens=96"]
        sampled = rlllm([*words, "samples=4"], folder / f"{data}-{level}-sampled")
        greedy = rlllm([*words, "samples=1", "sampling.temperature=0"], folder / f"{data}-{level}-greedy")
        found = [next(iter(run.results["tasks"].values()))["values"]["pass@1"] for run in (sampled, greedy)]
        rows.append({"data": data, "level": level, "problems": found[0]["n"], "sampled": found[0], "greedy": found[1]})
    return {"tiers": rows}


RECORDINGS: dict[str, tuple[Callable[[Path, int], Any], int]] = {
    "reason-controls": (controls, 3),
    "overoptimisation": (overoptimisation, 1),
    "process-reward-model": (process_reward_model, 3),
    "judge": (judge, 1),
    "nano": (nano, 1),
    "size-defaults": (size_defaults, 2),
    "real-model": (real_model, 2),
}
"""Name -> what records it, and its number of seeds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RECORDINGS)
    parser.add_argument("--seeds", type=int)
    add_output(parser)
    given = parser.parse_args()
    record, seeds = RECORDINGS[given.name]
    folder = ROOT / given.name
    results = record(folder, given.seeds or seeds)
    runs = None if record is nano else folder
    write_results(given.output, results, sources=[*TRAINING, "recipes"], threads=1, runs=runs)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
