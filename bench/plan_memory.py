"""Memory that `rlllm plan` expects of a run, against the most that the run then used.

    python bench/plan_memory.py --model nano --output docs/results/plan-memory.json

Every run and every plan has a process of its own. Both count from the same point: Python and the libraries are loaded, and no
model. What a run used is the most that was resident, less what was resident there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from results_file import TRAINING, add_output, write_results

_SMALL = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}
_ROLLOUT = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 1}
_SAMPLED = {"group_size": 4, "max_new_tokens": 48}
RUNS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "sft": ("sft/quickstart", {"trainer": _SMALL}),
    "train-rm": ("train-rm/quickstart", {"trainer": _SMALL}),
    "dpo": ("align/quickstart", {"trainer": _SMALL, "rollout": {"max_new_tokens": 48}}),
    "ppo": ("reason/quickstart", {"trainer": _ROLLOUT, "rollout": _SAMPLED, "method": "ppo"}),
    "grpo": ("reason/quickstart", {"trainer": _ROLLOUT, "rollout": _SAMPLED}),
}
STEPS = {"nano": 20}
"""Steps of a run; of a larger model 2."""
WITHIN = 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="append", help="nano, or a folder; repeatable")
    parser.add_argument("--one", nargs=3, metavar=("HOW", "RUN", "MODEL"), help=argparse.SUPPRESS)
    add_output(parser)
    options = parser.parse_args()
    if options.one:
        how, name, model = options.one
        print(json.dumps((planned if how == "plan" else used)(name, model)))
        return
    rows = []
    for model in options.model or ["nano"]:
        for name in RUNS:
            expected, most = (_apart(how, name, model) for how in ("plan", "run"))
            error = expected["expected"] / most["used"] - 1
            shown = "nano" if model == "nano" else "SmolLM2-135M"
            rows.append({"model": shown, "run": name, **expected, **most, "error": error})
            print(rows[-1], flush=True)
    within = sum(abs(row["error"]) <= WITHIN for row in rows)
    results = {"rows": rows, "within": within, "of": len(rows), "limit": WITHIN}
    write_results(options.output, results, sources=[*TRAINING, "src/rlllm/tools/planning"], threads=1)


def _apart(how: str, name: str, model: str) -> dict[str, Any]:
    """One plan or run in a process of its own."""
    command = [sys.executable, __file__, "--one", how, name, model]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{how} of {name} with {model} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _settings(name: str, model: str) -> tuple[str, dict[str, Any]]:
    recipe, own = RUNS[name]
    steps = STEPS.get(model, 2)
    trainer = {**own["trainer"], "max_steps": steps, "learning_rate": 1e-5, "warmup_steps": 0}
    shared = {"model": model, "eval": {"rows": 16}, "hardware": {"threads": 1}}
    return recipe, {**own, **shared, "trainer": trainer}


def planned(name: str, model: str) -> dict[str, Any]:
    """What a plan expects, measured and by arithmetic alone."""
    import rlllm

    recipe, settings = _settings(name, model)
    found = rlllm.plan(recipe, seconds=5.0, **settings)
    assert found.probe is not None
    return {
        "expected": found.memory,
        "held": sum(found.probe.held.values()),
        "beside": found.probe.beside,
        "passing": found.probe.passing,
        "by_arithmetic": sum((found.parts or {}).values()),
    }


def used(name: str, model: str) -> dict[str, Any]:
    """The most that a run used."""
    import rlllm
    from rlllm.algorithms import _trl  # noqa: F401
    from rlllm.launch import local, memory_use

    recipe, settings = _settings(name, model)
    verb = {"sft": rlllm.sft, "train-rm": rlllm.train_rm, "align": rlllm.align, "reason": rlllm.reason}
    device = local.prepare().device
    with TemporaryDirectory() as folder:
        empty = memory_use.begin(device)
        run = verb[recipe.partition("/")[0]](recipe, output_dir=Path(folder) / "run", **settings)
        most = memory_use.most_since(device) - empty
        assert run.verdict
    return {"used": most}


if __name__ == "__main__":
    main()
