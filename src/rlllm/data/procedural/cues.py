"""The dataset `cues`: an invented speaker's face and voice as a few cues each, which agree or clash. Synthetic throughout.

A cue says more of ease (+1), more of tension (-1) or nothing (0); a channel's sign is that of the sum of its cues, and never
0. The label is `lie` where the signs of the two channels differ, and else `truth`: a rule that is made up, so that it can be
learned and checked. It says nothing about people; judging by such cues whether a person lies is unreliable. The rule and the
five tags are those of the specification of VAC-GRPO (`docs/methods/vac-grpo.md`); the words and their signs are ours.

Level 1: one cue in each channel; 2: two; 3: three (default). Solutions name the cues of each channel that say anything and
the channel's sign, then how the channels relate, both signs again, and the answer. The usual mistake goes by the first of
these cues alone, where the others outweigh it; other slips take one channel for its opposite, or give a verdict that does not
follow.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

from pydantic import Field, model_validator

from rlllm.core.errors import ConfigError
from rlllm.core.records import Prompt, Record
from rlllm.data.procedural.problems import Problem, Solution, in_turn, levels_of, stream
from rlllm.data.procedural.procedural_task import ProceduralParams, make_records, parse_params, without_levels
from rlllm.data.procedural.shapes import SIZE, Shape, picture
from rlllm.data.request import DataRequest
from rlllm.parsing.tagged_reasoning import AGREE, CLASH, LIE, TAGS, TRUTH, TaggedReasoning, tag_fault, write_tagged

FACE: Mapping[str, Mapping[str, int]] = {
    "gaze": {"met": 1, "low": 0, "off": -1},
    "brow": {"lax": 1, "up": 0, "knit": -1},
    "lips": {"easy": 1, "shut": 0, "bit": -1},
    "hand": {"open": 1, "lap": 0, "fist": -1},
}
VOICE: Mapping[str, Mapping[str, int]] = {
    "tone": {"warm": 1, "flat": 0, "thin": -1},
    "pace": {"calm": 1, "mid": 0, "rush": -1},
    "gaps": {"few": 1, "odd": 0, "long": -1},
    "pitch": {"even": 1, "deep": 0, "rise": -1},
}
"""Feature -> word -> sign."""
LEXICON: Mapping[str, int] = {
    word: sign for channel in (FACE, VOICE) for words in channel.values() for word, sign in words.items()
}
"""Word of either channel -> sign."""
_BROKEN_ENDINGS = ("<{last}>{answer}", "Answer: {answer}", "<{last}>{answer}</{last}>\n<{last}>{answer}</{last}>")
_INCONSISTENT = 0.3
"""Share of slips, where no first cue misleads, whose verdict does not follow from the relation."""
_FEWEST_MISLEADING = 3
"""Cues of a channel from which the others can outweigh the first."""
_MARKS = {1: "+", -1: "-"}
_COLOURS = {1: "green", 0: "yellow", -1: "red"}
_QUESTION = "Do face and voice agree?"
_Channel = tuple[tuple[str, str], ...]


def sign_of(words: Sequence[str], lexicon: Mapping[str, int] = LEXICON) -> int:
    """The sign of a channel, -1, 0 or 1: that of the sum of its words' signs. Words that the lexicon lacks say nothing."""
    total = sum(lexicon.get(word, 0) for word in words)
    return (total > 0) - (total < 0)


def relation_of(face: int, voice: int) -> str | None:
    """How two signs relate; None where one of them is 0."""
    if not face * voice:
        return None
    return CLASH if face * voice < 0 else AGREE


def _telling(cues: _Channel) -> tuple[str, ...]:
    """The words that say anything, in the order of the prompt."""
    return tuple(word for _, word in cues if LEXICON[word])


class CuesParams(ProceduralParams):
    """Parameters of the data set."""

    tags: tuple[str, ...] = TAGS
    """Names of the five tags of a solution. Shorter ones take fewer tokens; rewards are then given the same `tags`."""

    channels: Literal["text", "images"] = "text"
    """How face and voice are shown: as words, or as two pictures of 32 pixels, for vision models. A picture has a cell for each
    feature, with a circle (face) or square (voice) that is green for +1, yellow for 0 and red for -1."""
    misleading: float | None = Field(None, ge=0, le=1)
    """Share of the problems of level 3 in which the first telling cue of a channel is outweighed by the others. Default: as it
    comes, about a fifth."""

    @model_validator(mode="after")
    def _five_words(self) -> CuesParams:
        if fault := tag_fault(self.tags):
            raise ConfigError(f"data.params.tags: {fault}", given=", ".join(self.tags) or "none")
        return self


