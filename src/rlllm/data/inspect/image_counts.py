"""Counts of the images that prompts show, and the range of their sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from rlllm.core.images import image_size
from rlllm.core.records import Record, images_of


@dataclass(slots=True)
class ImageCounts:
    """Running counts over the records of a data set."""

    rows: int = 0
    numbers: Counter[int] = field(default_factory=Counter)
    """Images of a row -> rows."""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(width, height) in pixels -> images."""

    def add(self, record: Record) -> None:
        """Count one record."""
        references = images_of(record.prompt)
        self.rows += 1
        self.numbers[len(references)] += 1
        self.sizes.update(map(image_size, references))

    def facts(self) -> Iterator[str]:
        """The counts in one sentence; none without images."""
        if not self.sizes:
            return
        shown = self.rows - self.numbers[0]
        most, least = max(self.numbers), min(number for number in self.numbers if number)
        each = f"{least} a row" if most == least else f"{least} to {most} a row"
        small, large = (choose(self.sizes, key=lambda size: (size[0] * size[1], size)) for choose in (min, max))
        sizes = _pixels(small) if small == large else f"{_pixels(small)} to {_pixels(large)}"
        yield f"images: in {shown:,} of {self.rows:,} rows, {each}, {sizes} pixels"


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
