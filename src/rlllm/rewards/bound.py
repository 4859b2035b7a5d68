"""A reward that is loaded, has its arguments, and can be called."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.records import Sample


@dataclass(frozen=True, slots=True)
class BoundReward:
    """A reward ready to be called. Exactly one of `score_sample` and `score_batch` is set.

    What they return is raw: a number, a `Score`, None, or anything else that a reward's author wrote; `score_parsing.scored`
    calls them and checks it. A reward that wraps another one (see `binding`) is given a `BoundReward` in place of its spec.
    """

    name: str
    """Display name, unique within a composition."""
    weight: float
    score_sample: Callable[[Sample], Any] | None
    """Scores one sample."""
    score_batch: Callable[[Sequence[Sample]], Any] | None
    """Scores several samples; returns one result for each, in order."""
    fingerprint: str
    """Hash of source code, arguments and weight."""
    target: Any = None
    """The function or instance behind the two callables, where it runs in this process."""
    release: Callable[[], None] | None = None
    """Frees what the reward loaded, where it loads something; it loads again when it is next called."""
    deadline: float | None = None
    """Seconds for one sample; None for a reward that runs in this process without a limit. See `isolation`."""
    concurrency: int = 1
    """Samples that `score_batch` awaits at once and that could also be given one by one; 1 where a batch belongs together."""
    verifies: bool | None = None
    """Whether its score says that a completion is right, as the reward declares it (see `binding`); None: not declared."""
    needs_answer: bool = False
    """Whether it judges by the row's answer alone, so that it can judge no row without one."""
    convention: str | None = None
    """The tool whose reward functions it is one of (see `other_tools`); None for rlllm's own."""
    process_id: Callable[[], int | None] = os.getpid
    """Process that the reward runs in; None while there is none."""
