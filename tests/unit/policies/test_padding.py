"""Padding against literal rectangles."""

from __future__ import annotations

import pytest

from rlllm.policies.padding import padded

ROWS = [[5], [], [1, 2, 3]]
TABLE = [
    # left, extra, rows, mask
    (False, 0, [[5, 9, 9], [9, 9, 9], [1, 2, 3]], [[1, 0, 0], [0, 0, 0], [1, 1, 1]]),
    (True, 0, [[9, 9, 5], [9, 9, 9], [1, 2, 3]], [[0, 0, 1], [0, 0, 0], [1, 1, 1]]),
    (False, 1, [[5, 9, 9, 9], [9, 9, 9, 9], [1, 2, 3, 9]], [[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]]),
]


@pytest.mark.parametrize(("left", "extra", "rows", "mask"), TABLE)
def test_rows_become_a_rectangle_with_its_mask(
    left: bool, extra: int, rows: list[list[int]], mask: list[list[int]]
) -> None:
    assert padded(ROWS, 9, left=left, extra=extra) == (rows, mask)
