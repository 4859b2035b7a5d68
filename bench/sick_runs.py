"""Worthless trainings, really trained on nano, and healthy ones: which mistake is named by a verdict, and after how many steps.

    python bench/sick_runs.py [--seeds 6 7 8 9 10] [--healthy 6 7 ... 15] [--only WORD ...] [--tools PYTHON]

A run of `sick_cases.py` has one mistake in its settings, its data or its reward. It counts as named where its verdict has one
of the codes of that mistake. The delay is the step at which a monitor said so, as a share of the steps that were asked for;
what the verdict alone says is said after the last step. The healthy runs have no mistake: each finding of a monitor there, or
a reason that fails the run, is a false alarm. Thresholds were set on other seeds. The runs stay in runs/sick-runs, and are read
again where they are there.

With `--tools`, a Python that has rldoctor and rlprobe, both read the same metrics.jsonl: a run counts as named by them where
they say anything at all that is more than information, which is a lower bar than the right cause.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from results_file import TRAINING, add_output, write_results
from sick_cases import CASES, HEALTHY, Case, write_files

import rlllm
from rlllm.core.runs import Run
from rlllm.evals.statistics.intervals import wilson

ROOT = Path("runs/sick-runs").resolve()
OUTSIDE = Path(__file__).with_name("sick_outside.py")
"""What runs under the Python that has the other tools."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[*range(6, 11)], help="of the sick runs")
    parser.add_argument("--healthy", type=int, nargs="*", default=[*range(6, 16)], help="seeds of the healthy runs")
    parser.add_argument("--only", nargs="*", default=[], help="cases whose name holds one of these words")
    parser.add_argument("--tools", type=Path, help="a Python with rldoctor and rlprobe")
    add_output(parser)
    given = parser.parse_args()
    ROOT.mkdir(parents=True, exist_ok=True)
    write_files(ROOT)
    rows = []
    for seed in given.healthy:
        rows += [
            trained(f"healthy {name}", Case(name, frozenset()), seed) for name in HEALTHY if _asked(name, given.only)
        ]
    for seed in given.seeds:
        rows += [trained(name, case, seed) for name, case in CASES.items() if _asked(name, given.only)]
    if given.tools:
        _ask_others(given.tools, rows)
    summary = summarised(rows)
    print(json.dumps(summary, indent=1))
    write_results(given.output, {**summary, "runs": rows}, sources=[*TRAINING, "bench/sick_cases.py"], threads=1)


def _asked(name: str, words: Sequence[str]) -> bool:
    return not words or any(word in name for word in words)


def trained(name: str, case: Case, seed: int) -> dict[str, Any]:
    """One run: what its verdict says, and when."""
    settings = case.settings(ROOT)
    verb = settings.pop("verb")
    folder = ROOT / f"{''.join(sign if sign.isalnum() else '-' for sign in name)}-{seed}"
    run = Run(folder)
    if not run.verdict:
        run = getattr(rlllm, verb)(model="nano", seed=seed, output_dir=folder, overwrite=folder.exists(), **settings)
    row = {"name": name, "seed": seed, **read(run, case)}
    print(json.dumps(row), flush=True)
    return row


def read(run: Run, case: Case) -> dict[str, Any]:
    """What the verdict of a run says of its mistake."""
    verdict = run.verdict
    facts = verdict["diagnostics"]
    said = {found["monitor"]: found["step"] for found in facts["findings"]}
    codes = [reason["code"] for reason in verdict["reasons"]]
    right = [said.get(code, facts["steps_done"]) for code in codes if code in case.codes]
    return {
        "ok": verdict["ok"],
        "codes": codes,
        "findings": said,
        "steps": facts["steps_requested"],
        "steps_done": facts["steps_done"],
        "step": min(right, default=None),
        "outcome": str(run.outcome),
    }


def _ask_others(python: Path, rows: list[dict[str, Any]]) -> None:
    """Add what rldoctor and rlprobe find to each row."""
    folders = [
        str(ROOT / f"{''.join(sign if sign.isalnum() else '-' for sign in row['name'])}-{row['seed']}") for row in rows
    ]
    done = subprocess.run([python, OUTSIDE, *folders], capture_output=True, text=True, check=True)
    for row, line in zip(rows, done.stdout.splitlines(), strict=True):
        row["others"] = json.loads(line)


def summarised(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each mistake how often it was named and when, and the false alarms of the healthy runs."""
    healthy = [row for row in rows if row["name"].startswith("healthy ")]
    sick = [row for row in rows if row not in healthy]
    cases = []
    for name in dict.fromkeys(row["name"] for row in sick):
        own = [row for row in sick if row["name"] == name]
        named = [row for row in own if row["step"] is not None]
        shares = [row["step"] / max(1, row["steps"]) for row in named]
        cases.append(
            {
                "name": name,
                "codes": sorted(CASES[name].codes),
                "runs": len(own),
                "named": len(named),
                "failed": sum(not row["ok"] for row in own),
                "delay": round(median(shares), 3) if shares else None,
                "others": {tool: sum(bool(row["others"][tool]) for row in own) for tool in own[0].get("others", {})},
            }
        )
    alarmed = [row for row in healthy if row["findings"] or not row["ok"]]
    early = [row for row in sick if row["step"] is not None and row["step"] <= row["steps"] / 2]
    return {
        "cases": cases,
        "sick": len(sick),
        "recall": wilson(sum(row["step"] is not None for row in sick), len(sick)).to_json() if sick else None,
        "before_half": wilson(len(early), len(sick)).to_json() if sick else None,
        "healthy": len(healthy),
        "false_alarms": len(alarmed),
        "false_alarm_rate": wilson(len(alarmed), len(healthy)).to_json() if healthy else None,
        "others_false_alarms": {
            tool: sum(bool(row["others"][tool]) for row in healthy) for tool in (healthy or [{}])[0].get("others", {})
        },
    }


if __name__ == "__main__":
    main()
