"""The datasets `calculator`, `guess` and `search`: tasks of environments, and transcripts that show how to call their tools.

As `PromptTask` a row is one problem. As `Conversation` it is one turn of a solved problem: the prompt holds all turns so far,
the completion is the model's next turn, with calls in the syntax of the model `nano`. The transcripts contain mistakes at set
rates, so that reinforcement learning can improve on them. No prompt is in both splits.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from itertools import islice

from pydantic import Field

from rlllm.core.errors import DataError
from rlllm.core.records import Conversation, Message, PromptTask, Record
from rlllm.data.procedural.arithmetic import arithmetic
from rlllm.data.procedural.gazetteer import gazetteer
from rlllm.data.procedural.problems import level_of, split_of, stream
from rlllm.data.procedural.procedural_task import ProceduralParams, parse_params
from rlllm.data.request import DataRequest, Split

_SPANS = {1: (3, 2), 2: (7, 3)}
"""Level of the guessing game -> how many numbers are possible, and guesses; halving the range always finds the number."""
_QUESTIONS = {
    1: "Where was {person} born?",
    2: "In which country was {person} born?",
    3: "Which money has the country where {person} was born?",
}
_EXPRESSION = re.compile(r"\d[\d+*/ -]*")


class _CalculatorParams(ProceduralParams):
    """Parameters of the calculator's transcripts."""

    calls: float = Field(0.5, ge=0, le=1)
    """Share of transcripts that use the tool; the others answer at once, and wrongly."""


class _GuessParams(ProceduralParams):
    """Parameters of the guessing game's transcripts."""

    attentive: float = Field(0.9, ge=0, le=1)
    """Share of later guesses that use the earlier replies; the others are drawn from the full range."""


class _SearchParams(ProceduralParams):
    """Parameters of the transcripts of searches."""

    searches: float = Field(0.5, ge=0, le=1)
    """Share of transcripts that search before they answer; the others guess."""


class _CalculatorTask:
    """Arithmetic (default level 5, products) to be worked out with a tool."""

    rewards = ("exact",)

    def __call__(self, request: DataRequest) -> list[Record]:
        params = parse_params(_CalculatorParams, request.params)
        level = level_of(request, "calculator", 5, max(arithmetic.tiers))
        problems = stream(arithmetic.tiers[level], request.split, f"calculator {level} {request.split} {request.seed}")
        if request.kind is PromptTask:
            return [
                PromptTask(problem.prompt, problem.answer, problem.meta) for problem in islice(problems, request.rows)
            ]
        generator = player("calculator", request)
        turns = (
            turn
            for problem in problems
            for turn in _worked(str(problem.prompt), problem.answer, generator, params.calls)
        )
        return list(islice(turns, request.rows))


class _GuessTask:
    """Which number is hidden? Level 1: one of 3 in 2 guesses; level 2: one of 7 in 3 guesses."""

    rewards = ("environment",)

    def __call__(self, request: DataRequest) -> list[Record]:
        params = parse_params(_GuessParams, request.params)
        level = level_of(request, "guess", 1, max(_SPANS))
        tasks = _games(level, request.split, random.Random(f"guess {level} {request.split} {request.seed}"))
        if request.kind is PromptTask:
            return list(islice(tasks, request.rows))
        generator = player("guess", request)
        return list(islice((turn for task in tasks for turn in _played(task, generator, params)), request.rows))


class _SearchTask:
    """Where was somebody born (level 1), in which country (2), what is its money (3)? So many searches answer it."""

    rewards = ("exact",)

    def __call__(self, request: DataRequest) -> list[Record]:
        params = parse_params(_SearchParams, request.params)
        level = level_of(request, "search", 1, len(_QUESTIONS))
        tasks = _questions(level, request.split, random.Random(f"search {level} {request.split} {request.seed}"))
        if request.kind is PromptTask:
            return list(islice((task for task, _ in tasks), request.rows))
        generator = player("search", request)
        turns = (turn for task, path in tasks for turn in _searched(task, path, generator, params.searches))
        return list(islice(turns, request.rows))


def player(name: str, request: DataRequest) -> random.Random:
    """The generator of the moves of a transcript. Raises DataError where other records than conversations are wanted."""
    if request.kind is not Conversation:
        raise DataError(f"{name} makes no {request.kind.__name__} records", exists=["PromptTask", "Conversation"])
    return random.Random(f"{name} player {request.split} {request.seed}")


