"""What is an environment and what is not, what its rollouts become, and the two that ship."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError, RewardError
from rlllm.core.records import PromptTask, Sample
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.environment import EnvironmentReward
from rlllm.rollouts.environments.base import checked, factory, finished, tools_of, transcript_text
from rlllm.rollouts.environments.calculator import Calculator
from rlllm.rollouts.environments.guess import Guess

ANSWERED = [{"role": "assistant", "content": "#### 4"}]
TASK = PromptTask("2 + 2 = ?", "4", {"level": 1})


class Shop:
    """Sells things."""

    def __init__(self, stock: int = 3) -> None:
        self.stock = stock

    def reset(self, **row: Any) -> str:
        self.row = row
        return f" ({self.stock} left)"

    def buy(self, name: str, count: int = 1) -> str:
        """Buy something.

        Args:
            name: What.
            count (int): How many.
        """
        self.stock -= count
        return f"{count} {name}"

    async def wait(self) -> str:
        """Wait a moment."""
        return "later"

    def get_reward(self) -> float:
        """What is left."""
        return float(self.stock)

    def _private(self) -> None:
        """No tool."""


class NoReset:
    def act(self) -> str:
        """Act."""
        return ""


class FixedReset:
    def reset(self, prompt: str) -> None: ...


class NoTools:
    def reset(self, **row: Any) -> None: ...


class NullProgress(NoTools):
    def act(self, how: str) -> str:
        return how


class Untyped(NoTools):
    def act(self, how) -> str:  # type: ignore[no-untyped-def]
        """Act.

        Args:
            how: So.
        """
        return str(how)


class Undescribed(NoTools):
    def act(self, how: str) -> str:
        """Act, how: as you like."""
        return how


class Open(NoTools):
    def act(self, **how: str) -> str:
        """Act."""
        return str(how)


class Broken(NoTools):
    def act(self) -> str:
        """Act."""
        return ""

    def get_reward(self) -> float:
        raise KeyError("nothing earned")


class Choosy(Broken):
    def reset(self, **row: Any) -> None:
        row["secret"]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (len, "is not an environment"),
        (NoReset, "does not take a row"),
        (FixedReset, "does not take a row"),
        (NoTools, "has no tool"),
        (NullProgress, "has no docstring"),
        (Untyped, "has no type hint for how"),
        (Undescribed, "does not describe how"),
        (Open, "takes \\*\\*how"),
    ],
)
def test_a_class_that_is_no_environment_is_named_with_what_it_lacks(kind: Any, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        checked(kind, "mine", {})


def test_an_unknown_field_of_an_environment_is_an_error_that_lists_its_own() -> None:
    with pytest.raises(ConfigError, match="stock"):
        checked(Shop, "shop", {"shelf": 3})
    assert checked(Shop, "shop", {"stock": 1}) is Shop


def test_public_methods_are_tools_with_their_signatures() -> None:
    assert [tool.name for tool in tools_of(Shop)] == ["buy", "wait"]
    assert str(tools_of(Shop)[0]) == "buy(name: str, count: int = 1)"
    assert tools_of(Shop)[0].summary == "Buy something."


def test_reset_gets_the_columns_of_the_row_and_trl_sees_no_reward_of_the_environment() -> None:
    environment = factory(Shop, {"stock": 5}, [PromptTask("a"), TASK])()
    assert environment.reset(row=1, prompt="as TRL has it") == " (5 left)"
    assert environment.row == {"prompt": "2 + 2 = ?", "answer": "4", "level": 1}
    assert environment.get_reward is None
    assert [tool.name for tool in tools_of(type(environment))] == ["buy", "wait"]
    assert asyncio.run(environment.wait()) == "later"


def test_a_row_that_an_environment_cannot_begin_on_is_an_error_with_its_columns() -> None:
    with pytest.raises(ConfigError, match=r"KeyError.*secret(.|\n)*prompt, answer, level"):
        factory(Choosy, {}, [TASK])().reset(row=0)


def test_a_sample_has_the_models_words_and_not_the_tools() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": "Let me see.", "tool_calls": [{"function": {"name": "buy", "arguments": {}}}]},
        {"role": "tool", "name": "buy", "content": "#### 99"},
        {"role": "assistant", "content": "#### 4"},
    ]
    environment = factory(Shop, {}, [TASK])()
    environment.buy("tea", 2)
    sample = finished(TASK, messages, environment, 30, False)
    assert (sample.completion, sample.answer, sample.tokens, sample.truncated) == (
        "Let me see.\n#### 4",
        "4",
        30,
        False,
    )
    assert sample.meta == {"level": 1, "transcript": messages, "environment_reward": 1.0}
    assert transcript_text(messages) == "Let me see.\nbuy()\n-> #### 99\n#### 4"


def test_the_environments_reward_is_what_it_returned_and_none_where_there_was_no_environment() -> None:
    environment = factory(Shop, {}, [TASK])()
    assert EnvironmentReward()(finished(TASK, ANSWERED, environment, 1, False)).value == 3.0
    assert EnvironmentReward()(Sample("", "")).value is None


def test_a_get_reward_that_raises_is_a_failed_reward_and_not_zero() -> None:
    sample = finished(TASK, ANSWERED, factory(Broken, {}, [TASK])(), 1, False)
    assert sample.meta["environment_error"].startswith("KeyError: 'nothing earned' (test_environments.py, line ")
    with pytest.raises(ValueError, match="nothing earned"):
        EnvironmentReward()(sample)
    with pytest.raises(RewardError, match="nothing earned"):
        build([RewardSpec(name="environment")]).score([sample] * 8)


@pytest.mark.parametrize(("expression", "value"), [("3 * (4 + 5)", "27"), ("7/2", "7/2"), ("40-42", "-2")])
def test_the_calculator_is_exact(expression: str, value: str) -> None:
    assert Calculator().calculate(expression) == value


@given(st.integers(1, 900), st.sampled_from([(3, 2), (7, 3)]), st.data())
def test_halving_the_range_always_finds_the_number(low: int, game: tuple[int, int], data: st.DataObject) -> None:
    span, guesses = game
    high = low + span - 1
    environment = Guess()
    environment.reset(secret=data.draw(st.integers(low, high)), guesses=guesses)
    for _ in range(guesses):
        middle = (low + high) // 2
        reply = environment.guess(middle)
        low, high = (middle + 1, high) if reply == "higher" else (low, middle - 1)
        if reply == "right":
            break
    assert environment.get_reward() == 1.0


def test_a_wrong_last_guess_ends_the_game_without_reward() -> None:
    environment = Guess()
    environment.reset(secret=5, guesses=2)
    assert [environment.guess(4), environment.guess(6)] == ["higher", "over"]
    with pytest.raises(ValueError, match="over"):
        environment.guess(5)
    assert environment.get_reward() == 0.0


def test_a_class_that_cannot_be_made_is_named() -> None:
    class Closed(Shop):
        def __init__(self) -> None:
            raise RuntimeError("no key")

    with pytest.raises(ConfigError, match="the environment Closed cannot be made: RuntimeError: no key"):
        factory(Closed, {}, [TASK])()
