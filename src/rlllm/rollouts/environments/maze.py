"""The `maze` environment: walk through rooms until one is found. Every move changes what can be done next."""

from __future__ import annotations

from typing import Any

from rlllm.data.procedural.mazes import FOUND, OVER, look


class MazeWalk:
    """The rooms of the row's column `doors`, from `start` to `goal` within `moves` moves."""

    def __init__(self) -> None:
        self.doors: dict[str, dict[str, str]] = {}
        self.room = self.goal = ""
        self.left = 0

    def reset(self, **row: Any) -> None:
        """Stand in the first room of the next row's maze."""
        self.doors, self.room, self.goal = row["doors"], row["start"], row["goal"]
        self.left = int(row["moves"])

    def go(self, direction: str) -> str:
        """Go through a door.

        Args:
            direction: north, south, east or west.

        Returns:
            The room behind it with its doors; `found` in the room that is looked for, `over` after the last move elsewhere.
        """
        if self.left < 1 or self.room == self.goal:
            raise ValueError("the game is over")
        ways = self.doors[self.room]
        if direction not in ways:
            raise ValueError(f"no door leads {direction} from {look(self.room, ways)}")
        self.left -= 1
        self.room = ways[direction]
        if self.room == self.goal:
            return FOUND
        return look(self.room, self.doors[self.room]) if self.left else OVER

    def get_reward(self) -> float:
        """1 in the room that is looked for, else 0."""
        return float(self.room == self.goal)
