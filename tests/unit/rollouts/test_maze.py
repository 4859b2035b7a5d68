"""The maze: every one can be walked, the environment says what the walks of the data show, and the reward is its own."""

from __future__ import annotations

import pytest

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.procedural.mazes import DIRECTIONS, distances, maze
from rlllm.data.request import DataRequest, Split
from rlllm.rollouts.environments.maze import MazeWalk


def tasks(level: int, split: Split = "train", count: int = 60) -> list[PromptTask]:
    return maze(DataRequest(kind=PromptTask, split=split, rows=count, seed=0, level=level))  # type: ignore[return-value]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_every_room_is_found_by_a_shortest_way_and_by_no_shorter_one(level: int) -> None:
    for task in tasks(level):
        far = distances(task.meta["doors"], task.meta["goal"])
        assert far.keys() == task.meta["doors"].keys()
        assert 2 <= far[task.meta["start"]] < task.meta["moves"]
        walk = MazeWalk()
        walk.reset(prompt=task.prompt, **task.meta)
        said = ""
        for _ in range(far[task.meta["start"]]):
            assert walk.get_reward() == 0
            ways = task.meta["doors"][walk.room]
            said = walk.go(next(way for way, room in ways.items() if far[room] < far[walk.room]))
        assert (said, walk.get_reward()) == ("found", 1)
        with pytest.raises(ValueError, match="the game is over"):
            walk.go("north")


def test_doors_lead_to_neighbours_and_back() -> None:
    for task in tasks(3):
        for room, ways in task.meta["doors"].items():
            for way, other in ways.items():
                dx, dy = DIRECTIONS[way]
                assert other == f"{chr(ord(room[0]) + dx)}{int(room[1:]) + dy}"
                assert room in task.meta["doors"][other].values()


def test_moves_are_counted_and_a_wall_costs_none() -> None:
    task = tasks(1)[0]
    walk = MazeWalk()
    walk.reset(**task.meta)
    wall = next(way for way in [*DIRECTIONS, "up"] if way not in task.meta["doors"][walk.room])
    with pytest.raises(ValueError, match=f"no door leads {wall} from {walk.room}: "):
        walk.go(wall)
    there = next(way for way, room in task.meta["doors"][walk.room].items() if room != task.meta["goal"])
    back = {"north": "south", "south": "north", "east": "west", "west": "east"}[there]
    said = [walk.go((there, back)[move % 2]) for move in range(task.meta["moves"])]
    assert said[-1] == "over"
    assert walk.get_reward() == 0
    assert all(": " in text for text in said[:-1])


def test_no_beginning_is_in_both_splits() -> None:
    prompts = [{task.prompt for task in tasks(1, split, 400)} for split in ("train", "holdout")]
    assert not prompts[0] & prompts[1]
    assert len(prompts[1]) > 90


@pytest.mark.parametrize("attentive", [1.0, 0.3])
def test_walks_show_what_the_environment_says(attentive: float) -> None:
    request = DataRequest(kind=Conversation, rows=300, seed=0, level=1, params={"attentive": attentive})
    ended = []
    for turn in maze(request):
        assert isinstance(turn, Conversation)
        walk = MazeWalk()
        walk.reset(**turn.meta)
        messages = turn.prompt if isinstance(turn.prompt, list) else []
        for call, result in zip(messages[1::2], messages[2::2], strict=True):
            assert walk.go(call["content"].removeprefix("<<go direction=").removesuffix(">>")) == result["content"]
        if turn.completion == "done":
            ended.append(walk.get_reward())
    assert sum(ended) > 0
    assert (sum(ended) == len(ended)) == (attentive == 1)
