"""The dataset `instructions`: prompts with verifiable instructions (IFEval, arXiv 2311.07911), for the reward of that name."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

from rlllm.core.errors import ConfigError, unknown
from rlllm.core.records import Record
from rlllm.data.procedural.exercises import Exercise, ExerciseTask
from rlllm.data.request import DataRequest

_COUNTS = (1, 2, 3, 4)
"""Instructions of a prompt, which are the levels."""
_TOPICS = (
    *("a river", "a train journey", "a market", "winter", "a garden", "a library", "breakfast", "a lighthouse"),
    *("a bicycle", "the moon", "a harbour", "a storm", "a family dinner", "a museum", "a mountain hut", "a school"),
    *("a forest", "an old clock", "a bridge", "a bakery", "rain", "a farm", "a theatre", "a long walk"),
)
_WORDINGS = ("Write a short text about {}.", "Describe {} in English.", "Tell a child about {}.", "Write a note on {}.")
_BODY = (
    "This is about {}. It is there in the morning and it is there in the evening. "
    "Most of us know what it is like and what it can do for us."
)
_FILLER = "There is more to say about it and to all of us it is new."
_KEYWORDS = ("stone", "window", "silver", "friend", "music", "letter", "shadow", "ticket", "colour", "paper")
_FORBIDDEN = ("very", "really", "always", "never", "beautiful", "special", "amazing", "nature", "people", "wonderful")
_ENDINGS = ("That is all there is to say.", "Is there anything else I can help with?", "This is where it ends.")
_Rewrite = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a prompt: its words, its arguments, and a rewriting after which a text follows it."""

    words: str
    arguments: Mapping[str, Any]
    follow: _Rewrite


@dataclass(frozen=True, slots=True)
class _Family:
    """How instructions of one id are drawn. Rewritings are made in the order of the table."""

    draw: Callable[[random.Random], Instruction]
    clashes: frozenset[str] = frozenset()
    """Ids that cannot be combined with this one."""


def _keywords(generator: random.Random) -> Instruction:
    first, second = generator.sample(_KEYWORDS, 2)
    return Instruction(
        f"Use the words {first} and {second}.",
        {"keywords": [first, second]},
        lambda text: f"{text} It makes me think of a {first} and of a {second}.",
    )


def _forbidden(generator: random.Random) -> Instruction:
    words = generator.sample(_FORBIDDEN, 2)
    return Instruction(
        f"Do not use the words {words[0]} and {words[1]}.", {"forbidden_words": words}, lambda text: text
    )


def _frequency(generator: random.Random) -> Instruction:
    word, count = generator.choice(_KEYWORDS), generator.randint(2, 4)
    return Instruction(
        f"Use the word {word} at least {count} times.",
        {"keyword": word, "frequency": count, "relation": "at least"},
        lambda text: text + f" We speak of the {word}." * count,
    )


def _letters(generator: random.Random) -> Instruction:
    letter, count = generator.choice("aeiost"), generator.randint(5, 12)
    return Instruction(
        f"The letter {letter} has to come at least {count} times.",
        {"letter": letter, "let_frequency": count, "let_relation": "at least"},
        lambda text: f"{text} {_FILLER}",
    )


def _capital_words(generator: random.Random) -> Instruction:
    count = generator.randint(2, 4)
    return Instruction(
        f"Write at least {count} words in capital letters.",
        {"capital_frequency": count, "capital_relation": "at least"},
        lambda text: text + " LOOK" * count + ".",
    )


def _sentences(generator: random.Random) -> Instruction:
    count = generator.randint(4, 7)
    return Instruction(
        f"Write at least {count} sentences.",
        {"num_sentences": count, "relation": "at least"},
        lambda text: text + f" {_FILLER}" * count,
    )


