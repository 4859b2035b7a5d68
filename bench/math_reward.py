r"""Pairs a second of the reward `math` against math-verify in one process, on the same pairs, and whether they agree.

    python bench/math_reward.py [--pairs 400] [--workers 2] [--repeats 3] [--fuzz 0] [--against REF] [--output FILE]

Two sets of (reference, answer), each pair different: GSM8K-like (integers, thousands, money, decimals, units) and
LaTeX-heavy (fractions, roots, polynomials, intervals, matrices, logarithms), right in about half of the pairs. math-verify
parses both sides and compares them, without time limits; the reward gets the pairs as marked completions in batches of 64,
with every deadline on. The two take turns, each repeat has pairs of its own, and the median counts. One more set of each
warms both up. `--fuzz 10000` scores that many random strings instead, and counts crashes and the slowest batch.

`--against REF` compares the reward with itself at a commit, tag or branch: precision and recall on the labelled pairs of
`tests/cases/math_pairs.jsonl`, and pairs a second of processor time on the two sets. Each runs in a process of its own, and
they take turns. Of the first set ten times as many pairs are scored, since they take so little time.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results_file import ROOT, add_output, write_results

from rlllm.core.records import Sample
from rlllm.core.runs import read_jsonl
from rlllm.rewards.math.reward import Math

Pair = tuple[str, str]
BATCH = 64
GOALS = {"gsm8k": 10.0, "latex": 1.8}


def main() -> None:
    args = arguments()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if args.against:
        report = compare_with_ref(args)
    else:
        report = fuzz(args) if args.fuzz else {name: compare(name, args) for name in GOALS}
    print(json.dumps(report, indent=1))
    if not args.fuzz:
        results = report if args.against else {"pairs": [{"pairs": name, **row} for name, row in report.items()]}
        write_results(args.output, results, sources=["src/rlllm/rewards/math", "src/rlllm/parsing"])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fuzz", type=int, default=0)
    parser.add_argument("--against", metavar="REF", help="compare with the reward at this commit, tag or branch")
    add_output(parser)
    return parser.parse_args()


def compare(name: str, args: argparse.Namespace) -> dict[str, object]:
    """Speeds of both on one kind of pairs, their ratio, and the pairs they judge differently."""
    make = {"gsm8k": gsm8k_pair, "latex": latex_pair}[name]
    reward = Math(workers=args.workers)
    speeds: dict[str, list[float]] = {"math-verify": [], "reward": []}
    differing: list[tuple[Pair, object, object]] = []
    right = 0
    for repeat in range(args.repeats + 1):
        pairs = different(make, args.pairs, seed=repeat)
        start = time.perf_counter()
        plain = [math_verify_says(*pair) for pair in pairs]
        middle = time.perf_counter()
        ours = rewarded(reward, pairs)
        end = time.perf_counter()
        if repeat:
            speeds["math-verify"].append(len(pairs) / (middle - start))
            speeds["reward"].append(len(pairs) / (end - middle))
        right += sum(plain)
        differing += [(p, a, b) for p, a, b in zip(pairs, plain, ours, strict=True) if float(a) != b]
    medians = {key: statistics.median(values) for key, values in speeds.items()}
    judged = args.pairs * (args.repeats + 1)
    return {
        "pairs_per_second": {key: round(value, 1) for key, value in medians.items()},
        "ratio": round(medians["reward"] / medians["math-verify"], 2),
        "goal": GOALS[name],
        "judged": judged,
        "right": right,
        "differing": len(differing),
        "examples": differing[:10],
    }


_JUDGE = """
import json, os, sys, time
from pathlib import Path
from rlllm.core.records import Sample
from rlllm.rewards.math.reward import Math
reward = Math(workers=int(sys.argv[1]), timeout=20.0)

def processor_seconds():
    children = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in children]
    return time.process_time() + sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")

for line in sys.stdin:
    samples = [Sample("question", completion, reference) for completion, reference in json.loads(line)]
    start = processor_seconds()
    values = [score.value for score in reward.score_batch(samples)]
    print(json.dumps([processor_seconds() - start, values]), flush=True)
"""
"""A process that scores batches of (completion, reference), and says how much processor time each took, with math-verify's."""


