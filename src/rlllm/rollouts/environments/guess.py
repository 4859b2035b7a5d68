"""The `guess` environment: find a hidden number by guessing. The smallest one whose next turn depends on the last."""

from __future__ import annotations

from typing import Any

HIGHER, LOWER, RIGHT, OVER = "higher", "lower", "right", "over"


class Guess:
    """A number hidden in the row's column `secret`, to be found within `guesses` guesses (default 2)."""

    def __init__(self) -> None:
        self.secret = 0
        self.left = 0
        self.found = False

    def reset(self, **row: Any) -> None:
        """Hide the number of the next row."""
        self.secret = int(row["secret"])
        self.left = int(row.get("guesses", 2))
        self.found = False

    def guess(self, number: int) -> str:
        """Guess the hidden number.

        Args:
            number: Your guess.

        Returns:
            `right`, `higher` or `lower` (where the hidden number lies), or `over` after a wrong last guess.
        """
        number = int(number)
        if self.left < 1 or self.found:
            raise ValueError("the game is over")
        self.left -= 1
        self.found = number == self.secret
        if self.found:
            return RIGHT
        if not self.left:
            return OVER
        return HIGHER if number < self.secret else LOWER

    def get_reward(self) -> float:
        """1 if the number was found, else 0."""
        return float(self.found)
