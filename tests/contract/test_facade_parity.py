"""Every verb of the command line is one public function of the Python package."""

from __future__ import annotations

import inspect

import pytest

import rlllm
from rlllm_cli.main import PANELS

SPELLING = {"eval": "evaluate", "run": "run_pipeline"}
WITHOUT_A_FUNCTION = {"report", "chat", "runs", "traces", "doctor", "selftest", "demo"}
"""They read or print what a `Run` or `read_traces` already offers, or check the installation; `chat` is a dialogue; `demo` is
the pipeline recipe of that name."""
VERBS = [name for panel in ("Lifecycle", "Look", "Whole") for name in PANELS[panel] if name not in WITHOUT_A_FUNCTION]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_a_public_function(verb: str) -> None:
    name = SPELLING.get(verb, verb.replace("-", "_"))
    assert name in rlllm.__all__
    function = getattr(rlllm, name)
    assert inspect.isfunction(function)
    assert function.__name__ == name
    assert function.__doc__


@pytest.mark.parametrize("verb", PANELS["Lifecycle"])
def test_lifecycle_functions_take_a_recipe_and_settings(verb: str) -> None:
    function = getattr(rlllm, SPELLING.get(verb, verb.replace("-", "_")))
    parameters = inspect.signature(function).parameters
    assert next(iter(parameters)) == "recipe"
    assert parameters["settings"].kind is inspect.Parameter.VAR_KEYWORD


@pytest.mark.parametrize("verb", PANELS["Lifecycle"])
def test_a_verb_is_described_once(verb: str) -> None:
    """The sentence of `--help` is the first of the Python function."""
    described = inspect.getdoc(getattr(rlllm, SPELLING.get(verb, verb.replace("-", "_")))) or ""
    first = " ".join(described.split("\n\n")[0].replace("`", "").split())
    assert inspect.getdoc(PANELS["Lifecycle"][verb]) == first


def test_every_public_name_loads() -> None:
    assert [name for name in rlllm.__all__ if not hasattr(rlllm, name)] == []
