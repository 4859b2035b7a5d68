"""Padding of rows of token ids to equal length."""

from __future__ import annotations

from collections.abc import Sequence


def padded(
    rows: Sequence[Sequence[int]], fill: int, *, left: bool = False, extra: int = 0
) -> tuple[list[list[int]], list[list[int]]]:
    """Rows of unequal length to the longest one's, and their mask: 1 at what was there, 0 at what was filled in.

    Args:
        rows: at least one.
        fill: what padding is made of.
        left: pad before the row (to generate from it) and not behind it (to train on it or score it).
        extra: further padding on every row.

    Returns:
        Two lists of B rows, each `longest + extra` wide.
    """
    width = max(map(len, rows)) + extra
    gaps = [width - len(row) for row in rows]
    if left:
        return (
            [[*[fill] * gap, *row] for row, gap in zip(rows, gaps, strict=True)],
            [[0] * gap + [1] * (width - gap) for gap in gaps],
        )
    return (
        [[*row, *[fill] * gap] for row, gap in zip(rows, gaps, strict=True)],
        [[1] * (width - gap) + [0] * gap for gap in gaps],
    )
