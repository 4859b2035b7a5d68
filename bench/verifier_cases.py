"""False accepts and false rejects of every reward that ships with labelled cases.

    python bench/verifier_cases.py [--output FILE]

Each reward is tried as `rlllm rewards test` tries it, on up to three sources: the cases that ship with it, those of the package
reward-doctor that are of its task, and those of `tests/cases`, which were written after public reports. A case is labelled
right or wrong, or states the very score; cases of which nothing is demanded are scored, and counted nowhere.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from results_file import ROOT, add_output, write_results

from rlllm.core.runs import read_jsonl
from rlllm.rewards.bench.cases import shipped_names
from rlllm.rewards.bench.outside_cases import TASKS
from rlllm.tools.rewards_test import RewardTestConfig, run_reward_test

DOCTOR = "reward-doctor"
REPORTS = ROOT / "tests" / "cases"
SOURCES = [
    *("src/rlllm/rewards", "src/rlllm/parsing", "src/rlllm/training/reward_findings.py"),
    *sorted(
        path.relative_to(ROOT).as_posix()
        for folder in (REPORTS, ROOT / "src" / "rlllm" / "rewards" / "bench" / "cases")
        for path in folder.glob("*.jsonl")
    ),
]
"""What the numbers depend on: a folder's code, and each file of cases by itself."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # cards are written below the current folder
        rows = [row for name in shipped_names() for row in measured(name)]
        os.chdir(ROOT)
    results = {
        "rewards": len({row["reward"] for row in rows}),
        "cases": sum(row["cases"] for row in rows),
        "false_accepts": sum(row["false_accepts"] for row in rows),
        "largest_share": max(row["share"] or 0.0 for row in rows),
        "rows": rows,
    }
    print(json.dumps(results, indent=1))
    write_results(args.output, results, sources=SOURCES)


def measured(name: str) -> Iterator[dict[str, Any]]:
    """One row for each source of cases of a reward."""
    yield row_of(name, "shipped")
    if name == "math" or name in TASKS:
        yield row_of(name, DOCTOR, cases=DOCTOR)
    for path in (REPORTS / f"{name}.jsonl", REPORTS / f"{name}_pairs.jsonl"):
        if path.is_file():
            rows = [row.get("row", row) for row in read_jsonl(path)]
            Path(path.name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            yield row_of(name, f"tests/cases/{path.name}", cases=path.name)


def row_of(name: str, source: str, **settings: Any) -> dict[str, Any]:
    """The counts of a card. A right answer that cannot be judged is a false reject, as it is on the card."""
    card = run_reward_test(RewardTestConfig.of(name, **settings)).card
    right, wrong = (sum(kind.n for kind in card.kinds if kind.expected == expected) for expected in ("pass", "fail"))
    stated = card.as_stated
    return {
        "reward": name,
        "source": source,
        "cases": card.n,
        "right": right,
        "wrong": wrong,
        "false_accepts": card.false_accepts,
        "false_rejects": card.false_rejects,
        "share": card.false_rejects / right if right else None,
        "precision": card.precision and card.precision["estimate"],
        "recall": card.recall and card.recall["estimate"],
        "stated": stated["n"] if stated else None,
        "as_stated": round(stated["estimate"] * stated["n"]) if stated else None,
        "errors": card.errors,
        "changed": card.changed,
        "missed": [example for examples in card.to_json()["examples"].values() for example in examples],
    }


if __name__ == "__main__":
    main()
