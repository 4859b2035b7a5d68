"""The dataset `physics`: questions about scenes of ten families, levels 1 to 4, with the columns of the reward `physics`.

The splits differ in their numbers: the hash of a question's numbers decides its split, so that train and holdout share the
families and no scene. With `holdout_families` the held-out split has questions of these families, and the other one none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import count, cycle, islice
from typing import Any, ClassVar

from pydantic import Field, model_validator

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, PromptTask, Record
from rlllm.data.procedural.physics.families import FAMILIES, HIGHEST_LEVEL, SHORT_LEVEL, SceneParams, setup_of
from rlllm.data.procedural.physics.questions import MAKERS, Question, motion, symbolic
from rlllm.data.procedural.physics.scene import Setup
from rlllm.data.procedural.problems import levels_of, split_of
from rlllm.data.procedural.procedural_task import parse_params, without_levels
from rlllm.data.request import DataRequest, Split

_PATIENCE = 200
"""Draws in a row without a new question after which a setup has no more."""


class PhysicsParams(SceneParams):
    """What `data.params` may hold."""

    holdout_families: tuple[str, ...] = ()
    """Families of the held-out split alone, which has no others then: does a skill carry over to another law?"""
    reverse: float = Field(0.3, ge=0, le=1)
    """Share of questions that hide a given number and tell what follows."""
    symbolic: float = Field(0.0, ge=0, le=1)
    """Share of questions for a formula of what follows."""
    trajectory: float = Field(0.0, ge=0, le=1)
    """Share of questions for the states at some times, of scenes in which something moves."""
    motion: float = Field(0.0, ge=0, le=1)
    """Share of questions for the formula of a motion in time. The rest of all questions ask for a number that follows."""
    redraw: int = Field(0, ge=0, le=100)
    """With k: rows of k draws of numbers, as many of each and no question twice; the column `redraw` has the draw."""

    @model_validator(mode="after")
    def _shares(self) -> PhysicsParams:
        total = self.reverse + self.symbolic + self.trajectory + self.motion
        if total > 1 + 1e-9:
            raise ConfigError(
                "the shares of reverse, symbolic, trajectory and motion questions are more than 1 together", given=total
            )
        if not self.families:
            raise ConfigError("physics needs a family", exists=list(FAMILIES))
        return self

    def of_split(self, split: Split) -> list[str]:
        """Families of a split. Raises ConfigError where none are left to train on."""
        if not self.holdout_families:
            return list(self.families)
        if split == "holdout":
            return list(self.holdout_families)
        rest = [name for name in self.families if name not in self.holdout_families]
        if not rest:
            raise ConfigError("holdout_families leaves no family to train on", given=list(self.holdout_families))
        return rest

    def shares(self) -> dict[str, float]:
        """Kind of question -> its share, without those that have none."""
        shares = {kind: getattr(self, kind) for kind in ("reverse", "symbolic", "trajectory", "motion")}
        shares = {"forward": max(0.0, 1.0 - sum(shares.values())), **shares}
        return {kind: share for kind, share in shares.items() if share > 1e-9}


class _Physics:
    """Dataset callable. `physics:1-4` takes questions of levels 1 to 4 in turn."""

    argument: ClassVar[str] = "levels"
    rewards = ("physics",)

    def __call__(self, request: DataRequest) -> list[Record]:
        """Rows with the columns `task`, `level`, `family`, `kind` and those that the reward reads.

        Raises:
            ConfigError: a parameter or a level that does not exist.
            DataError: another record type than prompts or conversations.
        """
        if request.kind not in (PromptTask, Conversation):
            raise DataError(f"physics makes no {request.kind.__name__} records", exists=["PromptTask", "Conversation"])
        params = parse_params(PhysicsParams, without_levels(request.params))
        levels = levels_of(request, "physics", SHORT_LEVEL, HIGHEST_LEVEL)
        questions = _questions(params, levels, request.split, str(request.seed))
        return [
            _record(level, question, request.kind, {"redraw": number % params.redraw} if params.redraw else {})
            for number, (level, question) in enumerate(islice(questions, request.rows))
        ]


def _questions(params: PhysicsParams, levels: Sequence[int], split: Split, seed: str) -> Iterator[tuple[int, Question]]:
    """Level and question, with kinds by their shares and levels in turn; ends where a kind has no more."""
    setups = {level: [setup_of(name, level) for name in params.of_split(split)] for level in levels}
    shares, generator = params.shares(), random.Random(f"physics kinds {split} {seed}")
    every = split == "holdout" and bool(params.holdout_families)
    streams = {
        (kind, level): _stream(kind, setups[level], params, None if every else split, f"{kind} {level} {split} {seed}")
        for kind in shares
        for level in levels
    }
    for number in count():
        level = levels[number % len(levels)]
        while open_kinds := [kind for kind in shares if (kind, level) in streams]:
            kind = generator.choices(open_kinds, [shares[kind] for kind in open_kinds])[0]
            question = next(streams[kind, level], None)
            if question is not None:
                yield level, question
                break
            del streams[kind, level]
        if not streams:
            return


def _stream(
    kind: str, setups: Sequence[Setup], params: PhysicsParams, split: Split | None, seed: str
) -> Iterator[Question]:
    """Questions of one kind, of all setups by chance; one that has no more drops out. `split` None takes those of any split."""
    generator = random.Random(f"physics {seed}")
    if kind in ("symbolic", "motion"):
        yield from _formulas(kind, setups, params, split, generator)
        return
    open_setups = {setup: _of_setup(kind, setup, params, split, generator) for setup in setups}
    while open_setups:
        setup = generator.choice(tuple(open_setups))
        question = next(open_setups[setup], None)
        if question is None:
            del open_setups[setup]
        else:
            yield question


def _of_setup(
    kind: str, setup: Setup, params: PhysicsParams, split: Split | None, generator: random.Random
) -> Iterator[Question]:
    """Different questions about scenes of a setup; in the training split they start over once all are used."""
    if kind == "reverse" and not setup.hidden:
        return
    seen: set[str] = set()
    misses = 0
    while misses < _PATIENCE:
        question = MAKERS[kind](setup.draw(generator), generator, short=params.is_short(setup.level))
        if question is None or question.prompt in seen or (split is not None and split_of(question.key) != split):
            misses += 1
            if misses == _PATIENCE and split == "train" and seen:
                seen.clear()
                misses = 0
            continue
        misses = 0
        seen.add(question.prompt)
        yield question


def _formulas(
    kind: str, setups: Sequence[Setup], params: PhysicsParams, split: Split | None, generator: random.Random
) -> Iterator[Question]:
    """Questions without numbers: a few for each setup, in the training split again and again."""
    if kind == "motion":
        every = [motion(setup) for setup in setups]
    else:
        every = [
            symbolic(setup, symbol, short=params.is_short(setup.level))
            for setup in setups
            for symbol in setup.symbols_asked
            if symbol in setup.closed_forms
        ]
    questions = [part for part in every if part is not None and (split is None or split_of(part.key) == split)]
    generator.shuffle(questions)
    yield from cycle(questions) if split == "train" else questions


def _record(level: int, question: Question, kind: type[Record], extra: dict[str, Any]) -> Record:
    meta = {"task": "physics", "level": level, **question.meta, **extra}
    if kind is Conversation:
        return Conversation(question.prompt, question.solution, {**meta, "answer": question.answer})
    return PromptTask(question.prompt, question.answer, {**meta, "solution": question.solution})


physics = _Physics()
