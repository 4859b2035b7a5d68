"""Isolated executions a second, beside one bare interpreter for each program.

    python bench/sandbox.py [--programs 1000] [--rounds 3] [--workers 4]

The program is `print(1)`, and every output is checked. The two take turns, so that what else the machine does hits both; the
table has the best round of each and the processor time of one program, which does not depend on the load.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from results_file import add_output, write_results

from rlllm.sandbox import open_sandbox
from rlllm.sandbox.jobs import Program

GOAL = 200
"""Isolated programs a second."""
SOURCE, EXPECTED = "print(1)", b"1\n"


def bare(count: int, workers: int) -> float:
    """Programs a second, each as `python -I -S -c`, without any isolation."""

    def one(_: int) -> bytes:
        return subprocess.run([sys.executable, "-I", "-S", "-c", SOURCE], capture_output=True).stdout

    with ThreadPoolExecutor(workers) as threads:
        started = time.perf_counter()
        outputs = list(threads.map(one, range(count)))
        seconds = time.perf_counter() - started
    assert outputs == [EXPECTED] * count
    return count / seconds


def isolated(count: int, workers: int) -> float:
    """Programs a second under full isolation, workers already warm."""
    sandbox = open_sandbox("full", workers=workers)
    try:
        sandbox.run([Program(SOURCE)] * 10)
        started = time.perf_counter()
        outcomes = sandbox.run([Program(SOURCE)] * count)
        seconds = time.perf_counter() - started
    finally:
        sandbox.close()
    assert [outcome.stdout for outcome in outcomes] == [EXPECTED] * count
    return count / seconds


def processor_seconds() -> float:
    """Of this process and all of its children that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


def measured(way: Callable[[int, int], float], count: int, workers: int) -> tuple[float, float]:
    """Programs a second and processor milliseconds for each, start of the workers included."""
    before = processor_seconds()
    rate = way(count, workers)
    return rate, 1000 * (processor_seconds() - before) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    add_output(parser)
    given = parser.parse_args()
    ways = {"python -I -S, no isolation": bare, "full isolation": isolated}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, way in ways.items():
            found[name].append(measured(way, given.programs, given.workers))
    print("| way | programs/s | processor ms a program |\n|---|---|---|")
    rows = []
    for name, rounds in found.items():
        best, cost = max(rate for rate, _ in rounds), min(cost for _, cost in rounds)
        print(f"| {name} | {best:.0f} | {cost:.1f} |")
        rows.append({"way": name, "programs_per_second": best, "processor_ms": cost})
    write_results(given.output, {"goal": GOAL, "ways": rows}, sources=["src/rlllm/sandbox"])


if __name__ == "__main__":
    main()
