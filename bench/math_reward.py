r"""Pairs a second of the reward `math` against math-verify in one process, on the same pairs, and whether they agree.

    python bench/math_reward.py [--pairs 400] [--workers 2] [--repeats 3] [--fuzz 0] [--output FILE]

Two sets of (reference, answer), each pair different: GSM8K-like (integers, thousands, money, decimals, units) and
LaTeX-heavy (fractions, roots, polynomials, intervals, matrices, logarithms), right in about half of the pairs. math-verify
parses both sides and compares them, without time limits; the reward gets the pairs as marked completions in batches of 64,
with every deadline on. The two take turns, each repeat has pairs of its own, and the median counts. One more set of each
warms both up. `--fuzz 10000` scores that many random strings instead, and counts crashes and the slowest batch.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

from results_file import add_output, write_results

from rlllm.core.records import Sample
from rlllm.rewards.math.reward import Math

Pair = tuple[str, str]
BATCH = 64
GOALS = {"gsm8k": 10.0, "latex": 1.8}


def main() -> None:
    args = arguments()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    report: dict[str, Any] = fuzz(args) if args.fuzz else {name: compare(name, args) for name in GOALS}
    print(json.dumps(report, indent=1))
    if not args.fuzz:
        rows = [{"pairs": name, **row} for name, row in report.items()]
        write_results(args.output, {"pairs": rows}, sources=["src/rlllm/rewards/math", "src/rlllm/parsing"])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fuzz", type=int, default=0)
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


def math_verify_says(reference: str, answer: str) -> bool:
    from math_verify import parse, verify

    gold, found = (parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (reference, answer))
    return bool(verify(gold, found, timeout_seconds=None))


def rewarded(reward: Math, pairs: list[Pair]) -> list[float | None]:
    samples = [Sample("question", f"So it is \\boxed{{{answer}}}.", reference) for reference, answer in pairs]
    scores = []
    for start in range(0, len(samples), BATCH):
        scores += reward.score_batch(samples[start : start + BATCH])
    return [score.value for score in scores]


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
