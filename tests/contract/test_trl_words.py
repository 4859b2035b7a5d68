"""The words that settings of the loop may have are those TRL compares them with."""

from __future__ import annotations

import inspect
import re

import pytest
from trl import GRPOTrainer

from rlllm.training.rl_plan import WORDS

SOURCE = inspect.getsource(GRPOTrainer)


@pytest.mark.parametrize("name", WORDS)
def test_trl_knows_these_words_and_no_others(name: str) -> None:
    compared = re.findall(rf'(?:self|args)\.{name} (?:==|!=|in|not in) (\[[^\]]*\]|"[^"]*")', SOURCE)
    assert set(re.findall(r'"(\w+)"', " ".join(compared))) == set(WORDS[name])
