"""Errors: what, given, exists, hint; one exit code each; they survive a trip between processes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core import errors
from rlllm.core.errors import ConfigError, ExitCode, RlllmError, UnknownNameError, closest, unknown

OWN = [error for error in RlllmError.__subclasses__() if error.__module__ == errors.__name__]
EVERY_ERROR = [RlllmError, *OWN, UnknownNameError]
EXIT_CODES = {
    "EngineError": 1,
    "WeightSyncError": 1,
    "RlllmError": 1,
    "ConfigError": 2,
    "UnknownNameError": 2,
    "DataError": 2,
    "ModelError": 2,
    "RunDirectoryError": 2,
    "RunLostError": 1,
    "StalledError": 75,
    "PluginError": 3,
    "RewardError": 1,
}


def test_a_message_has_its_four_parts_in_order() -> None:
    error = ConfigError("no such thing", given="x", exists=["a", "b"], hint="type a")
    assert str(error).split("\n") == ["no such thing", "given: x", "exists: a, b", "hint: type a"]


def test_parts_that_are_absent_leave_no_line() -> None:
    assert str(ConfigError("no such thing")) == "no such thing"


def test_an_empty_thing_that_was_given_is_shown() -> None:
    assert str(ConfigError("nothing here", given="")) == "nothing here\ngiven: "


def test_a_long_list_of_choices_is_cut_and_counted() -> None:
    shown = str(ConfigError("x", exists=[f"n{i}" for i in range(30)])).splitlines()[1]
    assert shown.count(",") == 23
    assert shown.endswith("n23 and 6 more")


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_every_error_has_the_exit_code_scripts_rely_on(kind: type[RlllmError]) -> None:
    assert int(kind("x").exit_code) == EXIT_CODES[kind.__name__]


def test_the_exit_codes_are_these() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "PLUGIN": 3,
        "UNDECIDED": 4,
        "STALLED": 75,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_an_error_is_the_same_after_pickling(kind: type[RlllmError]) -> None:
    error = kind("what", given=3, exists=["a"], hint="h")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.exit_code) == (kind, str(error), error.exit_code)


NEAREST = [
    ("learning_rat", ["learning_rate", "seed"], "learning_rate"),
    ("Learning-Rate", ["learning_rate"], "learning_rate"),
    ("learning-rate", ["learning_rate"], "learning_rate"),
    ("gsm8k", ["arithmetic", "lists"], None),
    ("", ["a"], None),
    ("aritmetic", [], None),
]


@pytest.mark.parametrize(("name", "choices", "expected"), NEAREST)
def test_the_closest_name_is_found_or_none_is(name: str, choices: list[str], expected: str | None) -> None:
    assert closest(name, choices) == expected


@given(st.text(min_size=1, max_size=12), st.lists(st.text(max_size=12), max_size=6))
def test_whatever_is_suggested_exists(name: str, choices: list[str]) -> None:
    assert closest(name, choices) in {None, *choices}


def test_a_near_name_is_suggested_instead_of_the_whole_list() -> None:
    error = unknown("reward", "exakt", ["exact", "format"], list_command="rlllm rewards ls")
    assert str(error) == "unknown reward: exakt\nhint: did you mean exact?"


def test_a_far_name_gets_the_list_and_the_command_that_prints_it() -> None:
    error = unknown("reward", "xyzzy", ["format", "exact"], list_command="rlllm rewards ls")
    assert str(error) == "unknown reward: xyzzy\nexists: exact, format\nhint: list them with: rlllm rewards ls"


def test_errors_can_be_caught_as_the_builtin_they_resemble() -> None:
    assert issubclass(errors.ConfigError, ValueError)
    assert issubclass(errors.UnknownNameError, LookupError)
    assert issubclass(errors.PluginError, ImportError)
    assert issubclass(errors.RewardError, RuntimeError)
