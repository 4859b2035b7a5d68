"""Several data sets as one: how they are written, what each of them reads, and which rows train. Holdouts that are a share."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, LabelledCompletion, PromptTask
from rlllm.data.config import DataConfig, held_out_rows
from rlllm.data.inspect.summary import check
from rlllm.data.load import Loaded, load
from rlllm.data.mixed_sources import sources_of
from rlllm.data.source_hash import sources_key
from rlllm.data.stream import stream
from rlllm.tools.data.record_types import record_kind


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files a.jsonl (10 rows), b.jsonl (20 rows) and c.jsonl (6 rows with other columns), in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, count in (("a", 10), ("b", 20)):
        rows = ({"prompt": f"{name}{n}", "answer": str(n)} for n in range(count))
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    others = ({"q": f"c{n}", "gold": str(n)} for n in range(6))
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in others))
    (tmp_path / "d,e.jsonl").write_text('{"prompt": "d0", "answer": "0"}\n')
    return tmp_path


def loaded(data: Any, **settings: Any) -> Loaded:
    config = DataConfig.checked(data)
    return load(DataConfig.checked({**config.model_dump(exclude_unset=True), **settings}), PromptTask)


def sources(rows: list[Any]) -> Counter[str]:
    return Counter(row.prompt[0] for row in rows)


@pytest.mark.parametrize(
    ("data", "name", "weights"),
    [
        ("a,b", "a, b", [None, None]),
        (" a , b:0.3 ", "a, b:0.3", [None, 0.3]),
        (["a", "b:2"], "a, b:2", [None, 2.0]),
        (["a,b", "c:.5"], "a, b, c:0.5", [None, None, 0.5]),
        ("a#5,b#7:0.3", "a#5, b#7:0.3", [None, 0.3]),
        ("b:0.3#7,a", "b#7:0.3, a", [0.3, None]),
        ({"name": "a,b"}, "a, b", [None, None]),
        ({"mix": ["a", {"name": "b", "weight": 2}]}, "a, b:2", [None, 2.0]),
        (["gym:chain_sum", "my.py:rows:3"], "gym:chain_sum, my.py:rows:3", [None, 3.0]),
    ],
)
def test_a_mixture_is_written_as_names_or_settings(data: Any, name: str, weights: list[float | None]) -> None:
    config = DataConfig.checked(data)
    assert config.name == name
    assert [part.weight for part in config.mix] == weights
    for dumped in (config.model_dump(mode="json"), config.model_dump(exclude_unset=True)):
        assert DataConfig.checked(dumped) == config


def test_one_data_set_is_no_mixture_and_a_file_with_a_comma_is_one(folder: Path) -> None:
    assert DataConfig.checked(["a.jsonl#3"]) == DataConfig(name="a.jsonl", rows=3)
    assert not DataConfig.checked("d,e.jsonl").mix
    assert len(loaded("d,e.jsonl").train) == 1


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("a,,b", "names each of its data sets"),
        ({"name": "x", "mix": ["a", "b"]}, "both say what is read"),
        ([{"name": "a", "holdout": 3}, "b"], "no holdout of its own"),
        ([{"name": "a", "wieght": 3}, "b"], "wieght"),
        ([{"name": "a", "weight": -1}, "b"], "weight"),
        (["a#x", "b"], "number of rows"),
    ],
)
def test_a_mixture_that_cannot_be_meant_is_refused(data: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        DataConfig.checked(data)


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ("a.jsonl,b.jsonl", {"a": 10, "b": 20}),
        ("a.jsonl#4,b.jsonl", {"a": 4, "b": 20}),
        ("a.jsonl,b.jsonl:1", {"a": 10, "b": 10}),
        ("a.jsonl,b.jsonl:0.3", {"a": 10, "b": 3}),
        ("a.jsonl:1,b.jsonl:2", {"a": 10, "b": 20}),
        ("a.jsonl:3,b.jsonl:1", {"a": 10, "b": 3}),
        ("a.jsonl:0,b.jsonl:1", {"b": 20}),
    ],
)
def test_weights_are_shares_and_without_any_all_rows_are_taken(folder: Path, data: str, counts: dict[str, int]) -> None:
    data_set = loaded(data)
    assert sources(data_set.train) == counts
    assert len({row.prompt for row in data_set.train}) == sum(counts.values())
    for name, count in counts.items():
        assert f"{count} of {name}.jsonl" in data_set.source


def test_a_data_set_whose_share_is_less_than_a_row_is_not_left_out_silently(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"takes no row of .*b\.jsonl"):
        loaded("a.jsonl:1,b.jsonl:0.001")


def test_rows_limit_the_whole_and_the_seed_decides_which_and_their_order(folder: Path) -> None:
    first = loaded("a.jsonl:1,b.jsonl:1", rows=6)
    assert sources(first.train) == {"a": 3, "b": 3}
    assert loaded("a.jsonl:1,b.jsonl:1", rows=6).train == first.train
    assert loaded("a.jsonl:1,b.jsonl:1", rows=6, seed=1).train != first.train
    assert len(loaded("a.jsonl,b.jsonl", rows=500).train) == 30


def test_rows_are_held_out_of_all_together_and_no_prompt_is_on_both_sides(folder: Path) -> None:
    (folder / "b.jsonl").write_text((folder / "a.jsonl").read_text() * 2)
    data_set = loaded("a.jsonl,b.jsonl", holdout=0.1)
    assert (len(data_set.train), len(data_set.holdout)) == (27, 3)
    assert not {row.prompt for row in data_set.train} & {row.prompt for row in data_set.holdout}


def test_settings_of_the_mixture_hold_where_they_mean_something_and_are_not_set(folder: Path) -> None:
    mixed = ["a.jsonl", {"name": "c.jsonl", "columns": {"prompt": "q", "answer": "gold"}}, "arithmetic#4"]
    data_set = loaded(mixed, level=2, on_bad_row="skip")
    assert sources([row for row in data_set.train if row.prompt[0] in "abc"]) == {"a": 10, "c": 6}
    a, c, arithmetic = sources_of(DataConfig.checked({"mix": mixed, "level": 2, "on_bad_row": "skip", "seed": 3}))
    assert (a.level, arithmetic.level, arithmetic.seed) == (None, 2, 3)
    assert (a.on_bad_row, c.columns) == ("skip", {"prompt": "q", "answer": "gold"})
    with pytest.raises(ConfigError, match=r"data\.level means nothing"):
        loaded("a.jsonl,b.jsonl", level=2)
    with pytest.raises(DataError, match="no such data file"):
        loaded("a.jsonl,nope.jsonl")


def test_bad_rows_of_each_data_set_are_counted(folder: Path) -> None:
    with (folder / "a.jsonl").open("a") as file:
        file.write('{"prompt": null}\n')
    with pytest.raises(DataError, match=r"line 11 of a\.jsonl"):
        loaded("a.jsonl,b.jsonl")
    assert loaded("a.jsonl,b.jsonl", on_bad_row="skip").skipped == 1


def test_what_was_done_with_each_data_set_is_said(folder: Path) -> None:
    with (folder / "a.jsonl").open("a") as file:
        file.write('{"prompt": null}\n')
    (folder / "alpaca.jsonl").write_text('{"instruction": "d", "input": "", "output": "0"}\n')
    messages = {"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "e"}], "answer": "0"}
    (folder / "e.jsonl").write_text("\n".join(map(json.dumps, [messages, {"prompt": "f", "answer": "1"}])))
    parts = [
        "a.jsonl#4",
        {"name": "c.jsonl", "columns": {"prompt": "q", "answer": "gold"}},
        "alpaca.jsonl",
        {"name": "e.jsonl", "system_prompt": "t"},
        "arithmetic#3",
    ]
    data_set = loaded(parts, level=2, seed=5, on_bad_row="skip")
    assert [(part.name, part.rows) for part in data_set.parts] == [
        ("a.jsonl", 4),
        ("c.jsonl", 6),
        ("alpaca.jsonl", 1),
        ("e.jsonl", 2),
        ("arithmetic", 3),
    ]
    assert [part.how for part in data_set.parts] == [
        "prompt=prompt, answer=answer, rows=4, on_bad_row=skip",
        "prompt=q, answer=gold, on_bad_row=skip",
        "schema alpaca, prompt=instruction+input, answer=output, on_bad_row=skip",
        "prompt=prompt, answer=answer, on_bad_row=skip; system prompt before 1 rows (1 keep their own)",
        "records of its own, rows=3, on_bad_row=skip, level=2, seed=5",
    ]
    whole = loaded("a.jsonl,b.jsonl", on_bad_row="skip").parts[0]
    assert whole.how == "prompt=prompt, answer=answer, on_bad_row=skip; 1 bad rows skipped"
    assert [line for line in check(data_set).lines() if line.startswith("arithmetic:")]


def test_pairs_that_are_read_as_labels_are_said_to_be_so_in_a_mixture(folder: Path) -> None:
    (folder / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "x", "rejected": "y"}\n')
    (folder / "labels.jsonl").write_text('{"prompt": "b", "completion": "x", "label": true}\n')
    parts = load(DataConfig.checked("pairs.jsonl,labels.jsonl"), LabelledCompletion).parts
    assert [(part.rows, "read from PreferencePair rows" in part.how) for part in parts] == [(2, True), (1, False)]


def test_a_mixture_streams_and_has_a_record_type_and_a_hash(folder: Path) -> None:
    config = DataConfig.checked("a.jsonl,b.jsonl")
    assert len(list(stream(config, PromptTask))) == 30
    assert record_kind(config) is Conversation
    key = sources_key([config], {})
    (folder / "b.jsonl").write_text('{"prompt": "b0", "answer": "0"}\n')
    assert key
    assert key != sources_key([config], {})


def test_procedural_rewards_stay_where_all_data_sets_have_the_same() -> None:
    assert loaded("arithmetic#3,arithmetic#4").rewards == loaded("arithmetic#3").rewards
    assert loaded("arithmetic#3,choices:lists#4").rewards == ()


@pytest.mark.parametrize(
    ("holdout", "rows", "expected"),
    [(None, 9, 0), (0, 9, 0), (3, 9, 3), (0.1, 100, 10), (0.1, 4, 1), (0.25, 10, 3), (0.5, 3, 2), (0.99, 10, 10)],
)
def test_a_share_is_that_of_the_rows_and_at_least_one(holdout: float | None, rows: int, expected: int) -> None:
    assert held_out_rows(holdout, rows) == expected


def test_a_share_of_a_file_and_of_a_procedural_source_is_held_out(folder: Path) -> None:
    assert len(loaded("b.jsonl", holdout=0.1).holdout) == 2
    assert len(loaded("b.jsonl", holdout="0.25").holdout) == 5
    assert len(loaded("b.jsonl", holdout=0.1, rows=3).train) == 3
    assert len(loaded("arithmetic#50", holdout=0.2).holdout) == 10
    with pytest.raises(DataError, match="leaves none of 1"):
        loaded("d,e.jsonl", holdout=0.5)


@pytest.mark.parametrize("holdout", [1.5, True, -0.1, "many", float("inf"), float("nan"), "2.5"])
def test_a_holdout_that_is_neither_a_number_of_rows_nor_a_share_is_refused(holdout: Any) -> None:
    with pytest.raises(ConfigError, match="holdout"):
        DataConfig.checked({"holdout": holdout})


def test_a_whole_number_of_rows_stays_one_however_it_is_written() -> None:
    assert [DataConfig.checked({"holdout": value}).holdout for value in (2, 2.0, "2", 0.0)] == [2, 2, 2, 0]
