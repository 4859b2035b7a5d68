"""SIGKILL at a random moment of a process that runs a run, and how such moments are drawn."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from rlllm.core.runs import MANIFEST

PARTS = ("start", "measuring", "step", "checkpoint", "end")
"""Parts of a run's life, each as likely as another: loading; measures and evaluations; training; a checkpoint being written;
saving the model and writing the verdict."""
_LOOK_SECONDS = 0.002
Event = tuple[str, str, int]
"""Place of the run inside the run, what begins, and the last step before."""
_BIRTH: Event = (".", "start", 0)


def part_of(event: Event) -> str:
    """The part of `PARTS` that an event begins."""
    name = event[1]
    if name in ("start", "loading"):
        return "start"
    if name in ("saving", "finished"):
        return "end"
    if name in ("step", "training", "checkpoint"):
        return "checkpoint" if name == "checkpoint" else "step"
    return "measuring"


@dataclass
class Life:
    """What a process did: its events with the seconds since its start, and how it ended."""

    events: list[tuple[float, Event]] = field(default_factory=lambda: [(0.0, _BIRTH)])
    seconds: float = 0.0
    code: int | None = None
    """Exit code; -9 of one that was killed."""
    errors: str = ""
    """The last lines that it printed."""

    @property
    def last(self) -> Event:
        return self.events[-1][1]

    def spans(self) -> Iterator[tuple[Event, float]]:
        """Each event and the seconds until the next."""
        ends = [*(start for start, _ in self.events[1:]), self.seconds]
        for (start, event), end in zip(self.events, ends, strict=True):
            yield event, end - start


@dataclass(frozen=True)
class Moment:
    """When to kill: so many seconds after an event, or after the first that comes later in a run's life."""

    event: Event
    delay: float


class Moments:
    """Random moments in the life of a run that ended by itself.

    First the part of `PARTS` is drawn, then one of its events, then a time until the next event.
    """

    def __init__(self, life: Life, random: Random) -> None:
        self.spans = list(life.spans())
        self.order = {event: number for number, (event, _) in enumerate(self.spans)}
        self._random = random

    def draw(self, count: int) -> list[Moment]:
        """So many moments, in the order in which a run meets them. Every start has a start: those come anywhere between."""
        drawn = [self.one() for _ in range(count)]
        later = sorted((moment for moment in drawn if part_of(moment.event) != "start"), key=self._place)
        for moment in drawn:
            if part_of(moment.event) == "start":
                later.insert(self._random.randint(0, len(later)), moment)
        return later

    def one(self, parts: Sequence[str] = PARTS) -> Moment:
        there = [part for part in parts if any(part_of(event) == part for event, _ in self.spans)]
        part = self._random.choice(there)
        event, seconds = self._random.choice([span for span in self.spans if part_of(span[0]) == part])
        return Moment(event, self._random.uniform(0, seconds))

    def _place(self, moment: Moment) -> tuple[int, float]:
        return self.order[moment.event], moment.delay


def live(
    words: Sequence[str], run: Path, log: Path, cache: Path, order: dict[Event, int], until: Moment | None
) -> Life:
    """Start a process of `resume_proof.process` and wait for its end, or kill it.

    Args:
        words: its stage, file of settings and run directory.
        run: the run directory.
        log: what it prints is added there.
        cache: its user cache, so that nothing comes from another run.
        order: place of each event in the life of a whole run.
        until: when to kill it; None lets it end.
    """
    life = Life()
    began = time.monotonic()
    due = began + until.delay if until and until.event == _BIRTH else None
    with _process(words, log, cache) as (process, events):
        watch = _Watch(run)
        while process.poll() is None:
            if due is not None and time.monotonic() >= due:
                process.kill()
                break
            for event in (*_read(events, _wait(due)), *watch.begun()):
                life.events.append((time.monotonic() - began, event))
                if until and due is None and order.get(event, -1) >= order[until.event]:
                    due = time.monotonic() + until.delay
        life.code = process.wait()
        life.seconds = time.monotonic() - began
        life.events += [(life.seconds, event) for event in _read(events, 0.0)] if life.code >= 0 else []
    life.errors = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
    return life


def _wait(due: float | None) -> float:
    return _LOOK_SECONDS if due is None else max(0.0, min(_LOOK_SECONDS, due - time.monotonic()))


@contextmanager
def _process(words: Sequence[str], log: Path, cache: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process and the end of a pipe with its events. It does not outlive the block."""
    reading, writing = os.pipe()
    stage, settings, run, *rest = words
    command = [sys.executable, "-m", "rlllm.tools.resume_proof.process", stage, settings, run, str(writing), *rest]
    environment = {**os.environ, "RLLLM_CACHE": str(cache)}
    with log.open("ab") as printed:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, env=environment, pass_fds=(writing,)
        )
    os.close(writing)
    try:
        yield process, reading
    finally:
        process.kill()
        process.wait()
        os.close(reading)


def _read(events: int, seconds: float) -> list[Event]:
    """The events that came, after a wait of at most so long. Each line is written at once, and so is never half."""
    if not select.select([events], [], [], seconds)[0]:
        return []
    lines = os.read(events, 65536).decode().splitlines()
    if not lines:  # its end is closed: the process ends
        time.sleep(seconds)
    return [(place, name, step) for place, name, step in map(json.loads, lines)]


class _Watch:
    """Sees checkpoints begin: folders without a manifest that were not there, or not touched, before."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.since = time.time_ns()
        self.seen: set[Path] = set()

    def begun(self) -> Iterator[Event]:
        for folder in self.run.glob("checkpoints/checkpoint-*"):
            if folder not in self.seen and self._is_written_to(folder):
                self.seen.add(folder)
                yield ".", "checkpoint", int(folder.name.rpartition("-")[2])

    def _is_written_to(self, folder: Path) -> bool:
        try:
            return folder.stat().st_mtime_ns >= self.since and not (folder / MANIFEST).exists()
        except OSError:  # removed by save_total_limit
            return False
