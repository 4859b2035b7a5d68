"""Episodes by hand and by a model: what a call may look like, what both kinds of turns become, and how an episode ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.errors import ConfigError, DataError, UnknownNameError
from rlllm.core.records import Conversation, PromptTask
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import Engine
from rlllm.rollouts.engines.hf import HFEngine
from rlllm.rollouts.environments.multi_turn import MultiTurnSampler
from rlllm.tools.play import Play, open_play, play_settings
from rlllm.training.environment import EnvironmentSpec, PlannedEnvironment, planned_environment

GREEDY = SamplingConfig(temperature=0, max_new_tokens=96)
CALL = "<<calculate expression=6*7>>"
SUM = PromptTask("6 * 7 = ?", "42")
NUMBER = PromptTask("Guess: 11, 12, 13.", None, {"secret": 13, "guesses": 3})
tokenizer = cache(build_tokenizer)


class Script(Engine):
    """An engine that answers a context by a function of its text."""

    def __init__(self, says: Callable[[str], str]) -> None:
        self._says = says
        self.heard: list[str] = []

    def generate(self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig) -> list[list[int]]:
        texts = tokenizer().batch_decode([list(ids) for ids in prompts])
        self.heard += texts
        return tokenizer()([self._says(text) + "<|end|>" for text in texts])["input_ids"]

    def stop_ids(self) -> set[int]:
        return {tokenizer().eos_token_id}


class Parcel:
    """Takes arguments of several types."""

    def reset(self, **row: Any) -> str:
        self.sent: list[Any] = []
        return " It is empty."

    def send(self, to: str, weight: float, fast: bool = False, lines: list[str] | None = None) -> str:
        """Send it.

        Args:
            to: Where.
            weight: In kg.
            fast: Whether it flies.
            lines: What is written on it.
        """
        self.sent.append((to, weight, fast, lines))
        return f"{len(self.sent)} sent"


def named(name: str, rounds: int = 4) -> PlannedEnvironment:
    environment = planned_environment(EnvironmentSpec(name=name, rounds=rounds))
    assert environment is not None
    return environment


def scripted(says: Callable[[str], str], *, rounds: int = 2, max_new_tokens: int = 96) -> tuple[Play, Script]:
    engine, environment = Script(says), named("calculator", rounds)
    sampling = GREEDY.model_copy(update={"max_new_tokens": max_new_tokens})
    sampler = MultiTurnSampler(engine, tokenizer(), environment.factory([SUM]), sampling, rounds=rounds)
    return Play(environment, [SUM], sampler=sampler, model="script"), engine


def roles(messages: Sequence[dict[str, Any]]) -> list[str]:
    return [message["role"] for message in messages]


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("send to=a b  weight=2", ("a b", 2.0, False, None)),
        ("send weight=2.5 to=x = y, z fast=true", ("x = y, z", 2.5, True, None)),
        ("send to=a or b=c weight=1", ("a or b=c", 1.0, False, None)),
        ('send to="1984" weight=1 lines=["a", "b"]', ("1984", 1.0, False, ["a", "b"])),
        ('send {"to": "r", "weight": 3, "fast": true}', ("r", 3.0, True, None)),
    ],
)
def test_a_call_that_is_typed_has_the_types_of_the_tools_hints(typed: str, sent: tuple[Any, ...]) -> None:
    play = Play(PlannedEnvironment("parcel", Parcel, 4), [PromptTask("Send a parcel.")])
    assert play.opening == [{"role": "user", "content": "Send a parcel. It is empty."}]
    turn, result = play.call(typed)
    (call,) = turn["tool_calls"]
    assert tuple({"fast": False, "lines": None, **call["function"]["arguments"]}[key] for key in SENT) == sent
    assert result == {"role": "tool", "name": "send", "content": "1 sent"}


SENT = ("to", "weight", "fast", "lines")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("sendd to=a weight=1", "unknown tool: sendd(.|\n)*did you mean send"),
        ("send to=a", "missing a required argument: 'weight'"),
        ("send a 1", "several arguments are written name=value"),
        ("send weigth=1 to=a", "unknown argument of the tool send: weigth(.|\n)*did you mean weight"),
        ("send to=a weight=heavy", "weight of the tool send: input should be a valid number"),
        ('send {"to": 3, "weight": 1}', "to of the tool send: input should be a valid string"),
        ('send {"to"', "no JSON object"),
        ('send {"too": "a", "weight": 1}', "unknown argument of the tool send: too"),
    ],
)
def test_a_call_that_is_typed_wrongly_is_refused_and_the_episode_goes_on(typed: str, message: str) -> None:
    play = Play(PlannedEnvironment("parcel", Parcel, 4), [PromptTask("Send a parcel.")])
    with pytest.raises(ConfigError, match=message):
        play.call(typed)
    assert play.call("send to=a weight=1")[1]["content"] == "1 sent", "nothing was called before"


def test_an_answer_ends_the_episode_and_another_begins_on_any_row() -> None:
    play = Play(named("guess"), [NUMBER, PromptTask("Guess: 1, 2, 3.", None, {"secret": 1, "guesses": 2})])
    assert [play.call(f"guess {number}")[1]["content"] for number in (11, 12, 13, 13)] == [
        "higher",
        "higher",
        "right",
        str({"error": "the game is over"}),
    ]
    assert play.ending is None
    play.answer("13")
    assert play.ending == "answer"
    for act in (lambda: play.answer("12"), lambda: play.call("guess 12")):
        with pytest.raises(ConfigError, match="the episode is over"):
            act()
    play.begin(2)
    assert (play.row, play.ending, play.opening[0]["content"]) == (2, None, "Guess: 1, 2, 3.")
    assert play.call("guess number=1")[1]["content"] == "right"
    with pytest.raises(ConfigError, match="rows 1 to 2"):
        play.begin(3)
    with pytest.raises(ConfigError, match="no model plays here"):
        play.model_turn()


def test_a_turn_by_hand_has_the_tokens_of_the_same_turn_of_a_model() -> None:
    def says(text: str) -> str:
        return "#### 42" if "=42" in text else CALL

    alone, heard = scripted(says)
    assert roles(alone.model_turn()) == ["assistant", "tool"]
    assert (roles(alone.model_turn()), alone.ending) == (["assistant"], "answer")
    together, heard_too = scripted(says)
    assert roles(together.call("calculate 6*7")) == ["assistant", "tool"]
    assert together.model_turn() == [{"role": "assistant", "content": "#### 42"}]
    assert (
        heard_too.heard == heard.heard[1:] == [f"<|user|>6 * 7 = ?<|assistant|>{CALL}<|end|><|system|>=42<|assistant|>"]
    )


def test_the_models_calls_are_answered_until_the_rounds_are_used_up_and_those_by_hand_count() -> None:
    play, _ = scripted(lambda text: CALL, rounds=2)
    play.call("calculate 1+1")
    assert (roles(play.model_turn()), play.ending) == (["assistant", "tool"], None)
    assert (roles(play.model_turn()), play.ending) == (["assistant"], "rounds")
    with pytest.raises(ConfigError, match="the episode is over"):
        play.model_turn()


def test_all_turns_share_one_length_limit() -> None:
    play, _ = scripted(lambda text: "#### 42", max_new_tokens=len(CALL) + 4)
    play.call("calculate 6*7")
    with pytest.raises(DataError, match="no room for another"):
        play.model_turn()
    play.answer("42")
    cut, _ = scripted(lambda text: "2 + 2 is 4", max_new_tokens=3)
    assert (cut.model_turn()[0]["content"], cut.ending) == ("2 +", "length")


def test_the_embedded_model_takes_a_turn_behind_a_call_by_hand(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": NUMBER.prompt, **NUMBER.meta}))
    settings = play_settings([("environment", "guess"), ("data", str(tmp_path / "rows.jsonl"))])
    play = open_play(settings, "nano", GREEDY)
    play.call("guess 12")
    (turn,) = play.model_turn()
    nano, own = resolve_model("nano"), load_tokenizer(resolve_model("nano"))
    text = "<|user|>Guess: 11, 12, 13.<|assistant|><<guess number=12>><|end|><|system|>=higher<|assistant|>"
    ids = HFEngine(load_policy(nano), own).generate([own(text, add_special_tokens=False)["input_ids"]], GREEDY)[0]
    assert turn == {"role": "assistant", "content": own.decode(ids, skip_special_tokens=True)}
    assert play.scores() == {"environment": {"value": 0.0}}
    assert play.set_temperature("0.5") == 0.5
    play.save(tmp_path / "played.jsonl")
    (row,) = load(DataConfig(name=str(tmp_path / "played.jsonl"), holdout=0), Conversation).train
    assert (roles(row.prompt), row.completion, row.trained_turns) == (
        ["user", "assistant", "tool"],
        turn["content"],
        (1,),
    )
    assert [tool["function"]["name"] for tool in row.meta["tools"]] == ["guess"]
    with pytest.raises(ConfigError, match="exists already"):
        play.save(tmp_path / "played.jsonl")


def test_what_is_played_is_checked_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigError, match=r"environment\.level=2, or data\.level=2"):
        play_settings([("environment", "guess"), ("level", 2)])
    with pytest.raises(ConfigError, match="of an environment"):
        play_settings([("data.level", 2)])
    with pytest.raises(UnknownNameError, match="environment"):
        open_play(play_settings([("environment", "gues")]), None, GREEDY)
