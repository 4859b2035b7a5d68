"""The order of a pipeline's steps: a step begins once all that it needs are done.

Of those that may begin, the first in the file does, so that the order is always the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from rlllm.core.errors import ConfigError


def in_order(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The names so that each stands after those that it needs.

    Args:
        needs: name of a step -> names of the steps that it needs, in the order of the file.

    Raises:
        ConfigError: some need each other in a circle.
    """
    graph = TopologicalSorter(needs)
    try:
        graph.prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        raise ConfigError(
            "steps need each other in a circle",
            given=", ".join(f"{step} needs {needed}" for step, needed in pairwise(circle)),
            hint="a step without `needs` needs the one before it in the file; `needs: []` lets it begin at once",
        ) from error
    place = {name: number for number, name in enumerate(needs)}
    ordered: list[str] = []
    ready: list[str] = []
    while graph.is_active():
        ready = sorted([*ready, *graph.get_ready()], key=place.__getitem__)
        ordered.append(ready.pop(0))
        graph.done(ordered[-1])
    return ordered


def before(name: str, needs: Mapping[str, Sequence[str]]) -> set[str]:
    """Every step that is done when this one begins because it needs it, or something that does."""
    found: set[str] = set()
    rest = list(needs[name])
    while rest:
        needed = rest.pop()
        if needed not in found:
            found.add(needed)
            rest += needs[needed]
    return found
