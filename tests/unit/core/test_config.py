"""Layering of settings: class defaults < recipe < overrides, one spelling for every key, and errors that say what to type."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError, model_validator

from rlllm.core.config import Section, StageConfig, known_keys, resolve
from rlllm.core.errors import ConfigError, ExitCode, UnknownNameError


class Food(Section):
    name: str = "hay"
    """What to eat."""
    grams: int = Field(100, ge=1)
    """How much."""
    extras: dict[str, Any] = Field(default_factory=dict)
    """Anything else."""

    @model_validator(mode="before")
    @classmethod
    def _widen(cls, value: Any) -> Any:
        if value == "poison":
            raise ConfigError("not that", given=value, hint="eat hay")
        return {"name": value} if isinstance(value, str) else value


class Trick(Section):
    name: str = "bow"
    treat: Food = Food()


class Horse(StageConfig):
    """A stage with a section, an optional one, a list of sections, and TRL settings."""

    stage: ClassVar[str] = "ride"
    trl_configs: ClassVar[tuple[str, ...]] = ("GRPOConfig",)
    aliases: ClassVar[Mapping[str, str]] = {
        "num_generations": "food.grams",
        "speed": "trainer.learning_rate",
        "trick": "tricks",
    }

    data: str = "field"
    food: Food = Food()
    """What it eats."""
    saddle: Food | None = None
    tricks: list[Trick] = Field(default_factory=list)
    trainer: dict[str, Any] = Field(default_factory=dict)
    count: int = Field(1, ge=1)
    """How many horses."""


class Cart(StageConfig):
    """A stage without TRL."""

    stage: ClassVar[str] = "pull"


RESOLVED: list[tuple[Mapping[str, Any], list[tuple[str, Any]], Mapping[str, Any]]] = [
    ({}, [], {}),
    ({"seed": 1}, [], {"seed": 1}),
    ({"seed": 1}, [("seed", 2)], {"seed": 2}),
    ({"food": {"grams": 5}}, [("food.name", "oats")], {"food": {"grams": 5, "name": "oats"}}),
    ({"food": "oats"}, [("food.grams", 5)], {"food": {"name": "oats", "grams": 5}}),
    ({"food": {"name": "oats"}}, [("food", "straw")], {"food": {"name": "straw"}}),
    ({}, [("food.extras.salt.g", 2)], {"food": {"extras": {"salt": {"g": 2}}}}),
    ({"food": {"extras": {"a": 1}}}, [("food.extras.b", 2)], {"food": {"extras": {"a": 1, "b": 2}}}),
    ({"saddle": None}, [("saddle.grams", 5)], {"saddle": {"grams": 5}}),
    ({"saddle": "felt"}, [("saddle", None)], {}),
    ({"tricks": {"name": "kneel"}}, [], {"tricks": [{"name": "kneel"}]}),
    ({}, [("trick", {"name": "kneel"})], {"tricks": [{"name": "kneel"}]}),
    ({"tricks": [{"treat": "oats"}]}, [], {"tricks": [{"treat": {"name": "oats"}}]}),
    ({}, [("model_name_or_path", "m")], {"model": "m"}),
    ({"model": "m"}, [("model.dtype", "auto")], {"model": {"name": "m", "dtype": "auto"}}),
    ({"model": {"name": "m", "base": "b"}}, [], {"model": "m@b"}),
    ({}, [("attn_implementation", "eager")], {"model": {"name": "nano", "attention": "eager"}}),
    ({}, [("load_in_4bit", True)], {"model": {"name": "nano", "quantisation": "4bit"}}),
    ({"load_in_8bit": False}, [], {}),
    ({}, [("output-dir", "runs/x")], {"output_dir": "runs/x"}),
    ({"output-dir": "runs/x"}, [], {"output_dir": "runs/x"}),
    ({}, [("learning_rate", 1e-4)], {"trainer": {"learning_rate": 1e-4}}),
    ({}, [("learning-rate", 1e-4)], {"trainer": {"learning_rate": 1e-4}}),
    ({}, [("trainer.learning-rate", 1e-4)], {"trainer": {"learning_rate": 1e-4}}),
    ({}, [("trainer.generation_kwargs.min_p", 0.1)], {"trainer": {"generation_kwargs": {"min_p": 0.1}}}),
    ({"learning_rate": 1e-4}, [], {"trainer": {"learning_rate": 1e-4}}),
    (
        {"trainer": {"max_steps": 3}, "learning_rate": 1e-4},
        [],
        {"trainer": {"max_steps": 3, "learning_rate": 1e-4}},
    ),
    ({"trainer": {"max_steps": 3}}, [("max_steps", 4)], {"trainer": {"max_steps": 4}}),
    ({}, [("speed", 2)], {"trainer": {"learning_rate": 2}}),
    ({}, [("count", 2)], {"count": 2}),
]


@pytest.mark.parametrize(("recipe", "overrides", "changed"), RESOLVED)
def test_the_later_layer_wins(
    recipe: Mapping[str, Any], overrides: list[tuple[str, Any]], changed: Mapping[str, Any]
) -> None:
    settings = resolve(Horse, recipe, overrides).model_dump(mode="json", exclude_defaults=True)
    assert settings == {"model": "nano", **changed}  # a model is always written down


KEPT_ELSEWHERE = [
    ({"num_generations": 4}, []),
    ({"trainer": {"num_generations": 4}}, []),
    ({"trainer": {"num-generations": 4}}, []),
    ({"trainer": {"num_generations": 4}, "food": {"grams": 4}}, []),
    ({"food": "hay", "trainer": {"num_generations": 4}}, []),
    ({}, [("num_generations", 4)]),
    ({}, [("trainer.num_generations", 4)]),
    ({}, [("trainer", {"num_generations": 4})]),
    ({"food": {"grams": 8}}, [("trainer.num_generations", 4)]),
    ({"trainer": {"num_generations": 8}}, [("food.grams", 4)]),
    ({"trainer": {"num_generations": 8}}, [("num-generations", 4)]),
]


@pytest.mark.parametrize(("recipe", "overrides"), KEPT_ELSEWHERE)
def test_a_trl_name_for_what_a_section_keeps_lands_in_that_section(
    recipe: Mapping[str, Any], overrides: list[tuple[str, Any]]
) -> None:
    config = resolve(Horse, recipe, overrides)
    assert (config.food.grams, config.trainer) == (4, {})


TWICE: list[Mapping[str, Any]] = [
    {"trainer": {"num_generations": 4}, "food": {"grams": 8}},
    {"num_generations": 4, "food": {"grams": 8}},
    {"num_generations": 4, "trainer": {"num_generations": 8}},
    {"learning_rate": 1e-4, "trainer": {"learning_rate": 1e-5}},
    {"model": "a", "model_name_or_path": "b"},
]


@pytest.mark.parametrize("recipe", TWICE)
def test_a_recipe_that_says_two_things_about_one_setting_is_refused(recipe: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is given twice"):
        resolve(Horse, recipe)


def test_of_overrides_only_layers_let_the_later_one_win() -> None:
    twice = [("trainer.num_generations", 8), ("food.grams", 4)]
    assert resolve(Horse, {}, twice, layered=True).food.grams == 4
    with pytest.raises(ConfigError, match=r"food\.grams is given twice"):
        resolve(Horse, {}, twice)


WRONG: list[tuple[Mapping[str, Any], list[tuple[str, Any]], str]] = [
    ({}, [("learning_rat", 1)], "unknown key for ride: learning_rat\nhint: did you mean learning_rate?"),
    ({"coutn": 1}, [], "unknown key for ride: coutn\nhint: did you mean count?"),
    ({}, [("lr", 1)], "unknown key for ride: lr\nexists: count, data, food, hardware, model,"),
    ({}, [("xyzzy", 1)], "exists: count, data, food, hardware, model, output_dir, saddle, seed, trainer, tricks"),
    ({}, [("grams", 1)], "unknown key for ride: grams\nhint: did you mean food.grams?"),
    ({}, [("fod.grams", 1)], "did you mean food.grams?"),
    ({}, [("food.gram", 1)], "unknown key in food: gram\nhint: did you mean grams?"),
    ({"food": {"gram": 1}}, [], "unknown key in food: gram\nhint: did you mean grams?"),
    ({"saddle": {"x": 1}}, [], "unknown key in saddle: x\nexists: extras, grams, name"),
    ({"tricks": [{"nam": "a"}]}, [], "unknown key in tricks.0: nam\nhint: did you mean name?"),
    ({"tricks": [{"name": "a", "treat": {"gram": 1}}]}, [], "unknown key in tricks.0.treat: gram"),
    ({}, [("treat", 1)], "unknown key for ride: treat"),
    ({}, [("+learning_rate", 1)], "hint: type learning_rate=..."),
    ({}, [("learning_rate", "fast")], "learning_rate takes float\ngiven: learning_rate='fast' (str)"),
    ({}, [("learning_rate", "fast")], "hint: the default is 1e-06"),
    ({}, [("max_steps", 1.5)], "max_steps takes int\ngiven: max_steps=1.5 (float)"),
    ({"trainer": {"learning_rat": 1}}, [], "unknown GRPOConfig field: learning_rat\nhint: did you mean learning_rate?"),
    ({}, [("trainer.seed", 1)], "trainer.seed is set by rlllm"),
    ({"trainer": {"output_dir": "x"}}, [], "hint: set output_dir (or --output-dir)"),
    ({"trainer": {"reward_weights": [1]}}, [], "hint: give each reward its weight"),
    ({"trainer": {"resume_from_checkpoint": "x"}}, [], "hint: resume with --resume"),
    ({"trainer": 5}, [], "trainer: input should be a valid dictionary"),
    ({"trainer": None}, [], "trainer: input should be a valid dictionary"),
    ({"count": "many"}, [], "count: input should be a valid integer"),
    ({"count": "many"}, [], "given: 'many'\nhint: count: How many horses."),
    ({"count": 0}, [], "count: input should be greater than or equal to 1"),
    ({"food": {"grams": 0}}, [], "food.grams: input should be greater than or equal to 1"),
    ({"food": {"grams": 0}}, [], "hint: grams: How much."),
    ({"food": 5}, [], "food: input should be a valid dictionary"),
    ({"food": 5}, [("food.grams", 1)], "food: input should be a valid dictionary"),
    ({"food": "poison"}, [], "not that\ngiven: poison\nhint: eat hay"),
    ({"food": "poison"}, [("food.grams", 1)], "not that\ngiven: poison\nhint: eat hay"),
    ({"tricks": [{}]}, [("tricks.name", "x")], "tricks has no parts"),
    ({"tricks": [{"name": 5}]}, [], "tricks.0.name: input should be a valid string"),
    ({"tricks": "bow"}, [], "tricks.0: input should be a valid dictionary"),
    ({}, [("model.folder", "x")], "unknown key in model: folder"),
    ({"model": ["x"]}, [("model.base", "x")], "model: input should be a valid dictionary"),
    ({}, [("model.base", "x")], "model.base is the base of an adapter"),
    ({}, [("", 1)], "unknown key for ride"),
    ({}, [(".", 1)], "unknown key for ride"),
]


@pytest.mark.parametrize(("recipe", "overrides", "words"), WRONG)
def test_what_does_not_resolve_says_what_to_type(
    recipe: Mapping[str, Any], overrides: list[tuple[str, Any]], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Horse, recipe, overrides)
    assert words in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_stage_without_trl_knows_no_trl_names() -> None:
    with pytest.raises(UnknownNameError):
        resolve(Cart, {}, [("learning_rate", 1)])
    assert "learning_rate" not in known_keys(Cart)


def test_known_keys_are_fields_dotted_fields_aliases_and_trl_names() -> None:
    keys = known_keys(Horse)
    assert {"food", "food.grams", "saddle.name", "speed", "model_name_or_path", "learning_rate", "seed"} <= set(keys)
    assert "tricks.name" not in keys
    assert [key for key in keys if not resolvable(key)] == []


def resolvable(key: str) -> bool:
    """Whether a key is known, whatever its value has to be."""
    try:
        resolve(Horse, {}, [(key, object())])
    except UnknownNameError:
        return False
    except ConfigError:
        return True
    return True


def test_neither_recipe_nor_overrides_are_changed() -> None:
    recipe = {"food": {"extras": {"a": 1}}, "trainer": {"num_generations": 4}}
    resolve(Horse, recipe, [("food.extras.a", 2), ("max_steps", 3)])
    assert recipe == {"food": {"extras": {"a": 1}}, "trainer": {"num_generations": 4}}


def test_a_config_is_frozen() -> None:
    config = resolve(Horse, {})
    with pytest.raises(ValidationError):
        config.seed = 3


def test_the_digest_covers_all_that_shapes_the_result_and_nothing_else() -> None:
    one = resolve(Horse, {"output_dir": "a"})
    assert one.digest() == resolve(Horse, {"output_dir": Path("b")}).digest()
    for key, value in [("seed", 1), ("food", "oats"), ("max_steps", 2), ("model", "m"), ("tricks", {})]:
        assert resolve(Horse, {}, [(key, value)]).digest() != one.digest()


def test_the_digest_does_not_depend_on_the_layer_a_value_came_from() -> None:
    layered = resolve(Horse, {"food": "oats"}, [("trainer.num_generations", 7)])
    assert layered.digest() == resolve(Horse, {"food": {"grams": 7, "name": "oats"}}).digest()


def test_a_resolved_config_resolves_to_itself() -> None:
    config = resolve(Horse, {"food": "oats", "trainer": {"max_steps": 2}, "tricks": [{}]})
    again = resolve(Horse, config.model_dump(mode="json"))
    assert again == config
    assert pickle.loads(pickle.dumps(config)) == config