class Judge:
    """The reward `math` of a source folder, in a process of its own."""

    def __init__(self, source: Path, workers: int) -> None:
        env = {**os.environ, "PYTHONPATH": str(source)}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen([sys.executable, "-c", _JUDGE, str(workers)], env=env, cwd=ROOT, **pipes)

    def score(self, pairs: Sequence[Pair]) -> tuple[float, list[float | None]]:
        """Seconds of processor time, and the scores of pairs of completion and reference."""
        assert self._process.stdin
        assert self._process.stdout
        seconds, values = 0.0, list[float | None]()
        for start in range(0, len(pairs), BATCH):
            self._process.stdin.write(json.dumps(pairs[start : start + BATCH]) + "\n")
            self._process.stdin.flush()
            took, scores = json.loads(self._process.stdout.readline())
            seconds, values = seconds + took, values + scores
        return seconds, values

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def source_of(ref: str) -> Iterator[Path]:
    """The folder `src` of a commit, in a worktree that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "worktree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", place, ref], cwd=ROOT, check=True)
        try:
            yield place / "src"
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", place], cwd=ROOT, check=True)


def compare_with_ref(args: argparse.Namespace) -> dict[str, Any]:
    """Precision, recall and speed of the present code and of a commit, and the speed of the one over that of the other."""
    named = subprocess.run(["git", "rev-parse", "--short", args.against], cwd=ROOT, capture_output=True, text=True)
    with source_of(args.against) as source:
        judges = {"present": Judge(ROOT / "src", args.workers), "before": Judge(source, args.workers)}
        rows = {name: {"code": name, **accuracy(judge)} for name, judge in judges.items()}
        ratios = {}
        for kind, make, count in (("gsm8k", gsm8k_pair, 10 * args.pairs), ("latex", latex_pair, args.pairs)):
            seconds: dict[str, list[float]] = {name: [] for name in judges}
            for repeat in range(args.repeats + 1):
                pairs = [(boxed(answer), ref) for ref, answer in different(make, count, seed=repeat)]
                for name in sorted(judges, reverse=repeat % 2 == 1):
                    seconds[name].append(judges[name].score(pairs)[0])
            for name, taken in seconds.items():
                rows[name][kind] = round(count / statistics.median(taken[1:]), 1)
            both = zip(seconds["before"][1:], seconds["present"][1:], strict=True)
            ratios[kind] = round(statistics.median(before / present for before, present in both), 2)
        for judge in judges.values():
            judge.close()
    return {"commit": named.stdout.strip(), "sides": list(rows.values()), "ratio": ratios}


def accuracy(judge: Judge) -> dict[str, Any]:
    """How many labelled pairs are paid, and how many of them rightly."""
    rows = list(read_jsonl(ROOT / "tests" / "cases" / "math_pairs.jsonl"))
    _, values = judge.score([(row["completion"], row["answer"]) for row in rows])
    paid = [row["label"] for row, value in zip(rows, values, strict=True) if value == 1.0]
    right = sum(row["label"] for row in rows)
    return {
        "labelled": len(rows),
        "right": right,
        "paid": len(paid),
        "precision": round(sum(paid) / len(paid), 4),
        "recall": round(sum(paid) / right, 4),
    }


def math_verify_says(reference: str, answer: str) -> bool:
    from math_verify import parse, verify

    gold, found = (parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (reference, answer))
    return bool(verify(gold, found, timeout_seconds=None))


def rewarded(reward: Math, pairs: list[Pair]) -> list[float | None]:
    samples = [Sample("question", boxed(answer), reference) for reference, answer in pairs]
    scores = []
    for start in range(0, len(samples), BATCH):
        scores += reward.score_batch(samples[start : start + BATCH])
    return [score.value for score in scores]


def boxed(answer: str) -> str:
    return f"So it is \\boxed{{{answer}}}."


def different(make: Callable[[random.Random], Pair], count: int, seed: int) -> list[Pair]:
    generator = random.Random(seed)
    pairs: dict[Pair, None] = {}
    while len(pairs) < count:
        pairs[make(generator)] = None
    return list(pairs)


def gsm8k_pair(generator: random.Random) -> Pair:
    value = generator.choice([generator.randint(1, 99), generator.randint(100, 9999), generator.randint(10**4, 10**6)])
    found = value if generator.random() < 0.5 else value + generator.randint(1, 20)
    forms = ("{0}", "{0}", "{0:,}", "${0}", "\\${0:,}", "{0}.00", "{0} \\text{{ dollars}}", "{0}.5")
    return f"{value:,}" if generator.random() < 0.3 else str(value), generator.choice(forms).format(found)


LATEX: tuple[tuple[str, str], ...] = (
    ("\\frac{{{a}}}{{{b}}}", "\\dfrac{{{a}}}{{{b}}}"),
    ("{a}\\sqrt{{{b}}}", "{a} \\sqrt{{{b}}}"),
    ("\\frac{{{a}\\pi}}{{{b}}}", "\\frac{{{a}}}{{{b}}}\\pi"),
    ("\\frac{{{a}+\\sqrt{{{b}}}}}{{2}}", "\\frac{{\\sqrt{{{b}}}+{a}}}{{2}}"),
    ("x^2+{a}x+{b}", "{b}+{a}x+x^2"),
    ("(x+{a})(x-{b})", "(x-{b})(x+{a})"),
    ("[{a},\\infty)", "\\left[{a},\\infty\\right)"),
    ("(-\\infty,-{a}]\\cup[{b},\\infty)", "(-\\infty, -{a}] \\cup [{b}, \\infty)"),
    ("({a},-{b})", "\\left({a}, -{b}\\right)"),
    ("\\begin{{pmatrix}}{a}&1\\\\0&{b}\\end{{pmatrix}}", "\\begin{{pmatrix}} {a} & 1 \\\\ 0 & {b} \\end{{pmatrix}}"),
    ("\\log_{{2}}{{{a}}}+{b}", "{b}+\\log_{{2}}{{{a}}}"),
    ("y={a}x+{b}", "y = {a}x + {b}"),
    ("{a}^{{\\circ}}", "{a}"),
    ("\\sin({a}x)+{b}", "{b}+\\sin({a}x)"),
)


def latex_pair(generator: random.Random) -> Pair:
    """Right in half of the pairs; half of the right ones are written as the reference is."""
    first, second = generator.choice(LATEX)
    a, b = generator.randint(2, 60), generator.choice([2, 3, 5, 6, 7, 11, 13, 17])
    chance = generator.random()
    reference = first.format(a=a, b=b)
    if chance < 0.25:
        return reference, reference
    if chance < 0.5:
        return reference, second.format(a=a, b=b)
    return reference, generator.choice((first, second)).format(a=a + generator.randint(1, 5), b=b)


PIECES = (
    *"0123456789+-*/^_=(){}[]<>,.;:!?|&%$#~ \n\\abexyzAB",
    "\\frac", "\\sqrt", "\\boxed{", "\\text{", "\\left(", "\\right)", "\\pi", "\\infty", "\\cup", "\\pm", "\\begin{matrix}",
    "\\int", "\\sum_", "\\log", "^{", "####", "<answer>", "</answer>", " or ", " and ", "answer: ", "\u2212", "\u00b0",
    "\ud800", "\u221a", "\x00", "10^{10}", "9^9^9", "!!",
)  # fmt: skip


def fuzz(args: argparse.Namespace) -> dict[str, object]:
    """Random strings as answers: how many were judged, and the slowest batch."""
    reward = Math(workers=args.workers, timeout=2.0)
    generator = random.Random(0)
    judged, slowest = {"1": 0, "0": 0, "None": 0, "late": 0, "died": 0}, 0.0
    for _ in range(0, args.fuzz, BATCH):
        texts = ["".join(generator.choices(PIECES, k=generator.randint(1, 24))) for _ in range(BATCH)]
        samples = [
            Sample("q", text if n % 2 else f"\\boxed{{{text}}}", ("7", "\\frac{1}{2}", "x^2", "(1,2)")[n % 4])
            for n, text in enumerate(texts)
        ]
        start = time.perf_counter()
        for score in reward.score_batch(samples):
            judged["None" if score.value is None else f"{score.value:g}"] += 1
            judged["late"] += "longer" in (score.note or "")
            judged["died"] += "survive" in (score.note or "")
        slowest = max(slowest, time.perf_counter() - start)
    return {"strings": args.fuzz, "outcomes": judged, "slowest_batch_seconds": round(slowest, 2)}


if __name__ == "__main__":
    main()
