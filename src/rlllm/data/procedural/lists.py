"""The dataset `lists`: transform a list of letters or digits (sort, reverse, rotate, drop repeats).

Level 1: one operation on four items; 2: one on six; 3: two operations on six; 4: three operations on eight.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from rlllm.data.procedural.problems import Problem, Solution
from rlllm.data.procedural.procedural_task import ProceduralTask

_ALPHABETS = ("abcdefgh", "123456789")
_SHAPES = {1: (1, 4), 2: (1, 6), 3: (2, 6), 4: (3, 8)}
"""Level -> number of operations, number of items."""
_Items = tuple[str, ...]
OPERATIONS: dict[str, Callable[[_Items], _Items]] = {
    "sort": lambda items: tuple(sorted(items)),
    "reverse": lambda items: items[::-1],
    "rotate": lambda items: items[1:] + items[:1],
    "dedupe": lambda items: tuple(dict.fromkeys(items)),
}
WORDINGS = {
    "sort": "sort",
    "reverse": "reverse",
    "rotate": "move the first to the end of",
    "dedupe": "drop repeats from",
}


def _draw(level: int, generator: random.Random) -> Problem:
    count, size = _SHAPES[level]
    names = generator.sample(tuple(OPERATIONS), count)
    alphabet = generator.choice(_ALPHABETS)
    items = tuple(generator.choice(alphabet) for _ in range(size))
    order = ", then ".join(WORDINGS[name] for name in names)
    return Problem(
        task="lists",
        level=level,
        key=f"lists {' '.join(names)} {' '.join(items)}",
        prompt=f"{order[0].upper()}{order[1:]}: {' '.join(items)}",
        answer=" ".join(_results(items, names)[-1]),
        solve=partial(_solve, items, names),
    )


def _results(items: _Items, names: list[str]) -> list[_Items]:
    results = [items]
    for name in names:
        results.append(OPERATIONS[name](results[-1]))
    return results[1:]


def _solve(items: _Items, names: list[str], generator: random.Random, slip: bool) -> Solution:
    results = _results(items, names)
    if slip:
        results[-1] = _disturb(results[-1], generator)
    steps = [
        (f"{name}: {' '.join(result)}", f"After the {name} it is {' '.join(result)}.")
        for name, result in zip(names, results, strict=True)
    ]
    return Solution(tuple(steps), " ".join(results[-1]))


def _disturb(items: _Items, generator: random.Random) -> _Items:
    """The list with two different neighbours exchanged, or without its last item where all are equal."""
    places = [place for place in range(len(items) - 1) if items[place] != items[place + 1]]
    if not places:
        return items[:-1] or (*items, *items)
    place = generator.choice(places)
    return (*items[:place], items[place + 1], items[place], *items[place + 2 :])


lists = ProceduralTask(
    name="lists",
    tiers={level: partial(_draw, level) for level in _SHAPES},
    default_level=1,
    rewards=("exact",),
)
