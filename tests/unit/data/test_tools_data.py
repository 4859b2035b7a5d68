"""The rows for the built-in environments: problems, and turns of played ones that a tokenizer renders as its own calls."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, PreferencePair, PromptTask, Record
from rlllm.data.procedural.tool_tasks import calculator, guess
from rlllm.data.request import DataRequest
from rlllm.rollouts.environments.guess import Guess

SETS = pytest.mark.parametrize("make", [calculator, guess], ids=["calculator", "guess"])


def prompts(records: Sequence[Record]) -> set[str]:
    return {str(one.prompt if isinstance(one.prompt, str) else one.prompt[0]["content"]) for one in records}


@SETS
@pytest.mark.parametrize("kind", [PromptTask, Conversation])
def test_the_same_request_gives_the_same_rows_and_the_splits_share_no_prompt(make, kind) -> None:  # type: ignore[no-untyped-def]
    train, again, held_out = (make(DataRequest(kind, split, 300)) for split in ("train", "train", "holdout"))
    assert train == again
    assert len(train) == 300
    assert held_out
    assert not prompts(train) & prompts(held_out)


@SETS
def test_only_tasks_and_conversations_are_made(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="PreferencePair"):
        make(DataRequest(PreferencePair))
    with pytest.raises(ConfigError, match="levels 1 to"):
        make(DataRequest(level=9))


def test_every_calculator_transcript_calls_or_guesses_wrongly_as_often_as_asked() -> None:
    first = [one for one in calculator(DataRequest(Conversation, rows=400)) if isinstance(one.prompt, str)]
    assert 0.4 < sum("<<" in one.completion for one in first) / len(first) < 0.6  # type: ignore[union-attr]
    for one in calculator(DataRequest(Conversation, rows=50, params={"calls": 1})):
        assert isinstance(one, Conversation)
        last = isinstance(one.prompt, list)
        assert one.completion == f"#### {one.meta['answer']}" if last else one.completion.startswith("<<calculate")


def test_a_played_turn_is_what_the_environment_would_have_said() -> None:
    tokenizer = build_tokenizer()
    for one in guess(DataRequest(Conversation, rows=200, level=2)):
        assert isinstance(one, Conversation)
        environment = Guess()
        environment.reset(**one.meta)
        turns = list(one.prompt)[1:]
        for asked, reply in zip(turns[::2], turns[1::2], strict=True):
            assert isinstance(asked, dict)
            assert isinstance(reply, dict)
            ids = tokenizer(asked["content"])["input_ids"]
            called = tokenizer.parse_response(ids, prefix="", tools=[environment.guess])["tool_calls"][0]["function"]
            assert environment.guess(**called["arguments"]) == reply["content"]
        assert (one.completion == "done") == (environment.found or not environment.left)


def test_attentive_players_find_more() -> None:
    def share(attentive: float) -> float:
        rows = guess(DataRequest(Conversation, rows=2000, params={"attentive": attentive}))
        ends = [one.prompt[-1]["content"] for one in rows if one.completion == "done"]  # type: ignore[union-attr,index]
        return sum(end == "right" for end in ends) / len(ends)

    assert share(1.0) > share(0.0) + 0.1
