"""The dataset `shapes`: questions on a small picture of drawn shapes. The picture is in the prompt, and no text tells of it.

Level 1: the colour of one large shape, out of four; 2: the colour, the side and the number of two shapes, which are named by
place and colour; 3: also above or below, of up to four shapes; 4: up to six shapes in six colours, which are named by kind and
colour, and which shape has a colour.

A picture is 32 pixels wide and high. Its pixels are set by whole numbers and stored in a PNG without compression, so that its
bytes, and with them the hash of a record, are the same with every version of every library.
"""

from __future__ import annotations

import base64
import random
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter

from rlllm.core.records import Prompt
from rlllm.data.procedural.problems import Problem, Solution
from rlllm.data.procedural.procedural_task import ProceduralTask

SIZE = 32
"""Pixels of a side."""
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 30, 30),
    "green": (30, 160, 60),
    "blue": (40, 70, 220),
    "yellow": (240, 200, 20),
    "black": (20, 20, 20),
    "purple": (150, 50, 180),
}
_PAPER = (255, 255, 255)
_FILLS: Mapping[str, Callable[[int, int, int], bool]] = {
    "circle": lambda right, down, radius: right * right + down * down < radius * radius,
    "square": lambda right, down, radius: max(abs(right), abs(down)) < radius,
    "triangle": lambda right, down, radius: abs(down) < radius and 2 * abs(right) <= radius + down,
}
"""Kind -> whether it covers a pixel, by its distance to the right of and below the centre."""
KINDS = tuple(_FILLS)
_MOST_COUNTED = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape on the picture; `row` and `column` are those of its cell."""

    kind: str
    colour: str
    row: int
    column: int
    x: int
    y: int
    radius: int

    @property
    def name(self) -> str:
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True, slots=True)
class _Tier:
    """What a level draws."""

    columns: int
    rows: int
    """Cells of the picture; a shape fills most of one."""
    fewest: int
    most: int
    """Shapes of a picture."""
    colours: int
    questions: tuple[str, ...]
    kinds: bool = False
    """Whether a question names shapes by their kind: a circle is harder to tell from a square than red from blue."""


_TIERS: Mapping[int, _Tier] = {
    1: _Tier(1, 1, 1, 1, 4, ("colour",)),
    2: _Tier(2, 1, 2, 2, 4, ("colour", "side", "count")),
    3: _Tier(2, 2, 2, 4, 4, ("side", "count", "height")),
    4: _Tier(3, 3, 3, 6, 6, ("colour", "side", "count", "height", "kind"), kinds=True),
}


def _draw(level: int, generator: random.Random) -> Problem:
    tier = _TIERS[level]
    ask = _QUESTIONS[generator.choice(tier.questions)]
    while (asked := ask(_scene(tier, generator), generator, tier.kinds)) is None:
        pass
    scene = ", ".join(shape.name for shape in asked.shapes)
    places = " ".join(f"{shape.name}@{shape.x},{shape.y},{shape.radius}" for shape in asked.shapes)
    return Problem(
        task="shapes",
        level=level,
        key=f"shapes {places} {asked.text}",
        prompt=_prompt(asked),
        answer=asked.answer,
        solve=partial(_solve, asked, level > 2),
        extra={"scene": scene},
    )


@dataclass(frozen=True, slots=True)
class _Question:
    shapes: Sequence[Shape]
    text: str
    answer: str
    others: Sequence[str]
    """Wrong answers of the same kind."""


def _scene(tier: _Tier, generator: random.Random) -> list[Shape]:
    """Shapes in different cells, in reading order."""
    width, height = SIZE // tier.columns, SIZE // tier.rows
    cells = [(row, column) for row in range(tier.rows) for column in range(tier.columns)]
    chosen = sorted(generator.sample(cells, generator.randint(tier.fewest, tier.most)))
    largest = min(width, height) // 2 - 1
    shapes = []
    for row, column in chosen:
        radius = generator.randint(max(3, 2 * largest // 3), largest)
        x, y = (
            cell * length + length // 2 + generator.randint(-spare, spare)
            for cell, length in ((column, width), (row, height))
            for spare in (length // 2 - 1 - radius,)
        )
        colour = generator.choice(tuple(COLOURS)[: tier.colours])
        shapes.append(Shape(generator.choice(KINDS), colour, row, column, x, y, radius))
    return shapes


def _colour(shapes: list[Shape], generator: random.Random, kinds: bool) -> _Question | None:
    if len(shapes) == 1:
        shape, text = shapes[0], "What colour is the shape?"
    elif kinds:
        single = _alone(shapes, _KIND)
        if not single:
            return None
        shape = generator.choice(single)
        text = f"What colour is the {shape.kind}?"
    else:
        shape = generator.choice(shapes)
        text = f"What colour is the {_SIDES[shape.column]} shape?"
    return _Question(shapes, text, shape.colour, _but(COLOURS, shape.colour)[:3])


def _kind(shapes: list[Shape], generator: random.Random, kinds: bool) -> _Question | None:
    single = _alone(shapes, _COLOUR)
    if not single:
        return None
    shape = generator.choice(single)
    return _Question(shapes, f"What shape is {shape.colour}?", shape.kind, _but(KINDS, shape.kind))


def _count(shapes: list[Shape], generator: random.Random, kinds: bool) -> _Question:
    """How many there are of a kind or colour. The number is drawn first, and the shapes are changed to fit: none is rare."""
    number = generator.randint(0, min(_MOST_COUNTED, len(shapes)))
    counted = set(generator.sample(range(len(shapes)), number))
    of_kind = kinds and generator.random() < 0.5
    names = KINDS if of_kind else tuple(COLOURS)[:4]
    name = generator.choice(names)
    changed = []
    for place, shape in enumerate(shapes):
        own = name if place in counted else generator.choice(_but(names, name))
        changed.append(replace(shape, kind=own) if of_kind else replace(shape, colour=own))
    text = f"How many {name}s?" if of_kind else f"How many {name} shapes?"
    return _Question(changed, text, str(number), _but([*map(str, range(_MOST_COUNTED + 1))], str(number)))


def _relation(
    shapes: list[Shape], generator: random.Random, kinds: bool, place: Callable[[Shape], int], less: str, more: str
) -> _Question | None:
    """Where one shape is from another. `less` and `more` are the answers; `place` is smaller where `less` is right."""
    name = _KIND if kinds else _COLOUR
    single = _alone(shapes, name)
    pairs = [(one, other) for one in single for other in single if place(one) != place(other)]
    if not pairs:
        return None
    one, other = generator.choice(pairs)
    first, second = (f"the {name(shape)}" if kinds else name(shape) for shape in (one, other))
    text = f"Is {first} {less} or {more} {'of ' if more in _SIDES else ''}{second}?"
    answer = more if place(one) > place(other) else less
    return _Question(shapes, text, answer, _but((less, more), answer))


def _alone(shapes: list[Shape], name: Callable[[Shape], str]) -> list[Shape]:
    """The shapes whose name no other has."""
    return [shape for shape in shapes if [name(other) for other in shapes].count(name(shape)) == 1]


_KIND, _COLOUR = attrgetter("kind"), attrgetter("colour")
_SIDES = ("left", "right")
_QUESTIONS: Mapping[str, Callable[[list[Shape], random.Random, bool], _Question | None]] = {
    "colour": _colour,
    "kind": _kind,
    "count": _count,
    "side": partial(_relation, place=attrgetter("column"), less="left", more="right"),
    "height": partial(_relation, place=attrgetter("row"), less="above", more="below"),
}


def _but(names: Mapping[str, object] | Sequence[str], answer: str) -> list[str]:
    return [name for name in names if name != answer]


def _prompt(asked: _Question) -> Prompt:
    parts = [{"type": "image", "image": picture(asked.shapes)}, {"type": "text", "text": asked.text}]
    return [{"role": "user", "content": parts}]


def picture(shapes: Sequence[Shape]) -> str:
    """The shapes on white paper as a data URI of a PNG with a palette."""
    names = list(COLOURS)
    pixels = bytearray(SIZE * SIZE)
    for shape in shapes:
        covers = _FILLS[shape.kind]
        for y in range(SIZE):
            for x in range(SIZE):
                if covers(x - shape.x, y - shape.y, shape.radius):
                    pixels[y * SIZE + x] = 1 + names.index(shape.colour)
    return f"data:image/png;base64,{base64.b64encode(_png(bytes(pixels))).decode()}"


def _png(pixels: bytes) -> bytes:
    """A PNG of palette indices, two of four bits in a byte, in one stored block of deflate (RFC 1951, 3.2.4)."""
    packed = bytes(left << 4 | right for left, right in zip(pixels[::2], pixels[1::2], strict=True))
    width = SIZE // 2
    lines = b"".join(b"\0" + packed[start : start + width] for start in range(0, len(packed), width))
    stored = b"\x78\x01\x01" + struct.pack("<HH", len(lines), len(lines) ^ 0xFFFF) + lines
    palette = bytes(value for colour in (_PAPER, *COLOURS.values()) for value in colour)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", SIZE, SIZE, 4, 3, 0, 0, 0)),
        (b"PLTE", palette),
        (b"IDAT", stored + struct.pack(">I", zlib.adler32(lines))),
        (b"IEND", b""),
    )
    written = (struct.pack(">I", len(data)) + name + data + _checksum(name + data) for name, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def _checksum(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def _solve(asked: _Question, listed: bool, generator: random.Random, slip: bool) -> Solution:
    """The answer, behind a list of what is seen where `listed` says so."""
    names = [shape.name for shape in asked.shapes]
    said = f"I see {' and '.join(f'a {name}' for name in names)}."
    steps = ((", ".join(names), said),) if listed else ()
    return Solution(steps, generator.choice(asked.others) if slip else asked.answer)


shapes = ProceduralTask(
    name="shapes",
    tiers={level: partial(_draw, level) for level in _TIERS},
    default_level=1,
    rewards=("exact",),
)
