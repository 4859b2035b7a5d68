"""A hundred SIGKILLs: runs of every verb and of methods that keep state, killed at random moments, resumed and compared.

    python bench/kills.py [--only NAME ...] [--kills 5] [--seed 0] [--output docs/results/kills.json]

Every case is what `rlllm runs prove-resume` does, by the same code. The exit code is 1 if one of the resumed runs differs from
the undisturbed one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from results_file import TRAINING, add_output, write_results

from rlllm.tools.resume_proof.kills import PARTS
from rlllm.tools.resume_proof.prove import ResumeProof, prove_settings

_COMMON: dict[str, Any] = {
    "model": "nano",
    "hardware": {"threads": 1, "matmul": "torch"},
    "data": {"name": "arithmetic", "level": 2, "rows": 96, "holdout": 12},
    "eval": {"rows": 8},
    "max_steps": 8,
    "save_steps": 2,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 8,
}
_SAMPLED: dict[str, Any] = {
    "eval": {"rows": 6, "samples": 2},
    "rollout": {"group_size": 4, "max_new_tokens": 24},
    "per_device_train_batch_size": 16,
    "rewards": ["exact", {"name": "format", "weight": 0.1}],
}
_FAILING = '''
import zlib


def seldom(sample):
    """Fails on some completions, so that what is counted of failures has to survive."""
    if zlib.crc32(sample.completion.encode()) % 61 == 19:
        raise KeyError("nothing to see")
    return len(sample.completion) / 10
'''
_SELDOM = {"name": "FAILING:seldom", "weight": 0.1}
_MOVING = {"sync_ref_model": True, "ref_model_sync_steps": 1, "ref_model_mixup_alpha": 0.5}
_EVALUATION: dict[str, Any] = {
    "model": "nano",
    "hardware": _COMMON["hardware"],
    "tasks": ["arithmetic", "lists"],
    "rows": 24,
    "samples": 2,
    "sampling": {"max_new_tokens": 24, "batch_size": 8},
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sft": ("sft", {"eval": {"rows": 8, "every": 2}}),
    "sft, lora": ("sft", {"lora": {"r": 4}, "save_steps": 1, "gradient_accumulation_steps": 2}),
    "reward model": ("train-rm", {}),
    "ensemble of reward models": ("train-rm", {"method": "ensemble", "max_steps": 4}),
    "dpo, moving reference": ("align", {"eval": {"rows": 6, "samples": 2}, **_MOVING}),
    "kto": ("align", {"method": "kto", "eval": {"rows": 6, "samples": 2}}),
    "ppo, KL target": ("align", {**_SAMPLED, "method": "ppo", "rewards": ["gold"], "kl": {"target": 0.5}}),
    "grpo, best model kept": (
        "reason",
        {
            **_SAMPLED,
            "rewards": ["exact", _SELDOM],
            "num_iterations": 2,
            "eval": {"rows": 6, "every": 2, "keep": "best"},
        },
    ),
    "grpo, KL target": ("reason", {**_SAMPLED, "beta": 0.1, "kl": {"target": 0.5}}),
    "dapo": ("reason", {**_SAMPLED, "method": "dapo"}),
    "replay": ("reason", {**_SAMPLED, "method": "replay"}),
    "pass-band": ("reason", {**_SAMPLED, "sampler": {"name": "pass-band", "revisit": 2}}),
    "curriculum": ("reason", {**_SAMPLED, "sampler": {"name": "curriculum", "samples": 2, "up": 0.1, "down": 0.0}}),
    "hints and demonstrations": ("reason", {**_SAMPLED, "sampler": "hints", "off_policy": "demonstrations"}),
    "entropy target": ("reason", {**_SAMPLED, "method": "adaptive-entropy", "steps_per_generation": 2}),
    "constrained": (
        "align",
        {
            **_SAMPLED,
            "method": "constrained",
            "rewards": ["gold", {"name": "format", "weight": 0}],
            "advantage": {"name": "lagrange", "cost": "format", "bound": 0.4},
        },
    ),
    "iterative-dpo": ("align", {**_SAMPLED, "method": "iterative-dpo", "rewards": ["gold", _SELDOM], "max_steps": 6}),
    "dialogue of two roles": (
        "reason",
        {**_SAMPLED, "method": "tracer", "dialogue": {"marked": False, "history": 1}, "eval": {"rows": 0}},
    ),
    "grpo with a control": ("reason", {**_SAMPLED, "controls": ["random"], "max_steps": 4}),
    "eval": ("eval", _EVALUATION),
}
"""Name -> verb and settings over the common ones."""


def settings_of(name: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """Verb and settings of a case; the file with the reward that fails is written into the folder."""
    verb, own = CASES[name]
    settings = {**_COMMON, **own} if verb != "eval" else dict(own)
    file = folder / "failing.py"
    file.write_text(_FAILING, encoding="utf-8")
    return verb, json.loads(json.dumps(settings).replace("FAILING:", f"{file}:"))


def row_of(name: str, proof: ResumeProof) -> dict[str, Any]:
    """What the results file keeps of one case."""
    parts = Counter(kill.part for kill in proof.kills)
    return {
        "name": name,
        "verb": proof.stage,
        "kills": len(proof.kills),
        **{part: parts[part] for part in PARTS},
        "files": proof.files,
        "equal": proof.equal,
        "verdict": "bit-equal" if proof.equal else "differs",
        "difference": None if proof.difference is None else vars(proof.difference),
        "moments": [vars(kill) for kill in proof.kills],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    add_output(parser)
    given = parser.parse_args()
    rows = []
    for number, name in enumerate(given.only):
        began = time.monotonic()
        place = Path(tempfile.mkdtemp(prefix="rlllm-kills-"))
        verb, settings = settings_of(name, place)
        proof = prove_settings(verb, settings, place, kills=given.kills, seed=given.seed + number)
        if proof.equal:
            shutil.rmtree(place)
        rows.append(row_of(name, proof))
        shown = {key: value for key, value in rows[-1].items() if key != "moments"}
        shown |= {} if proof.equal else {"kept": str(place)}
        print(json.dumps({**shown, "took": round(time.monotonic() - began)}), flush=True)
    total = {key: sum(row[key] for row in rows) for key in ("kills", "files", *PARTS)}
    equal = sum(row["kills"] for row in rows if row["equal"])
    results = {
        "cases": rows,
        "total": {**total, "runs": len(rows), "equal": sum(row["equal"] for row in rows)},
        "kills_equal": equal,
    }
    write_results(given.output, results, sources=[*TRAINING, "src/rlllm/tools/resume_proof"], threads=1)
    return 0 if equal == total["kills"] else 1


if __name__ == "__main__":
    sys.exit(main())