def _worked(prompt: str, answer: str, generator: random.Random, calls: float) -> Iterable[Conversation]:
    if generator.random() >= calls:
        wrong = str(int(answer) + generator.choice((-1, 1)) * generator.randint(1, 60))
        return [Conversation(prompt, f"#### {wrong}", {"answer": answer})]
    expression_match = _EXPRESSION.search(prompt)
    assert expression_match is not None
    expression = expression_match.group().replace(" ", "")
    call = f"<<calculate expression={expression}>>"
    turns = _turns(prompt, call, answer)
    return [
        Conversation(prompt, call, {"answer": answer}),
        Conversation(turns, f"#### {answer}", {"answer": answer}),
    ]


def _games(level: int, split: Split, generator: random.Random) -> Iterator[PromptTask]:
    """Games of one split, each with two-digit numbers of one decade; the held-out split ends when every one was given."""
    span, guesses = _SPANS[level]
    lows = [low for low in range(10, 100) if low % 10 + span <= 10 and split_of(f"guess {low}") == split]
    games = [(low, low + offset) for low in lows for offset in range(span)]
    while True:
        generator.shuffle(games)
        for low, secret in games:
            columns = {"task": "guess", "level": level, "secret": secret, "guesses": guesses}
            prompt = f"Guess my number: {', '.join(str(low + offset) for offset in range(span))}."
            yield PromptTask(prompt, None, {**columns, "low": low, "high": low + span - 1})
        if split == "holdout":
            return


def _played(task: PromptTask, generator: random.Random, params: _GuessParams) -> Iterator[Conversation]:
    """The turns of one game, and a last word."""
    low, high, secret = (int(task.meta[name]) for name in ("low", "high", "secret"))
    first, last = low, high
    turns: list[Message] = [{"role": "user", "content": str(task.prompt)}]
    for guesses_left in reversed(range(int(task.meta["guesses"]))):
        heeds = generator.random() < params.attentive
        number = generator.randint(low, high) if heeds else generator.randint(first, last)
        call = f"<<guess number={number}>>"
        yield Conversation(list(turns), call, dict(task.meta))
        reply = (
            "right" if number == secret else "over" if not guesses_left else "higher" if number < secret else "lower"
        )
        turns += [{"role": "assistant", "content": call}, {"role": "tool", "content": reply}]
        if number == secret or not guesses_left:
            break
        low, high = (max(low, number + 1), high) if reply == "higher" else (low, min(high, number - 1))
    yield Conversation(turns, "done", dict(task.meta))


def _questions(level: int, split: Split, generator: random.Random) -> Iterator[tuple[PromptTask, list[str]]]:
    """Questions about the people of one split, and the titles that lead to the answer; held out, there is one of each."""
    world = gazetteer()
    people = [person for person in world.people if split_of(f"search {person}") == split]
    while True:
        generator.shuffle(people)
        for person in people:
            town = world.people[person]
            country = world.towns[town]
            path = [person, town, country, world.currencies[country]]
            prompt = _QUESTIONS[level].format(person=person)
            yield PromptTask(prompt, path[level], {"task": "search", "level": level}), path[: level + 1]
        if split == "holdout":
            return


def _searched(task: PromptTask, path: list[str], generator: random.Random, searches: float) -> Iterator[Conversation]:
    """The turns of one question: each search finds what the next one looks for, and the last one the answer."""
    world = gazetteer()
    if generator.random() >= searches:
        kind = (world.people, world.towns, world.currencies)[len(path) - 2]
        yield Conversation(task.prompt, f"#### {generator.choice(list(kind.values()))}", dict(task.meta))
        return
    texts = {document.title: str(document) for document in world.documents}
    turns: list[Message] = [{"role": "user", "content": str(task.prompt)}]
    for title in path[:-1]:
        call = f"<<search query={title}>>"
        yield Conversation(list(turns), call, dict(task.meta))
        turns += [{"role": "assistant", "content": call}, {"role": "tool", "content": texts[title]}]
    yield Conversation(turns, f"#### {path[-1]}", dict(task.meta))


def _turns(prompt: str, call: str, result: str) -> list[Message]:
    roles = zip(("user", "assistant", "tool"), (prompt, call, result), strict=True)
    return [{"role": role, "content": content} for role, content in roles]


calculator = _CalculatorTask()
guess = _GuessTask()
search = _SearchTask()
