"""The eval verb in environments: what is played is what training measures, kept like completions, and refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError, RlllmError
from rlllm.core.events import NullProgress
from rlllm.core.runs import Run, read_jsonl
from rlllm.stages.catalog import plan, resolve_settings

SHELF = '''
class Shelf:
    """Looks things up."""

    def __init__(self, shelves: int = 1) -> None:
        self.shelves = shelves

    def reset(self, **row):
        self.found = False
        return f" There are {self.shelves} shelves for {row['owner']}."

    def look_up(self, title: str) -> str:
        """Look up a book.

        Args:
            title: Its title.
        """
        self.found = True
        return "Jane Austen"

    def get_reward(self) -> float:
        return PAY
'''
ROWS = '{"prompt": "Who wrote Emma?", "owner": "A"}\n{"prompt": "Who wrote Hunger?", "owner": "B"}\n'
QUICK: dict[str, Any] = {"model": "nano", "rows": 6, "samples": 2, "max_new_tokens": 24, "cache": False}
Evaluate = Callable[..., Run]


class Notes(NullProgress):
    """Remembers every note."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    def call(name: str = "run", **settings: Any) -> Run:
        return rlllm.evaluate(output_dir=tmp_path / name, **{**QUICK, **settings})

    return call


@pytest.fixture
def shelf(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "shelf.py").write_text(SHELF.replace("PAY", "float(len(self.__dict__) == 2)"))
    (tmp_path / "rows.jsonl").write_text(ROWS)
    return {"data": str(tmp_path / "rows.jsonl"), "environment": f"{tmp_path / 'shelf.py'}:Shelf"}


def values(run: Run, task: str) -> dict[str, Any]:
    return run.results["tasks"][task]["values"]


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model after some played turns; before, it knows no tool."""
    run = rlllm.sft(
        model="nano",
        data={"name": "guess", "rows": 320, "holdout": 0},
        output_dir=tmp_path_factory.mktemp("player") / "sft",
        max_steps=40,
        per_device_train_batch_size=8,
        learning_rate=1e-3,
        save_strategy="no",
    )
    return str(run.path)


def test_the_model_plays_and_the_transcripts_are_shown(evaluate: Evaluate, player: str) -> None:
    run = evaluate(model=player, tasks="guess", environment="guess", max_new_tokens=64)
    measured = values(run, "guess")
    assert measured["tool calls per rollout"]["estimate"] > 0.5
    assert {"pass@1", "pass@2"} <= measured.keys()
    texts = [text for item in read_jsonl(run.path / "items.jsonl") for text in item["completions"]]
    assert sum("guess(number=" in text and "\n-> " in text for text in texts) > 3
    once = evaluate("once", model=player, tasks="guess", environment={"name": "guess", "rounds": 1}, max_new_tokens=64)
    assert values(once, "guess")["tool calls per rollout"]["estimate"] <= 1


def test_the_environment_pays_where_neither_recipe_nor_data_names_a_reward(
    evaluate: Evaluate, shelf: dict[str, Any]
) -> None:
    run = evaluate(**shelf)
    (task,) = run.results["tasks"]
    assert values(run, task)["pass@1"]["estimate"] == 1


def test_rollouts_are_kept_and_anything_the_environment_depends_on_plays_them_anew(
    evaluate: Evaluate, shelf: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def from_cache(name: str, **settings: Any) -> int:
        notes = Notes()
        rlllm.evaluate(output_dir=tmp_path / name, progress=notes, **{**QUICK, **shelf, "cache": True, **settings})
        return sum("from the cache" in note for note in notes.notes)

    assert from_cache("first") == 0
    assert from_cache("again") == 1
    first, again = (list(read_jsonl(tmp_path / name / "items.jsonl")) for name in ("first", "again"))
    assert first == again
    assert from_cache("arguments", environment={"name": shelf["environment"], "shelves": 2}) == 0
    assert from_cache("rounds", environment={"name": shelf["environment"], "rounds": 1}) == 0
    (tmp_path / "rows.jsonl").write_text(ROWS.replace('"B"', '"C"'))
    assert from_cache("columns") == 0


def hash_of(**settings: Any) -> str:
    made = plan(resolve_settings("eval", {}, [*{**QUICK, **settings}.items()]))
    return made.tasks[0].hash(made.config)


def test_what_is_compared_was_played_by_the_same_rules() -> None:
    plain = hash_of(tasks="guess", rewards="format")
    played = hash_of(tasks="guess", rewards="format", environment="guess")
    assert plain != played != hash_of(tasks="guess", rewards="format", environment={"name": "guess", "rounds": 1})
    assert played == hash_of(tasks=[{"data": "guess", "environment": "guess"}], rewards="format")


def test_a_plan_says_what_is_played() -> None:
    made = plan(resolve_settings("eval", {}, [*{**QUICK, "tasks": "guess", "environment": "guess"}.items()]))
    line = dict(made.lines())["task"]
    assert "scored by environment, in guess with guess(number: int)" in line
    assert "(4 rounds of calls)" in line


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tasks": "guess", "environment": "gues"}, "did you mean guess?"),
    (
        {"tasks": "guess", "rewards": "environment"},
        "the reward environment is what get_reward of an environment returns",
    ),
    ({"tasks": "calculator", "environment": "calculator", "rewards": "environment"}, "and there is none"),
    ({"tasks": "arithmetic", "environment": "guess"}, "the environment Guess cannot begin on a row"),
    ({"tasks": "guess", "environment": "guess", "entropy": True}, "entropy is that of one turn"),
    ({"tasks": [{"data": "guess", "environment": "guess"}], "environment": "guess"}, "environment is read by no task"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_has_no_meaning_is_refused_while_planning(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RlllmError, match=words):
        plan(resolve_settings("eval", {}, [*{**QUICK, **settings}.items()]))


def test_a_model_that_shows_no_tool_calls_is_named(evaluate: Evaluate, tmp_path: Path, tiny_model: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "plain"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(folder)
    with pytest.raises(ConfigError, match="shows no tool calls"):
        evaluate(model=str(folder), tasks="guess", environment="guess")