def _words(generator: random.Random) -> Instruction:
    if generator.random() < 0.5:
        count = generator.randrange(40, 90, 5)
        return Instruction(
            f"Write at least {count} words.",
            {"num_words": count, "relation": "at least"},
            lambda text: text + f" {_FILLER}" * (count // 10),
        )
    count = generator.randrange(130, 200, 5)
    return Instruction(
        f"Write less than {count} words.", {"num_words": count, "relation": "less than"}, lambda text: text
    )


def _placeholders(generator: random.Random) -> Instruction:
    count = generator.randint(1, 4)
    marks = " ".join(f"[{name}]" for name in ("name", "address", "date", "place")[:count])
    return Instruction(
        f"Put in at least {count} placeholders in square brackets such as [name].",
        {"num_placeholders": count},
        lambda text: f"{text} Please fill in {marks}.",
    )


def _highlights(generator: random.Random) -> Instruction:
    count = generator.randint(1, 3)
    marks = " and ".join(f"*part {number}*" for number in range(1, count + 1))
    return Instruction(
        f"Highlight at least {count} parts with asterisks: *like this*.",
        {"num_highlights": count},
        lambda text: f"{text} Note {marks}.",
    )


def _bullets(generator: random.Random) -> Instruction:
    count = generator.randint(2, 5)
    points = "\n".join(f"* This is point {number}." for number in range(1, count + 1))
    return Instruction(
        f"Give exactly {count} bullet points, each on a line that begins with an asterisk: * This is a point.",
        {"num_bullets": count},
        lambda text: f"{text}\n{points}\n",
    )


def _sections(generator: random.Random) -> Instruction:
    count, word = generator.randint(2, 4), generator.choice(("SECTION", "Part"))

    def follow(text: str) -> str:
        further = "".join(f"\n{word} {number}\nThis is where it goes on.\n" for number in range(2, count + 1))
        return f"{word} 1\n{text}\n{further}"

    return Instruction(
        f"Write {count} sections. Each begins with a line that says {word} and its number, such as {word} 1.",
        {"section_spliter": word, "num_sections": count},
        follow,
    )


def _title(_: random.Random) -> Instruction:
    return Instruction(
        "Give it a title in double angular brackets: <<a title>>.",
        {},
        lambda text: f"<<What there is to know>>\n{text}",
    )


def _json(_: random.Random) -> Instruction:
    return Instruction(
        "The whole answer has to be JSON.", {}, lambda text: '{"text": "' + re.sub(r"\s+", " ", text) + '"}'
    )


def _postscript(_: random.Random) -> Instruction:
    return Instruction(
        "Add a postscript at the end that begins with P.S.",
        {"postscript_marker": "P.S."},
        lambda text: f"{text}\n\nP.S. Thank you for your time.",
    )


def _ending(generator: random.Random) -> Instruction:
    phrase = generator.choice(_ENDINGS)
    return Instruction(
        f"End with these very words: {phrase}", {"end_phrase": phrase}, lambda text: f"{text.rstrip()}\n{phrase}"
    )


def _no_comma(_: random.Random) -> Instruction:
    return Instruction("Do not use any comma.", {}, lambda text: text.replace(",", ""))


def _small(_: random.Random) -> Instruction:
    return Instruction("Use small letters only: no capital letter anywhere.", {}, str.lower)


def _capitals(_: random.Random) -> Instruction:
    return Instruction("Use capital letters only.", {}, str.upper)


def _quoted(_: random.Random) -> Instruction:
    return Instruction("Put the whole answer between double quotation marks.", {}, lambda text: f'"{text.strip()}"')


_CASES = frozenset({"change_case:english_lowercase", "change_case:english_capital"})
_JSON = "detectable_format:json_format"
_SECTIONS = "detectable_format:multiple_sections"
_CAPITAL_WORDS = "change_case:capital_word_frequency"
_LAYOUT = frozenset(
    {
        _SECTIONS,
        "detectable_format:number_bullet_lists",
        "detectable_format:title",
        "detectable_content:postscript",
        "startend:end_checker",
        "startend:quotation",
    }
)
FAMILIES: Mapping[str, _Family] = {
    "keywords:existence": _Family(_keywords),
    "keywords:forbidden_words": _Family(_forbidden),
    "keywords:frequency": _Family(_frequency),
    "keywords:letter_frequency": _Family(_letters),
    _CAPITAL_WORDS: _Family(_capital_words, _CASES),
    "length_constraints:number_sentences": _Family(_sentences, frozenset({"length_constraints:number_words"})),
    "length_constraints:number_words": _Family(_words),
    "detectable_content:number_placeholders": _Family(_placeholders),
    "detectable_format:number_highlighted_sections": _Family(_highlights),
    "detectable_format:number_bullet_lists": _Family(_bullets),
    _SECTIONS: _Family(_sections, _CASES | {"startend:quotation"}),
    "detectable_format:title": _Family(_title),
    _JSON: _Family(_json, _LAYOUT),
    "detectable_content:postscript": _Family(_postscript),
    "startend:end_checker": _Family(_ending),
    "punctuation:no_comma": _Family(_no_comma),
    "change_case:english_lowercase": _Family(_small, frozenset({"change_case:english_capital"})),
    "change_case:english_capital": _Family(_capitals),
    "startend:quotation": _Family(_quoted),
}
"""Instruction id -> its kind, in the order in which solutions are rewritten: content, layout, case, quotation marks."""


class _Instructions(ExerciseTask):
    """`data.params.ids` restricts the instructions to some IFEval ids; the level is how many a prompt has."""

    def __call__(self, request: DataRequest) -> list[Record]:
        """Rows with `instruction_id_list` and `kwargs`.

        Raises:
            ConfigError, DataError: an unknown id, fewer ids that go together than a prompt has instructions, and what
                `ExerciseTask` raises.
        """
        params = dict(request.params)
        ids = _ids(params.pop("ids", None))
        for level in self.levels(request):
            if _combinable(ids) < level:
                raise ConfigError(
                    f"level {level} puts {level} instructions into a prompt, and fewer of these go together",
                    given=f"data.params.ids={list(ids)}",
                    hint=f"data.level={_combinable(ids)}, or more ids",
                )
        exercises = ExerciseTask(self.name, _tiers(ids), self.default_level, self.rewards)
        return exercises(replace(request, params=params))


def _tiers(ids: Sequence[str]) -> dict[int, Callable[[random.Random], Exercise]]:
    return {count: partial(_exercise, count, ids) for count in _COUNTS}


def _ids(given: Any) -> tuple[str, ...]:
    """The ids that instructions are drawn from; all of them where none are given."""
    if given is None:
        return tuple(FAMILIES)
    names = [given] if isinstance(given, str) else list(given)
    if not names:
        raise ConfigError("data.params.ids is empty", exists=list(FAMILIES))
    for name in names:
        if name not in FAMILIES:
            raise unknown("instruction", str(name), FAMILIES)
    return tuple(dict.fromkeys(names))


def _combinable(ids: Sequence[str]) -> int:
    """How many of these instructions one prompt can have at most, up to the largest level."""
    for count in reversed(_COUNTS):
        groups = combinations(ids, count)
        if any(not any(_clash(a, b) for a, b in combinations(group, 2)) for group in groups):
            return count
    return 0


def _exercise(count: int, ids: Sequence[str], generator: random.Random) -> Exercise:
    topic, wording = generator.choice(_TOPICS), generator.choice(_WORDINGS)
    instructions_by_id = {name: FAMILIES[name].draw(generator) for name in _chosen(count, ids, generator)}
    text = _BODY.format(topic)
    for name in FAMILIES:
        text = instructions_by_id[name].follow(text) if name in instructions_by_id else text
    prompt = " ".join([wording.format(topic), *(instruction.words for instruction in instructions_by_id.values())])
    columns = {
        "instruction_id_list": list(instructions_by_id),
        "kwargs": [dict(instruction.arguments) for instruction in instructions_by_id.values()],
    }
    return Exercise(key=f"instructions {prompt}", prompt=prompt, solution=text, meta=columns)


def _chosen(count: int, ids: Sequence[str], generator: random.Random) -> list[str]:
    """Ids that do not clash, in a random order. The ids hold `count` of them (`_combinable`)."""
    while True:
        chosen: list[str] = []
        for name in generator.sample(ids, len(ids)):
            if len(chosen) < count and not any(_clash(name, other) for other in chosen):
                chosen.append(name)
        if len(chosen) == count:
            return chosen


def _clash(first: str, second: str) -> bool:
    return second in FAMILIES[first].clashes or first in FAMILIES[second].clashes


instructions = _Instructions(
    name="instructions", tiers=_tiers(tuple(FAMILIES)), default_level=1, rewards=("instructions",)
)
