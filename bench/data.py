r"""A million JSON lines checked, hashed, stripped of duplicates and mixed: `rlllm data build` beside plain `datasets`.

    python bench/data.py [--rows 1000000] [--output FILE]

Two files of question-answer rows, generated from a seed, one in fifty of them an exact repeat and one in fifty a repeat with
one word changed. rlllm also finds those near-repeats, counts lengths, labels and scripts, and writes a card. `datasets` does
the plain job: load the two files, hash each row, filter repeats by hash, interleave two to one, count lengths, save. Each runs
in a process of its own, on one process as its documentation has it by default; seconds include imports, memory is the
peak of the process. Goal: less than 1 GB, and faster.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from results_file import add_output, write_results

GOAL_MEGABYTES = 1000
_SYLLABLES = ("ba", "ko", "ri", "tu", "mel", "san", "dor", "vi", "lan", "pe")
_REPEATS = 0.02


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        files = generate(Path(folder), args.rows)
        size = sum(file.stat().st_size for file in files) / 1e6
        found = {name: alone(job, files, Path(folder)) for name, job in JOBS.items() if name in args.only}
    report = {"rows": args.rows, "megabytes of input": round(size), **found}
    if found.keys() == JOBS.keys():
        report["speed-up"] = round(found["datasets"]["seconds"] / found["rlllm"]["seconds"], 2)
        report["below 1 GB"] = found["rlllm"]["peak_megabytes"] < GOAL_MEGABYTES
    print(json.dumps(report, indent=1))
    tools = [{"tool": name, **row} for name, row in found.items()]
    measured = {"rows": args.rows, "megabytes": round(size), "tools": tools}
    write_results(args.output, measured, sources=["src/rlllm/data", "src/rlllm/tools/data"], threads=1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="*", default=list(JOBS), choices=list(JOBS))
    add_output(parser)
    return parser.parse_args()


def generate(folder: Path, rows: int) -> list[Path]:
    """Two files of half the rows each."""
    draw = random.Random(0)
    vocabulary = ["".join(draw.choices(_SYLLABLES, k=draw.randint(1, 4))) for _ in range(20_000)]
    recent: list[dict[str, str]] = []
    files = [folder / "first.jsonl", folder / "second.jsonl"]
    for file in files:
        with file.open("w") as lines:
            for _ in range(rows // 2):
                row = _row(draw, vocabulary, recent)
                recent.append(row)
                del recent[:-1000]
                lines.write(json.dumps(row) + "\n")
    return files


def _row(draw: random.Random, vocabulary: list[str], recent: list[dict[str, str]]) -> dict[str, str]:
    kind = draw.random()
    if recent and kind < _REPEATS:
        return draw.choice(recent)
    if recent and kind < 2 * _REPEATS:
        known = draw.choice(recent)
        words = known["prompt"].split()
        words[draw.randrange(len(words))] = draw.choice(vocabulary)
        return {**known, "prompt": " ".join(words)}
    question = " ".join(draw.choices(vocabulary, k=draw.randint(20, 50)))
    return {"prompt": f"{question} {draw.randint(2, 999)}?", "answer": str(draw.randint(0, 10**6))}


def alone(job: Callable[[list[Path], Path], dict[str, Any]], files: list[Path], folder: Path) -> dict[str, Any]:
    """What a job says of itself, with seconds and peak memory, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(job, files, folder, sender))
    start = time.perf_counter()
    process.start()
    sender.close()
    try:
        told = receiver.recv()
    except EOFError:
        sys.exit(f"{job.__name__} died with exit code {process.exitcode}")
    process.join()
    return {"seconds": round(time.perf_counter() - start, 1), **told}


def _measured(job: Callable[[list[Path], Path], dict[str, Any]], files: list[Path], folder: Path, sender: Any) -> None:
    told = job(files, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    sender.send({"cpu_seconds": round(time.process_time(), 1), "peak_megabytes": round(peak), **told})


def with_rlllm(files: list[Path], folder: Path) -> dict[str, Any]:
    from rlllm.data.prepare.settings import Preparation
    from rlllm.tools.data.build import prepare

    mixture = {"weights": [2, 1]}
    values = {"sources": list(map(str, files)), "kind": "PromptTask", "near_duplicates": True, "mixture": mixture}
    manifest = prepare(Preparation.checked({**values, "out": folder / "prepared"})).manifest
    return {"rows_out": manifest.train, "dropped": manifest.dropped}


def with_datasets(files: list[Path], folder: Path) -> dict[str, Any]:
    import hashlib

    os.environ["HF_HOME"] = str(folder / "hf")
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    from datasets import interleave_datasets, load_dataset

    seen: set[str] = set()

    def described(row: dict[str, str]) -> dict[str, Any]:
        text = row["prompt"] + "\n" + row["answer"]
        return {"hash": hashlib.sha256(text.encode()).hexdigest()[:16], "length": len(text)}

    def fresh(row: dict[str, Any]) -> bool:
        if row["hash"] in seen:
            return False
        seen.add(row["hash"])
        return True

    parts = [load_dataset("json", data_files=str(file), split="train", cache_dir=str(folder / "hf")) for file in files]
    before = sum(map(len, parts))
    parts = [part.map(described).filter(fresh) for part in parts]
    mixed = interleave_datasets(parts, probabilities=[2 / 3, 1 / 3], seed=0, stopping_strategy="first_exhausted")
    lengths = sorted(mixed["length"])
    mixed.save_to_disk(str(folder / "mixed"))
    dropped = {"exact duplicates": before - sum(map(len, parts))}
    return {"rows_out": len(mixed), "dropped": dropped, "median_length": lengths[len(lengths) // 2]}


JOBS = {"rlllm": with_rlllm, "datasets": with_datasets}

if __name__ == "__main__":
    main()
