"""The dataset `calls`: requests that are answered by function calls, for the reward `calls`.

Level 1: one function is offered; 2: four are offered and one fits; 3: two of four have to be called; 4: none of them fits,
and the right answer says so in words. The column `ground_truth` has the form of the Berkeley Function Calling Leaderboard.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlllm.data.procedural.exercises import Exercise, ExerciseTask

_CITIES = ("Paris", "Lima", "Oslo", "Cairo", "Quito", "Dakar", "Hanoi", "Turin", "Perth", "Osaka")
_PEOPLE = ("Ana", "Ben", "Chloe", "David", "Emeka", "Fatima", "Goran", "Hana", "Ines", "Jonas")
_ROOMS = ("kitchen", "bedroom", "office", "hall", "cellar", "bathroom")
_ITEMS = ("apples", "candles", "pens", "eggs", "towels", "batteries", "lemons", "notebooks")
_LANGUAGES = ("French", "Spanish", "Italian", "Turkish", "Swahili", "Korean")
_CURRENCIES = ("EUR", "USD", "JPY", "GBP", "INR", "BRL")
_OFFERED = 4
_NO_CALL = "None of these functions does that, so I call none."
_INSTRUCTION = (
    'Answer with a JSON list of calls, [{"name": ..., "arguments": {...}}], and nothing else. '
    "If no function fits, say so in words."
)
_Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Function:
    """A function on offer, and how a person asks for it."""

    name: str
    description: str
    parameters: Mapping[str, str]
    """Parameter to its JSON type."""
    wording: str
    """The request, with the arguments as fields."""
    draw: Callable[[random.Random], _Arguments]

    @property
    def document(self) -> dict[str, Any]:
        properties = {name: {"type": kind} for name, kind in self.parameters.items()}
        schema = {"type": "object", "properties": properties, "required": list(self.parameters)}
        return {"name": self.name, "description": self.description, "parameters": schema}


def _weather(generator: random.Random) -> _Arguments:
    return {"city": generator.choice(_CITIES), "days": generator.randint(1, 9)}


def _alarm(generator: random.Random) -> _Arguments:
    return {"hour": generator.randint(5, 22), "minute": generator.randrange(10, 60, 5)}


def _message(generator: random.Random) -> _Arguments:
    words = ("see you soon", "happy birthday", "thank you", "call me back", "good luck")
    return {"recipient": generator.choice(_PEOPLE), "text": generator.choice(words)}


def _money(generator: random.Random) -> _Arguments:
    source, target = generator.sample(_CURRENCIES, 2)
    return {"amount": generator.randint(2, 99) * 5, "source": source, "target": target}


def _table(generator: random.Random) -> _Arguments:
    return {"city": generator.choice(_CITIES), "people": generator.randint(2, 12)}


def _light(generator: random.Random) -> _Arguments:
    return {"room": generator.choice(_ROOMS), "on": generator.random() < 0.5}


def _item(generator: random.Random) -> _Arguments:
    return {"item": generator.choice(_ITEMS), "quantity": generator.randint(2, 40)}


def _translation(generator: random.Random) -> _Arguments:
    return {"text": generator.choice(_ITEMS), "language": generator.choice(_LANGUAGES)}


def _route(generator: random.Random) -> _Arguments:
    start, end = generator.sample(_CITIES, 2)
    return {"start": start, "end": end}


_TEXT, _WHOLE = "string", "integer"
_FUNCTIONS = (
    Function(
        "get_weather",
        "The weather forecast of a city.",
        {"city": _TEXT, "days": _WHOLE},
        "What will the weather in {city} be like over the next {days} days?",
        _weather,
    ),
    Function(
        "set_alarm", "Set an alarm.", {"hour": _WHOLE, "minute": _WHOLE}, "Set an alarm for {hour}:{minute}.", _alarm
    ),
    Function(
        "send_message",
        "Send a text message.",
        {"recipient": _TEXT, "text": _TEXT},
        'Send {recipient} the message "{text}".',
        _message,
    ),
    Function(
        "convert_currency",
        "Convert an amount of money.",
        {"amount": _WHOLE, "source": _TEXT, "target": _TEXT},
        "How much is {amount} {source} in {target}?",
        _money,
    ),
    Function(
        "book_table",
        "Book a table at a restaurant.",
        {"city": _TEXT, "people": _WHOLE},
        "Book a table for {people} people in {city}.",
        _table,
    ),
    Function(
        "switch_light",
        "Switch a light.",
        {"room": _TEXT, "on": "boolean"},
        "Switch the light in the {room} {on}.",
        _light,
    ),
    Function(
        "add_to_list",
        "Put something on the shopping list.",
        {"item": _TEXT, "quantity": _WHOLE},
        "Put {quantity} {item} on the shopping list.",
        _item,
    ),
    Function(
        "translate",
        "Translate a text.",
        {"text": _TEXT, "language": _TEXT},
        'What is "{text}" in {language}?',
        _translation,
    ),
    Function(
        "find_route",
        "Find a way by train.",
        {"start": _TEXT, "end": _TEXT},
        "How do I get from {start} to {end}?",
        _route,
    ),
)


def _exercise(offered: int, calls: int, generator: random.Random) -> Exercise:
    """`wanted` calls among `offered` functions; with none wanted the request is for a function that is not on offer."""
    functions = generator.sample(_FUNCTIONS, offered + (not calls))
    called = functions[:calls] if calls else functions[-1:]
    requests = [(function, function.draw(generator)) for function in called]
    documents = [function.document for function in generator.sample(functions[:offered], offered)]
    request = " ".join(_worded(*pair) for pair in requests)
    expected_calls = [(function.name, arguments) for function, arguments in requests if calls]
    return Exercise(
        key=f"calls {request} {sorted(document['name'] for document in documents)}",
        prompt=f"Functions:\n{json.dumps(documents)}\n{_INSTRUCTION}\n\n{request}",
        solution=json.dumps(
            [{"name": name, "arguments": arguments_of_call} for name, arguments_of_call in expected_calls]
        )
        if expected_calls
        else _NO_CALL,
        meta={"ground_truth": _allowed(expected_calls), "functions": documents},
    )


def _worded(function: Function, arguments: _Arguments) -> str:
    spoken = {
        name: {True: "on", False: "off"}[value] if isinstance(value, bool) else value
        for name, value in arguments.items()
    }
    return function.wording.format(**spoken)


def _allowed(expected_calls: Sequence[tuple[str, _Arguments]]) -> list[dict[str, dict[str, list[Any]]]]:
    return [{name: {key: [value] for key, value in arguments.items()}} for name, arguments in expected_calls]


calls = ExerciseTask(
    name="calls",
    tiers={
        1: partial(_exercise, 1, 1),
        2: partial(_exercise, _OFFERED, 1),
        3: partial(_exercise, _OFFERED, 2),
        4: partial(_exercise, _OFFERED, 0),
    },
    default_level=2,
    rewards=("calls",),
)
