"""An engine of a user: what is refused when a run is planned, and what is said when it fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, PluginError
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import Engine, sample_completions
from rlllm.rollouts.engines.loading import check_engine, load_engine, open_engine
from rlllm.rollouts.registry import ENGINES
from rlllm.stages import catalog

HEAD = "from rlllm.plugins import Engine\n\n\n"
GOOD = """
class Mine(Engine):
    tier = "by rule"
    _calls = 0

    def helper(self): ...

    def generate(self, prompts, sampling):
        return [[1, 2] for _ in prompts]
"""
REFUSED = [
    # file, part of the message, part of the hint or of what exists
    ("def Mine(model, tokenizer): ...", "is not an engine", "class MyEngine(Engine)"),
    ("class Mine: ...", "is not an engine", "class MyEngine(Engine)"),
    ("class Mine(Engine): ...", "has no method generate", "def generate(self, prompts, sampling)"),
    (
        "class Mine(Engine):\n    teir = 'x'\n    def generate(self, prompts, sampling): ...",
        "has an attribute that no engine has: teir",
        "did you mean tier?",
    ),
    (
        "class Mine(Engine):\n    quux: int = 3\n    def generate(self, prompts, sampling): ...",
        "has an attribute that no engine has: quux",
        "name it _quux if it is your own",
    ),
    (
        "class Mine(Engine):\n    def stop_id(self): ...\n    def generate(self, prompts, sampling): ...",
        "has an attribute that no engine has: stop_id",
        "did you mean stop_ids?",
    ),
    (
        "class Mine(Engine):\n    def generate(self, prompts): ...",
        "generate of the engine",
        "def generate(self, prompts, sampling)",
    ),
    (
        "class Mine(Engine):\n    def __init__(self): ...\n    def generate(self, prompts, sampling): ...",
        "__init__ of the engine",
        "def __init__(self, model, tokenizer)",
    ),
    (
        "class Mine(Engine):\n    def stop_ids(self, model): ...\n    def generate(self, prompts, sampling): ...",
        "stop_ids of the engine",
        "def stop_ids(self)",
    ),
]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], str]:
    """Writes an engine's file and returns the name by which it is asked for."""

    def write(body: str) -> str:
        path = tmp_path / "mine.py"
        path.write_text(HEAD + body)
        return f"{path}:Mine"

    return write


def test_an_engine_that_declares_only_what_engines_have_is_taken(written: Callable[[str], str]) -> None:
    name = written(GOOD)
    check_engine(name)
    engine = open_engine(name, "model", "tokenizer")
    assert (engine.model, engine.tokenizer, engine.tier, engine.reason) == ("model", "tokenizer", "by rule", "")
    assert sample_completions(engine, [[5], [6]], SamplingConfig()) == [[1, 2], [1, 2]]


@pytest.mark.parametrize(("body", "message", "hint"), REFUSED)
def test_an_engine_that_is_none_is_refused_by_name(
    written: Callable[[str], str], body: str, message: str, hint: str
) -> None:
    name = written(body)
    with pytest.raises(ConfigError) as caught:
        check_engine(name)
    assert message in caught.value.what
    assert hint in str(caught.value)


def test_it_is_refused_when_a_run_is_planned(written: Callable[[str], str]) -> None:
    name = written("class Mine(Engine):\n    def generate(self, prompts): ...")
    with pytest.raises(ConfigError, match="cannot be called with prompts and sampling"):
        catalog.plan(catalog.resolve_settings("reason", {"data": "arithmetic", "rollout": {"engine": name}}))


@pytest.mark.parametrize("name", ENGINES.builtins)
def test_what_ships_with_rlllm_keeps_to_the_protocol(name: str) -> None:
    assert issubclass(load_engine(name), Engine)


def test_an_exception_of_an_engine_names_its_file_and_line(written: Callable[[str], str]) -> None:
    name = written(
        "class Mine(Engine):\n    def generate(self, prompts, sampling):\n        return sampling.max_tokens\n"
    )
    with pytest.raises(PluginError) as caught:
        sample_completions(open_engine(name, None, None), [[1]], SamplingConfig(), name)
    assert caught.value.what.startswith(f"the engine {name} raised AttributeError: ")
    assert caught.value.what.endswith("(mine.py, line 6)")
    assert "max_new_tokens" in caught.value.exists
    assert caught.value.hint == "did you mean max_new_tokens?"


def test_an_exception_of_its_constructor_names_it_too(written: Callable[[str], str]) -> None:
    name = written(GOOD + "\n    def __init__(self, model, tokenizer):\n        super().__init__(model)\n")
    with pytest.raises(PluginError, match=r"missing 1 required positional argument: 'tokenizer' \(mine.py, line 15\)"):
        open_engine(name, None, None)


RETURNED = [
    # what generate returns, what is said of it
    ("None", "returned NoneType, not a list of lists of token ids"),
    ("[[1]]", "returned 1 completions for 2 prompts"),
    ("[[1], []]", "returned 1 completions for 2 prompts"),
    ("[[1], ['a']]", "returned no list of token ids as completion 2 of 2: list ['a']"),
    ("['ab', 'cd']", "returned no list of token ids as completion 1 of 2: str ab"),
]


@pytest.mark.parametrize(("value", "message"), RETURNED)
def test_what_is_no_list_of_completions_is_an_error(written: Callable[[str], str], value: str, message: str) -> None:
    name = written(f"class Mine(Engine):\n    def generate(self, prompts, sampling):\n        return {value}\n")
    with pytest.raises(PluginError) as caught:
        sample_completions(open_engine(name, None, None), [[1], [2]], SamplingConfig())
    assert message in caught.value.what


def test_stop_ids_are_the_tokenizers_and_the_generation_configs() -> None:
    class Bare:
        eos_token_id: Any = 7
        chat_template = None

    class Model:
        generation_config = Bare()

    model, tokenizer = Model(), Bare()
    tokenizer.eos_token_id = 3
    engine = load_engine("hf")(model, tokenizer)
    assert engine.stop_ids() == {3, 7}
    model.generation_config.eos_token_id = [7, 8]
    assert engine.stop_ids() == {3, 7, 8}
    model.generation_config.eos_token_id = None
    assert engine.stop_ids() == {3}
