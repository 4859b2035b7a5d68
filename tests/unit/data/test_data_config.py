"""Settings of a data set, in short form and long."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from rlllm.core.config import StageConfig, resolve
from rlllm.core.errors import ConfigError
from rlllm.data.config import DataConfig


class _Stage(StageConfig):
    stage = "example"
    data: DataConfig = DataConfig()


@pytest.mark.parametrize(
    ("short", "name", "rows"),
    [
        ("arithmetic", "arithmetic", None),
        ("pairs.jsonl#500", "pairs.jsonl", 500),
        ("gym:chain_sum#20", "gym:chain_sum", 20),
        ("org/name#3", "org/name", 3),
        ("rows.py:make#7", "rows.py:make", 7),
        ("odd#1.jsonl", "odd#1.jsonl", None),
        ("odd#1.jsonl#4", "odd#1.jsonl", 4),
        (Path("some/file.csv"), "some/file.csv", None),
        ({"name": "x.jsonl#9", "holdout": 2}, "x.jsonl", 9),
    ],
)
def test_a_string_is_a_name_with_an_optional_number_of_rows(short: object, name: str, rows: int | None) -> None:
    config = DataConfig.model_validate(short)
    assert (config.name, config.rows) == (name, rows)


@pytest.mark.parametrize("short", ["x.jsonl#many", "x.jsonl#", {"name": "x#5", "rows": 6}, {"columns": "prompt"}])
def test_a_malformed_short_form_is_a_config_error_in_a_recipe(short: object) -> None:
    with pytest.raises(ConfigError):
        resolve(_Stage, {"data": short})


@pytest.mark.parametrize("values", [{"name": ""}, {"rows": -1}, {"holdout": -1}, {"colums": {}}])
def test_values_out_of_range_and_unknown_keys_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DataConfig.model_validate(values)


def test_columns_are_written_as_on_the_command_line_or_as_a_mapping() -> None:
    expected = {"prompt": "question", "answer": "final answer"}
    assert DataConfig.model_validate({"columns": "prompt=question, answer=final answer"}).columns == expected
    assert DataConfig(columns=expected).columns == expected


def test_an_override_reaches_into_the_short_form() -> None:
    config = resolve(_Stage, {"data": "pairs.jsonl#5"}, [("data.holdout", 2), ("data.columns", "prompt=q")])
    assert (config.data.name, config.data.rows, config.data.holdout) == ("pairs.jsonl", 5, 2)
    assert config.data.columns == {"prompt": "q"}
