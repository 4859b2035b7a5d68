"""The tables of `coming-from.md` name keys, methods and parts that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator

from docs_pages import ROOT

from rlllm.algorithms.registry import METHODS, SLOTS
from rlllm.core.config import known_keys
from rlllm.rewards.registry import REWARDS
from rlllm.rollouts.registry import ENGINES
from rlllm.stages.catalog import STAGES, settings_classes

PAGE = (ROOT / "docs" / "guides" / "coming-from.md").read_text(encoding="utf-8")
WORD = re.compile(r"[a-z][\w+-]*(?:\.\w+)*")
OWN_WORDS = {"columns", "file.py", "token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"}
"""An option of the command line, a file, and aggregations of a loss."""


def rows() -> Iterator[tuple[str, str]]:
    """Their key and ours, of every table."""
    for line in PAGE.splitlines():
        if line.startswith("| ") and not line.startswith("|---"):
            theirs, ours = (cell.strip() for cell in line.strip("| ").split(" | "))
            if ours != "rlllm":
                yield theirs, ours


def named(text: str) -> Iterator[str]:
    """The first word of everything in code: a key, or the name of a method or part."""
    for code in re.findall(r"`([^`]+)`", text):
        for word in re.sub(r"^rlllm |^--method |^--", "", code).split()[:1]:
            if match := WORD.match(word):
                yield match.group()


def test_every_key_and_name_of_ours_exists() -> None:
    keys = {key for verb in STAGES for cls in settings_classes(verb) for key in known_keys(cls)}
    parts = {name.partition(".")[2] for name in SLOTS.builtins} | set(METHODS.builtins) | set(REWARDS.builtins)
    known = {key.replace("_", "-") for key in keys} | parts | set(STAGES) | set(ENGINES.builtins) | OWN_WORDS
    wrong = {
        word: theirs for theirs, ours in rows() for word in named(ours) if not {word, word.replace("_", "-")} & known
    }
    assert wrong == {}


def test_the_tables_are_read() -> None:
    pairs = dict(rows())
    assert len(pairs) > 60
    assert list(named("`rlllm reason --method rloo`, `lora.r=16`, or `--method dapo`")) == ["reason", "lora.r", "dapo"]
