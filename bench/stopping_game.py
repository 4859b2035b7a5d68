"""Learned stopping on noisy votes, against dynamic programming.

    python bench/stopping_game.py --output docs/results/stopping-game.json

Each attempt is right with probability .62, and wrong ones agree; at most 6 attempts; the answer is the majority's. States,
values, prices and tables are the product's own. `outcome` is a softmax over (attempts, lead) that learns from the utility at
which its attempts end, relative to the group's mean; `hindsight` stops by the values fitted backward; `regret` by the average
policy of the table. Controls: the best fixed number of attempts, and the first attempt with a lead of 2. Utilities are exact.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable
from statistics import fmean
from typing import Any

from rlllm.evals.statistics.seeds import t_interval
from rlllm.rollouts.dialogue.regret import RegretTable, counted
from rlllm.rollouts.dialogue.stopping import Attempts, StopValues, attempts, visits_of

SOURCES = ["src/rlllm/rollouts/dialogue", "src/rlllm/parsing/dialogue_prompts.py", "src/rlllm/parsing/answers.py"]
RIGHT, WRONG = "#### 1", "#### 0"
P, MOST = 0.62, 6
PRICES = (0.01, 0.05, 0.15)
Stops = Callable[[str], bool]


def sampled(rng: random.Random, price: float) -> Attempts:
    """Six attempts at one problem."""
    texts = [RIGHT if rng.random() < P else WRONG for _ in range(MOST)]
    return attempts(texts, {RIGHT: True, WRONG: False}, price)


def exact(stops: Stops, price: float) -> tuple[float, float]:
    """Expected utility and number of attempts of a policy, over all sequences of votes."""
    utility = made = 0.0
    for number in range(2**MOST):
        votes = [bool(number >> place & 1) for place in range(MOST)]
        probability = P ** sum(votes) * (1 - P) ** (MOST - sum(votes))
        run = attempts([RIGHT if vote else WRONG for vote in votes], {RIGHT: True, WRONG: False}, price)
        at = run.stopped([stops(key) for key in run.keys])
        utility += probability * run.utilities[at]
        made += probability * (at + 1)
    return utility, made


def optimum(price: float) -> Stops:
    """The policy of dynamic programming, from the true chances of every sequence of votes."""
    runs: dict[str, list[tuple[float, Attempts, int]]] = {}
    for number in range(2**MOST):
        votes = [bool(number >> place & 1) for place in range(MOST)]
        probability = P ** sum(votes) * (1 - P) ** (MOST - sum(votes))
        run = attempts([RIGHT if vote else WRONG for vote in votes], {RIGHT: True, WRONG: False}, price)
        for at, key in enumerate(run.keys):
            runs.setdefault(key, []).append((probability, run, at))
    value: dict[str, float] = {}
    stopping: dict[str, bool] = {}
    for key in sorted(runs, key=lambda key: -int(key.partition("/")[0])):
        weight = sum(probability for probability, _, _ in runs[key])
        now = sum(probability * run.utilities[at] for probability, run, at in runs[key]) / weight
        last = int(key.partition("/")[0]) == MOST
        later = -math.inf if last else sum(p * value[run.keys[at + 1]] for p, run, at in runs[key]) / weight
        value[key], stopping[key] = max(now, later), now >= later
    return stopping.__getitem__


def by_regret(rng: random.Random, price: float, groups: int, size: int) -> Stops:
    table = RegretTable(span=1 + price * MOST)
    for _ in range(groups):
        visits = []
        for _ in range(size):
            run = sampled(rng, price)
            stops = [rng.random() < table.probability(key) for key in run.keys]
            visits += [
                (key, run.utilities[run.stopped(stops, at + 1)], run.utilities[at])
                for at, key in enumerate(run.keys[:-1])
            ]
        table.update(counted(visits))
    return lambda key: table.average(key) >= 0.5


def by_hindsight(rng: random.Random, price: float, groups: int, size: int) -> Stops:
    values = StopValues(MOST)
    for _ in range(groups):
        values.update(*visits_of([sampled(rng, price) for _ in range(size)]))
    return values.stops


def by_outcome(rng: random.Random, price: float, groups: int, size: int, rate: float = 0.5) -> Stops:
    logits: dict[str, float] = {}

    def probability(key: str) -> float:
        return 1 / (1 + math.exp(-logits.get(key, 0.0)))

    for _ in range(groups):
        rollouts = []
        for _ in range(size):
            run = sampled(rng, price)
            stops = [rng.random() < probability(key) for key in run.keys]
            at = run.stopped(stops)
            rollouts.append((run.utilities[at], run.keys[: min(at + 1, MOST - 1)], stops))
        mean = fmean(utility for utility, _, _ in rollouts)
        steps: dict[str, float] = {}
        for utility, passed, stops in rollouts:
            for key, stopped in zip(passed, stops, strict=False):
                steps[key] = steps.get(key, 0.0) + (utility - mean) * (stopped - probability(key)) / size
        for key, step in steps.items():
            logits[key] = logits.get(key, 0.0) + rate * step
    return lambda key: logits.get(key, 0.0) >= 0


def record(seeds: int, groups: int, size: int) -> dict[str, Any]:
    rows = []
    for price in PRICES:
        best, made = exact(optimum(price), price)
        learners = {"outcome": by_outcome, "hindsight": by_hindsight, "regret": by_regret}
        row: dict[str, Any] = {"price": price, "optimum": best, "attempts_of_optimum": made}
        for name, learn in learners.items():
            ends = [exact(learn(random.Random(f"{name} {seed}"), price, groups, size), price) for seed in range(seeds)]
            row[name] = t_interval([utility for utility, _ in ends]).to_json()
            row[f"attempts_{name}"] = fmean(number for _, number in ends)
            row[f"share_{name}"] = min(utility for utility, _ in ends) / best
        fixed = [
            exact(lambda key, most=most: int(key.partition("/")[0]) >= most, price)[0] for most in range(1, MOST + 1)
        ]
        row["fixed"], row["fixed_attempts"] = max(fixed), fixed.index(max(fixed)) + 1
        row["agreement"] = exact(lambda key: int(key.partition("/")[2]) >= 2, price)[0]
        row["all"] = fixed[-1]
        rows.append(row)
    return {
        "settings": {"seeds": seeds, "groups": groups, "group_size": size, "p": P, "attempts": MOST},
        "prices": rows,
    }


def main() -> None:
    from results_file import add_output, write_results

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--groups", type=int, default=2000)
    parser.add_argument("--group-size", type=int, default=16)
    add_output(parser)
    options = parser.parse_args()
    results = record(options.seeds, options.groups, options.group_size)
    for row in results["prices"]:
        print({name: value["estimate"] if isinstance(value, dict) else value for name, value in row.items()})
    write_results(options.output, results, sources=SOURCES, threads=1)


if __name__ == "__main__":
    main()
