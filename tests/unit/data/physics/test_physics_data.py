"""The data set `physics`: splits by numbers, shares of kinds, redraws, held-out families, the filter of shortcuts."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, PreferencePair, PromptTask
from rlllm.data.procedural.physics.families import FAMILIES, draw_scene
from rlllm.data.procedural.physics.scene import Given, Quantity, Scene, law_gap
from rlllm.data.procedural.physics.shortcuts import recovered, shortcut
from rlllm.data.procedural.physics.task import physics
from rlllm.data.request import DataRequest, Split


def rows(
    count: int = 40, *, split: Split = "train", seed: int = 0, level: int | None = None, **params: Any
) -> list[PromptTask]:
    request = DataRequest(PromptTask, split=split, rows=count, seed=seed, level=level, params=params)
    return [row for row in physics(request) if isinstance(row, PromptTask)]


def test_a_request_gives_the_same_rows_and_another_seed_others() -> None:
    assert [row.prompt for row in rows()] == [row.prompt for row in rows()]
    assert [row.prompt for row in rows()] != [row.prompt for row in rows(seed=1)]


def test_level_one_is_short_and_the_levels_above_are_in_words() -> None:
    texts = {str(row.prompt): row for row in rows(400, families=["incline"], reverse=0.5)}
    assert texts["a=3 m/s^2, t=2 s. v?"].answer == "6 m/s"
    assert texts["a=3 m/s^2, t=2 s. v?"].meta["solution"] == "v=a*t=3*2=6\n\\boxed{6 m/s}"
    assert texts["v=6 m/s, t=2 s. a?"].meta["solution"] == "a=v/t=6/2=3\n\\boxed{3 m/s^2}"
    assert max(len(str(row.prompt)) + len(str(row.meta["solution"])) for row in rows(300)) < 110, "for the model nano"
    (row,) = rows(1, level=2, families=["pendulum"], reverse=0)
    assert str(row.prompt).startswith("A pendulum with l = ")
    (short,) = rows(1, level=2, families=["pendulum"], reverse=0, style="short")
    assert str(short.prompt).endswith(". T?")


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_no_scene_is_in_both_splits_whatever_the_seeds(level: int) -> None:
    def told(split: Split, seed: int) -> set[str]:
        return {str(row.prompt) for row in rows(150, split=split, seed=seed, level=level)}

    assert not told("train", 0) & (told("holdout", 1) | told("holdout", 0))


def test_forward_and_reverse_questions_of_a_scene_are_in_one_split() -> None:
    train, held = ({tuple(sorted(fact(row))) for row in rows(3000, split=split, families=["gas"])} for split in SPLITS)
    assert len(train) + len(held) == 81
    assert not train & held


SPLITS: tuple[Split, ...] = ("train", "holdout")


def fact(row: PromptTask) -> list[str]:
    """The three quantities of a question at level 1, `p=6 Pa`, the answer among them."""
    *told, asked = str(row.prompt).removesuffix("?").replace(". ", ", ").split(", ")
    return [*told, f"{asked}={row.answer}"]


def test_kinds_come_in_their_shares_and_levels_in_turn() -> None:
    shares = {"reverse": 0.2, "symbolic": 0.1, "trajectory": 0.1, "motion": 0.1}
    drawn = rows(400, levels="2-3", **shares)
    kinds = Counter(row.meta["kind"] for row in drawn)
    assert kinds["forward"] == pytest.approx(200, abs=40)
    assert kinds["reverse"] == pytest.approx(80, abs=30)
    assert all(kinds[kind] == pytest.approx(40, abs=25) for kind in ("symbolic", "trajectory", "motion"))
    assert Counter(row.meta["level"] for row in drawn) == {2: 200, 3: 200}
    assert {row.meta["family"] for row in drawn} == set(FAMILIES)


def test_the_columns_of_a_reward_are_there() -> None:
    (row,) = rows(1, level=2, families=["projectile"], reverse=0)
    assert row.meta["unit"] in ("m", "s")
    assert row.answer == f"{row.meta['gold']:.4g} {row.meta['unit']}"
    assert row.meta["symbols"] == ["v", "theta", "g"]
    assert "R/T = v*cos(theta)" in row.meta["laws"]


def test_held_out_families_are_never_trained_on() -> None:
    assert {row.meta["family"] for row in rows(200, split="holdout", holdout_families=["drag"])} == {"drag"}
    assert "drag" not in {row.meta["family"] for row in rows(200, holdout_families=["drag"])}
    assert {row.meta["family"] for row in rows(60, families="rc+lens")} == {"rc", "lens"}


def test_redraws_have_the_same_size_and_no_question_twice() -> None:
    drawn = rows(100, split="holdout", redraw=5, families=["resistors"])
    assert Counter(row.meta["redraw"] for row in drawn) == dict.fromkeys(range(5), 20)
    assert len({row.prompt for row in drawn}) == 100
    assert "redraw" not in rows(1)[0].meta


def test_conversations_end_in_the_boxed_answer() -> None:
    (row,) = physics(DataRequest(Conversation, rows=1, level=3, params={"families": ["incline"], "reverse": 0}))
    assert isinstance(row, Conversation)
    lines = str(row.completion).splitlines()
    assert [line.split(" = ")[0] for line in lines[:-1]] == ["a", "v", "T_2"]
    assert lines[-1] == f"\\boxed{{{row.meta['answer']}}}"


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_a_reverse_question_recovers_the_hidden_number(family: str, level: int) -> None:
    setup, generator = FAMILIES[family][level], random.Random(level)
    for hidden in setup.hidden:
        found = 0
        for _ in range(10):
            scene = setup.draw(generator)
            known = generator.choice(setup.symbols_asked)
            value = recovered(scene, hidden, known, scene.values[known])
            if value is not None:
                assert value == pytest.approx(scene.given[hidden], rel=1e-6, abs=1e-9)
                solved = scene.with_given(**{hidden: value})
                assert max(law_gap(law, {**solved.values, known: scene.values[known]}) for law in scene.laws) < 1e-6
                found += 1
        assert found > 5, hidden


def planted(scene: Scene, number: float | None) -> Scene:
    """The scene with a passer-by of a mass that plays no part."""
    passer = Given(Quantity("m_9", "the mass of a passer-by", "kg"), (60, 70, 80), absent=0)
    setup = replace(scene.setup, given=(*scene.setup.given, passer))
    return Scene(setup, {**scene.given, "m_9": number or 70.0})


def test_the_filter_drops_a_planted_irrelevant_entity_and_a_number_that_is_not_needed() -> None:
    scene = draw_scene("lens", 3, random.Random(1))
    assert shortcut(scene, "B") is None
    assert shortcut(planted(scene, 70.0), "B") == "the number of m_9"
    assert shortcut(planted(scene, 70.0), "B", "G") == "the number of m_9"
    assert shortcut(draw_scene("gas", 3, random.Random(0)), "W") == "the number of T_1"
    free = draw_scene("incline", 2, random.Random(0)).with_given(mu=0.001)
    assert shortcut(free, "v") == "the number of mu"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"families": ["projectil"]}, "did you mean projectile|projectil"),
        ({"reverse": 0.8, "symbolic": 0.5}, "more than 1 together"),
        ({"families": []}, "needs a family"),
        ({"families": ["drag"], "holdout_families": ["drag"]}, "leaves no family"),
        ({"forward": 1}, "forward"),
        ({"redraw": -1}, "redraw"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rows(1, **params)


def test_levels_and_records_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="levels 1 to 4"):
        rows(1, level=5)
    with pytest.raises(DataError, match="makes no PreferencePair"):
        physics(DataRequest(PreferencePair))
