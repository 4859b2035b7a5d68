"""The grammar of what follows a verb."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.core.errors import ConfigError
from rlllm_cli.overrides import Typed, flag_overrides, join_values, read_columns, read_rewards, read_words
from rlllm_cli.overrides import recipe_and_tasks as sort_words

DECLARED = {"--model": True, "--data": True, "--seed": True, "--dry-run": False, "--json": False}


def read(*words: str, verb: str = "reason") -> Typed:
    """Both passes, with the declared options left out as the option parser would take them."""
    joined = join_values(verb, words, DECLARED)
    rest, skip = [], False
    for word in joined:
        if skip or word.partition("=")[0] in DECLARED:
            skip = not skip and DECLARED[word.partition("=")[0]] and "=" not in word
            continue
        rest.append(word)
    return read_words(verb, rest)


@pytest.mark.parametrize(
    ("words", "bare", "overrides"),
    [
        ("", [], []),
        ("quickstart", ["quickstart"], []),
        ("my/recipe.yaml", ["my/recipe.yaml"], []),
        ("learning_rate=1e-5", [], [("learning_rate", 1e-5)]),
        ("learning-rate=1e-5", [], [("learning-rate", 1e-5)]),
        ("--learning_rate=1e-5", [], [("learning_rate", 1e-5)]),
        ("--learning_rate 1e-5", [], [("learning_rate", 1e-5)]),
        ("--learning-rate 1e-5", [], [("learning-rate", 1e-5)]),
        ("--max_steps 60", [], [("max_steps", 60)]),
        ("--max_steps -1", [], [("max_steps", -1)]),
        ("--max_steps=-1", [], [("max_steps", -1)]),
        ("--beta -0.5", [], [("beta", -0.5)]),
        ("--beta 0.0 quickstart", ["quickstart"], [("beta", 0.0)]),
        ("quickstart --beta 0.0", ["quickstart"], [("beta", 0.0)]),
        ("--bf16", [], [("bf16", True)]),
        ("--bf16 quickstart", ["quickstart"], [("bf16", True)]),
        ("--bf16 true quickstart", ["quickstart"], [("bf16", True)]),
        ("--bf16 False", [], [("bf16", False)]),
        ("--bf16 null", [], [("bf16", None)]),
        ("--bf16=false", [], [("bf16", False)]),
        ("--bf16 --fp16", [], [("bf16", True), ("fp16", True)]),
        ("--bf16 --model nano", [], [("bf16", True)]),
        ("--use_cpu max_steps=2", [], [("use_cpu", True), ("max_steps", 2)]),
        ("--include_num_input_tokens_seen all", [], [("include_num_input_tokens_seen", "all")]),
        ("--trainer.bf16", [], [("trainer.bf16", True)]),
        ("--trainer.learning_rate 3e-4", [], [("trainer.learning_rate", 3e-4)]),
        ("rollout.group_size=4", [], [("rollout.group_size", 4)]),
        ("--rollout.group_size 4", [], [("rollout.group_size", 4)]),
        ("data.params.low=3", [], [("data.params.low", 3)]),
        ("--data.params.low 3", [], [("data.params.low", 3)]),
        ("--run_name 12", [], [("run_name", 12)]),
        ("--run_name a=b", [], [("run_name", "a=b")]),
        ("rewards=[exact,format]", [], [("rewards", ["exact", "format"])]),
        ("report_to=none", [], [("report_to", "none")]),
        ("logging_dir=", [], [("logging_dir", "")]),
        ("./a=b.yaml", ["./a=b.yaml"], []),
        ("+max_steps=3", [], [("+max_steps", 3)]),
        ("max_steps=1 max_steps=2", [], [("max_steps", 1), ("max_steps", 2)]),
        ("--model nano quickstart", ["quickstart"], []),
        ("--dry-run quickstart", ["quickstart"], []),
        ("--model=nano quickstart", ["quickstart"], []),
    ],
)
def test_words_are_read_as_they_are_written(words: str, bare: list[str], overrides: list[tuple[str, Any]]) -> None:
    assert read(*words.split()) == Typed(bare, overrides)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--learning_rte 1e-5", "no such option for reason: --learning_rte\nhint: did you mean --learning_rate?"),
        ("--learning_rte=1e-5", "no such option for reason: --learning_rte\nhint: did you mean --learning_rate?"),
        ("--learning 1e-5", "no such option for reason: --learning\nhint: did you mean --learning_rate?"),
        ("--lr 1e-5", "no such option for reason: --lr\nhint: did you mean --learning_rate?"),
        ("--max_step 3", "no such option for reason: --max_step\nhint: did you mean --max_steps?"),
        ("--dry-rn", "no such option for reason: --dry-rn\nhint: did you mean --dry-run?"),
        ("--mdoel nano", "no such option for reason: --mdoel\nhint: did you mean --model?"),
        ("--no_bf16", "no such option for reason: --no_bf16\nhint: type --bf16=false"),
        ("--no-bf16", "no such option for reason: --no-bf16\nhint: type --bf16=false"),
        ("--qqqqqq", "no such option for reason: --qqqqqq\nhint: list them with: rlllm reason --help"),
        ("-q", "no such option for reason: -q\nhint: list them with: rlllm reason --help"),
        ("--max_steps", "--max_steps needs a value\nhint: type --max_steps VALUE"),
        ("--max_steps --bf16", "--max_steps needs a value\nhint: type --max_steps VALUE"),
        ("--model", "--model needs a value\nhint: type --model VALUE"),
        ("--model --dry-run", "--model needs a value\nhint: type --model VALUE"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_was_meant(words: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(*words.split())
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["learning_rat", "learn", "max_step", "beta2", "per_device", "rollout_group"])
def test_no_key_may_be_abbreviated(name: str) -> None:
    with pytest.raises(ConfigError, match="no such option"):
        read(f"--{name}", "1")


@pytest.mark.parametrize("verb", ["sft", "train-rm", "align", "reason"])
def test_every_trainer_takes_the_fields_of_its_own_trl_config(verb: str) -> None:
    assert read("--learning_rate", "1e-5", "--bf16", verb=verb).overrides == [("learning_rate", 1e-5), ("bf16", True)]


def test_a_field_of_another_trl_config_is_unknown() -> None:
    assert read("--num_generations", "4").overrides == [("num_generations", 4)]
    with pytest.raises(ConfigError, match="no such option for sft: --num_generations"):
        read("--num_generations", "4", verb="sft")


@pytest.mark.parametrize(
    ("bare", "hint"),
    [
        (["learning_rate", "1e-5"], "did you mean learning_rate=1e-5?"),
        (["learning-rate"], "did you mean learning-rate=VALUE?"),
        (["nano"], "did you mean --model nano?"),
        (["my.jsonl"], "did you mean --data my.jsonl?"),
        (["my.parquet"], "did you mean --data my.parquet?"),
        (["arithmetic"], "did you mean --data arithmetic?"),
        (["exact"], "did you mean --reward exact?"),
    ],
)
def test_a_word_that_is_no_recipe_is_answered_with_what_it_was_meant_to_be(bare: list[str], hint: str) -> None:
    with pytest.raises(ConfigError, match="is not a recipe") as caught:
        sort_words("reason", bare, None)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("bare", "config_file"), [(["a.yaml", "b.yaml"], None), (["a.yaml"], "b.yaml"), (["a", "b"], None)]
)
def test_two_recipes_are_one_too_many(bare: list[str], config_file: str | None) -> None:
    with pytest.raises(ConfigError, match="one recipe at most, not 2"):
        sort_words("reason", bare, config_file)


@pytest.mark.parametrize(
    ("verb", "bare", "config_file", "expected"),
    [
        ("reason", [], None, (None, [])),
        ("reason", ["a.yaml"], None, ("a.yaml", [])),
        ("reason", [], "a.yaml", ("a.yaml", [])),
        ("reason", ["whatever"], None, ("whatever", [])),
        ("eval", ["arithmetic", "countdown"], None, (None, ["arithmetic", "countdown"])),
        ("eval", ["a.yaml", "countdown"], None, ("a.yaml", ["countdown"])),
        ("eval", ["rm"], "a.yml", ("a.yml", ["rm"])),
    ],
)
def test_bare_words_are_a_recipe_and_for_eval_tasks(
    verb: str, bare: list[str], config_file: str | None, expected: tuple[str | None, list[str]]
) -> None:
    assert sort_words(verb, bare, config_file) == expected


def test_options_become_overrides_and_unused_ones_do_not() -> None:
    flags = {"model": "nano", "data": None, "reward": [], "seed": 0, "columns": "prompt=q", "tasks": []}
    assert flag_overrides(flags, []) == [("model", "nano"), ("seed", 0), ("data.columns", {"prompt": "q"})]


def test_one_setting_typed_in_two_ways_is_an_error() -> None:
    with pytest.raises(ConfigError, match="output-dir is given twice"):
        flag_overrides({"output_dir": "a"}, [("output-dir", "b")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prompt=question", {"prompt": "question"}),
        ("prompt=question,answer=final", {"prompt": "question", "answer": "final"}),
        (" prompt = question , answer=a b", {"prompt": "question", "answer": "a b"}),
        ("answer=out.value", {"answer": "out.value"}),
    ],
)
def test_columns_are_pairs(text: str, expected: dict[str, str]) -> None:
    assert read_columns(text) == expected


@pytest.mark.parametrize("text", ["", "prompt", "prompt=", "=question", "prompt=question,", ","])
def test_half_a_column_pair_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="FIELD=COLUMN"):
        read_columns(text)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["exact"], ["exact"]),
        (["exact", "format=0.1"], ["exact", {"name": "format", "weight": 0.1}]),
        (["mine.py:score"], ["mine.py:score"]),
        (["mine.py:score=-1e-2"], [{"name": "mine.py:score", "weight": -0.01}]),
    ],
)
def test_rewards_may_carry_a_weight(texts: list[str], expected: list[Any]) -> None:
    assert read_rewards(texts) == expected


def test_a_weight_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ConfigError, match="weight is a number"):
        read_rewards(["exact=high"])


def test_a_reward_with_fields_is_written_as_in_a_recipe() -> None:
    fields = {"name": "length", "budget": 3, "weight": 0.5}
    assert read_rewards(["{name: length, budget: 3, weight: 0.5}", "gold"]) == [fields, "gold"]
    with pytest.raises(ConfigError, match="no mapping in YAML"):
        read_rewards(["{name: regex, pattern: =, weight: 0}"])