class _Cues:
    """Dataset callable; levels as of `ProceduralTask`."""

    argument = "levels"
    rewards = ("tagged",)
    levels = (1, 2, 3)

    def __call__(self, request: DataRequest) -> list[Record]:
        params = parse_params(CuesParams, without_levels(request.params))
        streams = [
            stream(partial(_draw, level, params), request.split, f"cues {level} {request.split} {request.seed}")
            for level in levels_of(request, "cues", self.levels[-1], self.levels[-1])
        ]
        return make_records(in_turn(streams), request, params)


def _draw(count: int, params: CuesParams, generator: random.Random) -> Problem:
    share = params.misleading if count == _FEWEST_MISLEADING else None
    wanted = None if share is None else generator.random() < share
    while True:
        face, voice = _channel(FACE, count, generator), _channel(VOICE, count, generator)
        tricky = _misleading(_telling(face)) or _misleading(_telling(voice))
        if wanted in (None, tricky):
            break
    relation = relation_of(sign_of(_telling(face)), sign_of(_telling(voice)))
    assert relation is not None, "a channel's sign is never 0"
    answer = LIE if relation == CLASH else TRUTH
    shown = " ".join(
        ["[V]", *(f"{name}={word}" for name, word in face), "[A]", *(f"{name}={word}" for name, word in voice)]
    )
    in_words = params.channels == "text"
    told = {"label": answer, "relation": relation, "cues_v": list(_telling(face)), "cues_a": list(_telling(voice))}
    return Problem(
        task="cues",
        level=count,
        key=f"cues {shown}",
        prompt=shown if in_words else _pictured(face, voice),
        answer=answer,
        solve=partial(_solve, _telling(face), _telling(voice), params.tags),
        tricky=tricky,
        extra=told if in_words else {**told, "scene": shown},
    )


def _channel(features: Mapping[str, Mapping[str, int]], count: int, generator: random.Random) -> _Channel:
    """Cues of different features, drawn until they say something together."""
    while True:
        names = sorted(generator.sample(tuple(features), count), key=list(features).index)
        cues = tuple((name, generator.choice(tuple(features[name]))) for name in names)
        if sign_of([word for _, word in cues]):
            return cues


def _pictured(face: _Channel, voice: _Channel) -> Prompt:
    """A user turn of two pictures."""
    channels = ((FACE, face, "circle"), (VOICE, voice, "square"))
    images = [{"type": "image", "image": picture(_drawn(*channel))} for channel in channels]
    return [{"role": "user", "content": [*images, {"type": "text", "text": _QUESTION}]}]


def _drawn(features: Mapping[str, Mapping[str, int]], cues: _Channel, kind: str) -> list[Shape]:
    """A shape for each cue, in the cell of its feature; cells stand two in a row."""
    width = SIZE // 2
    shapes = []
    for name, word in cues:
        row, column = divmod(list(features).index(name), 2)
        x, y = (place * width + width // 2 for place in (column, row))
        shapes.append(Shape(kind, _COLOURS[LEXICON[word]], row, column, x, y, width // 2 - 2))
    return shapes


def _misleading(words: Sequence[str]) -> bool:
    """Whether the first telling cue says the opposite of the channel."""
    return LEXICON[words[0]] != sign_of(words)


def _solve(
    face: tuple[str, ...], voice: tuple[str, ...], tags: Sequence[str], generator: random.Random, slip: bool
) -> Solution:
    signs = [sign_of(face), sign_of(voice)]
    inconsistent = False
    if slip:
        misleading = [place for place, words in enumerate((face, voice)) if _misleading(words)]
        inconsistent = not misleading and generator.random() < _INCONSISTENT
        if not inconsistent:
            signs[generator.choice(misleading or [0, 1])] *= -1
    relation = relation_of(*signs)
    lies = (relation == CLASH) != inconsistent
    reasoning = TaggedReasoning(
        visual=" ".join((*face, _MARKS[signs[0]])),
        audio=" ".join((*voice, _MARKS[signs[1]])),
        relation=str(relation),
        think="".join(_MARKS[sign] for sign in signs),
        answer=LIE if lies else TRUTH,
    )
    *steps, _ = write_tagged(reasoning, tags)
    last = tags[-1]
    return Solution(
        steps=tuple((step, step) for step in steps),
        answer=reasoning.answer,
        ending=f"<{last}>{{answer}}</{last}>",
        broken_endings=tuple(ending.format(last=last, answer="{answer}") for ending in _BROKEN_ENDINGS),
    )


cues = _Cues()
