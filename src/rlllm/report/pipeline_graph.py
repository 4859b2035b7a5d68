"""The steps of a pipeline: the graph of what needs what, a sentence for each step, and the gates with their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rlllm.report.layout import scrolled
from rlllm.report.markup import Html, join, tag

_WIDTH, _HEIGHT = 148, 50
"""Of a step's box."""
_GAP, _ROW = 46, 22
"""Between columns, and between rows."""
_LETTERS = 17
"""Of a name that fits into a box."""


@dataclass(frozen=True, slots=True)
class GateRow:
    """A gate that was asked.

    Args:
        gate: as it was written.
        holds: whether the pipeline went on.
        numbers: name -> number; None where it was not measured.
    """

    gate: str
    holds: bool
    numbers: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class StepCard:
    """A step of a pipeline.

    Args:
        name: its name.
        stage: its verb.
        needs: steps that are done before it begins.
        state: `ok`, `failed`, `taken` or `not run`.
        sentence: what became of it.
        gates: those behind it that were asked.
    """

    name: str
    stage: str
    needs: Sequence[str]
    state: str
    sentence: str
    gates: Sequence[GateRow] = field(default_factory=list)

    @property
    def closed(self) -> bool:
        return any(not gate.holds for gate in self.gates)


def steps_part(cards: Sequence[StepCard]) -> Html | None:
    """The drawing, the sentences and the gates; nothing without steps."""
    if not cards:
        return None
    sentences = [tag("li", tag("b", card.name), ": ", card.sentence) for card in cards]
    return join(
        [scrolled("Graph of the steps", _drawing(cards)), tag("ol", sentences, class_="steps"), _gates(cards) or ""]
    )


def _gates(cards: Sequence[StepCard]) -> Html | None:
    rows = [_gate_row(card.name, gate) for card in cards for gate in card.gates]
    if not rows:
        return None
    head = tag("tr", [tag("th", title, scope="col") for title in ("Gate behind", "Comparison", "Numbers", "")])
    table = tag("table", tag("thead", head), tag("tbody", rows))
    return tag("div", tag("h3", "Gates"), scrolled("Gates", table), class_="gates")


def _gate_row(step: str, gate: GateRow) -> Html:
    numbers = [
        tag("div", f"{name} = {'not measured' if number is None else f'{number:.4g}'}")
        for name, number in gate.numbers.items()
    ]
    word = tag("span", "holds" if gate.holds else "✕ closed", class_="ok" if gate.holds else "failed")
    cells = [tag("td", tag("code", gate.gate)), tag("td", numbers), tag("td", word)]
    return tag("tr", tag("th", step, scope="row", class_="stage"), cells)


def _drawing(cards: Sequence[StepCard]) -> Html:
    """Boxes in columns, each right of all that it needs, and lines between them."""
    places = _places(cards)
    columns = 1 + max(column for column, _ in places.values())
    rows = 1 + max(row for _, row in places.values())
    width, height = columns * (_WIDTH + _GAP) - _GAP + 12, rows * (_HEIGHT + _ROW) - _ROW + 4
    lines = [_line(places[needed], places[card.name]) for card in cards for needed in _drawn_needs(card, cards)]
    boxes = [_box(card, *_corner(places[card.name])) for card in cards]
    said = "; ".join(f"{card.name} ({card.state}) needs {', '.join(card.needs) or 'nothing'}" for card in cards)
    size = {"viewBox": f"0 0 {width} {height}", "width": width, "height": height}
    return tag("svg", lines, boxes, class_="graph", role="img", aria_label=f"Graph of the steps: {said}", **size)


def _places(cards: Sequence[StepCard]) -> dict[str, tuple[int, int]]:
    """Column and row of each step; the columns are those of the longest way to it."""
    columns: dict[str, int] = {}
    for card in cards:
        columns[card.name] = 1 + max((columns[needed] for needed in card.needs), default=-1)
    taken: dict[int, set[int]] = {}
    places: dict[str, tuple[int, int]] = {}
    for card in cards:
        column = columns[card.name]
        wanted = min((places[needed][1] for needed in card.needs), default=0)
        row = next(row for row in range(wanted, wanted + len(cards) + 1) if row not in taken.setdefault(column, set()))
        taken[column].add(row)
        places[card.name] = (column, row)
    return places


def _drawn_needs(card: StepCard, cards: Sequence[StepCard]) -> list[str]:
    """What a step needs, without what another of these needs already."""
    needs = {other.name: set(other.needs) for other in cards}
    behind: dict[str, set[str]] = {}
    for other in cards:  # in the order in which they run, so that what each needs comes first
        behind[other.name] = needs[other.name].union(*(behind[name] for name in needs[other.name]))
    return [name for name in card.needs if not any(name in behind[other] for other in card.needs)]


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    column, row = place
    return 2 + column * (_WIDTH + _GAP), 2 + row * (_HEIGHT + _ROW)


def _line(start: tuple[int, int], end: tuple[int, int]) -> Html:
    (left, top), (right, bottom) = _corner(start), _corner(end)
    x, y, to_x, to_y = left + _WIDTH, top + _HEIGHT / 2, right, bottom + _HEIGHT / 2
    bend = to_x - _GAP / 2
    path = f"M{x} {y:g}H{to_x}" if y == to_y else f"M{x} {y:g}C{bend} {y:g} {bend} {to_y:g} {to_x} {to_y:g}"
    return tag("path", d=path, class_="edge")


def _box(card: StepCard, x: int, y: int) -> Html:
    name = card.name if len(card.name) <= _LETTERS else f"{card.name[: _LETTERS - 1]}…"
    kind = card.state.replace(" ", "-")
    parts = [
        tag("title", f"{card.name}: {card.sentence}"),
        tag("rect", x=x, y=y, width=_WIDTH, height=_HEIGHT, rx=4, class_=f"step {kind}"),
        tag("text", name, x=x + 12, y=y + 21, class_="step-name"),
        tag("text", f"{card.stage} · {card.state}", x=x + 12, y=y + 38, class_="tick"),
    ]
    if card.gates:
        right, middle = x + _WIDTH, y + _HEIGHT / 2
        mark = f"M{right - 8} {middle:g}l8 -8l8 8l-8 8z"
        parts.append(tag("path", d=mark, class_=f"gate {'closed' if card.closed else 'open'}"))
        if card.closed:
            cross = f"M{right - 3} {middle - 3:g}l6 6m0 -6l-6 6"
            parts.append(tag("path", d=cross, class_="cross"))
    return tag("g", parts)
