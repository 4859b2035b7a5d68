"""Documents about an invented world: people, the towns where they were born, and countries. Nobody has read of it before, so
that questions about it are answered by looking them up. The same documents every time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

_PEOPLE, _TOWNS, _COUNTRIES = 240, 48, 12
_ONSETS = ("b", "br", "d", "dr", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "r", "s", "t", "tr", "v", "w", "z")
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS = ("", "l", "m", "n", "r", "s")
_TRADES = ("baker", "carpenter", "doctor", "farmer", "glazier", "miller", "painter", "potter", "sailor", "weaver")
_GOODS = ("cheese", "clocks", "glass", "honey", "paper", "salt", "ships", "silk", "tiles", "wool")


@dataclass(frozen=True, slots=True)
class Document:
    """A text under its title."""

    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.title}: {self.text}"


@dataclass(frozen=True)
class Gazetteer:
    """The world: where each person was born, where each town is, and each country's currency."""

    people: Mapping[str, str]
    """Person -> town."""
    towns: Mapping[str, str]
    """Town -> country."""
    currencies: Mapping[str, str]
    """Country -> currency."""
    documents: tuple[Document, ...]


@cache
def gazetteer() -> Gazetteer:
    """The one world there is."""
    generator = random.Random("gazetteer")
    names = _names(generator)
    countries = [next(names) for _ in range(_COUNTRIES)]
    towns = {next(names): generator.choice(countries) for _ in range(_TOWNS)}
    people = {f"{next(names)} {next(names)}": generator.choice(list(towns)) for _ in range(_PEOPLE)}
    currencies = {country: next(names).lower() for country in countries}
    documents = [
        *(Document(person, f"a {generator.choice(_TRADES)} born in {town}.") for person, town in people.items()),
        *(
            Document(town, f"a town in {country} known for its {generator.choice(_GOODS)}.")
            for town, country in towns.items()
        ),
        *(Document(country, f"a country whose money is the {currency}.") for country, currency in currencies.items()),
    ]
    return Gazetteer(people, towns, currencies, tuple(documents))


def _names(generator: random.Random) -> Iterator[str]:
    """Names of two syllables, no two alike."""
    seen: set[str] = set()
    while True:
        syllables = (generator.choice(_ONSETS) + generator.choice(_VOWELS) + generator.choice(_CODAS) for _ in "ab")
        name = "".join(syllables).capitalize()
        if name not in seen:
            seen.add(name)
            yield name
