"""The dataset `maze`: rooms with doors between them, and a room to be found, for the environment of that name.

As `PromptTask` a row is one maze. As `Conversation` it is one turn of a walk through it: the prompt holds all turns so far, the
completion is the next move in the syntax of the model `nano`. Walkers take a wrong door now and then, so that reinforcement
learning can improve on them. No beginning of a maze is in both splits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from pydantic import Field

from rlllm.core.records import Conversation, Message, PromptTask, Record
from rlllm.data.procedural.problems import level_of, stream
from rlllm.data.procedural.procedural_task import ProceduralParams, parse_params
from rlllm.data.procedural.tool_tasks import player
from rlllm.data.request import DataRequest

DIRECTIONS: Mapping[str, tuple[int, int]] = {"north": (0, -1), "south": (0, 1), "east": (1, 0), "west": (-1, 0)}
"""Name -> change of column and row."""
FOUND, OVER = "found", "over"
"""What is said in the room that is looked for, and after the last move elsewhere."""
_LEVELS = {1: (3, 3, 2), 2: (4, 3, 2), 3: (4, 4, 3)}
"""Level -> columns, rows, and moves beyond the shortest way."""
_NEAREST = 2
"""Moves from the start to the room, at least."""
_EXTRA_DOORS = 0.3
"""Share of walls that get a door after every room can be reached."""


@dataclass(frozen=True)
class Maze:
    """Rooms, named by column and row (`B3`), and the doors of each.

    Args:
        doors: room -> direction -> the room behind the door.
        start, goal: rooms.
        moves: moves until the game is over.
    """

    doors: Mapping[str, Mapping[str, str]]
    start: str
    goal: str
    moves: int

    @property
    def prompt(self) -> str:
        """What is told at the start."""
        return f"Find {self.goal} in {self.moves} moves. You are in {look(self.start, self.doors[self.start])}"

    @property
    def key(self) -> str:
        """What decides the split: all that is known before the first move."""
        return f"maze {self.prompt}"


class _MazeParams(ProceduralParams):
    """Parameters of the walks."""

    attentive: float = Field(0.7, ge=0, le=1)
    """Share of moves along a shortest way; the others are through any door."""


class _MazeTask:
    """Find a room. Level 1: nine rooms; level 2: twelve; level 3: sixteen."""

    rewards = ("environment",)

    def __call__(self, request: DataRequest) -> list[Record]:
        params = parse_params(_MazeParams, request.params)
        level = level_of(request, "maze", 1, max(_LEVELS))
        columns, rows, spare = _LEVELS[level]
        mazes = stream(
            lambda generator: _draw(generator, columns, rows, spare),
            request.split,
            f"maze {level} {request.split} {request.seed}",
        )
        tasks = ((_task(maze, level), maze) for maze in mazes)
        if request.kind is PromptTask:
            return [task for task, _ in islice(tasks, request.rows)]
        generator = player("maze", request)
        turns = (turn for task, maze in tasks for turn in _walked(task, maze, generator, params.attentive))
        return list(islice(turns, request.rows))


def look(room: str, doors: Sequence[str] | Mapping[str, str]) -> str:
    """What is seen in a room."""
    return f"{room}: {', '.join(doors)}"


def distances(doors: Mapping[str, Mapping[str, str]], goal: str) -> dict[str, int]:
    """Moves from each room to the goal. Doors open both ways."""
    found, waiting = {goal: 0}, [goal]
    for room in waiting:
        for other in doors[room].values():
            if other not in found:
                found[other] = found[room] + 1
                waiting.append(other)
    return found


def _draw(generator: random.Random, columns: int, rows: int, spare: int) -> Maze:
    """A random tree over the rooms, some more doors, and two rooms that are far enough from each other."""
    names = {(x, y): f"{chr(ord('A') + x)}{y + 1}" for x in range(columns) for y in range(rows)}
    walls = [
        ((x, y), direction)
        for x, y in names
        for direction in ("south", "east")
        if (x + DIRECTIONS[direction][0], y + DIRECTIONS[direction][1]) in names
    ]
    generator.shuffle(walls)
    part = {place: place for place in names}
    opened: dict[str, dict[str, str]] = {name: {} for name in names.values()}
    for (x, y), direction in walls:
        across = (x + DIRECTIONS[direction][0], y + DIRECTIONS[direction][1])
        joins = _root(part, (x, y)) != _root(part, across)
        if joins or generator.random() < _EXTRA_DOORS:
            part[_root(part, (x, y))] = _root(part, across)
            back = {"south": "north", "east": "west"}[direction]
            opened[names[x, y]][direction] = names[across]
            opened[names[across]][back] = names[x, y]
    doors = {room: {name: ways[name] for name in DIRECTIONS if name in ways} for room, ways in opened.items()}
    goal = generator.choice(list(doors))
    far = distances(doors, goal)
    start = generator.choice([room for room in doors if far[room] >= min(_NEAREST, max(far.values()))])
    return Maze(doors, start, goal, far[start] + spare)


def _root(part: dict[tuple[int, int], tuple[int, int]], place: tuple[int, int]) -> tuple[int, int]:
    while part[place] != place:
        place = part[place]
    return place


def _task(maze: Maze, level: int) -> PromptTask:
    columns = {"doors": {room: dict(ways) for room, ways in maze.doors.items()}, "start": maze.start, "goal": maze.goal}
    return PromptTask(maze.prompt, None, {"task": "maze", "level": level, **columns, "moves": maze.moves})


def _walked(task: PromptTask, maze: Maze, generator: random.Random, attentive: float) -> Iterator[Conversation]:
    """The turns of one walk, and a last word."""
    far, room = distances(maze.doors, maze.goal), maze.start
    turns: list[Message] = [{"role": "user", "content": str(task.prompt)}]
    for left in reversed(range(maze.moves)):
        ways = maze.doors[room]
        nearer = [way for way, behind in ways.items() if far[behind] < far[room]]
        way = generator.choice(nearer if generator.random() < attentive else list(ways))
        call = f"<<go direction={way}>>"
        yield Conversation(list(turns), call, dict(task.meta))
        room = ways[way]
        reply = FOUND if room == maze.goal else look(room, maze.doors[room]) if left else OVER
        turns += [{"role": "assistant", "content": call}, {"role": "tool", "content": reply}]
        if room == maze.goal:
            break
    yield Conversation(turns, "done", dict(task.meta))


maze = _MazeTask()
