"""Every setting that decides rows can be typed behind the data of a tool, in the words of its hints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Rlllm


@pytest.fixture(autouse=True)
def rows(tmp_path: Path) -> None:
    lines = ['{"prompt": "a", "answer": "1"}', '{"prompt": null, "answer": "2"}', '{"prompt": "b", "answer": "3"}']
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("setting", ["data.on_bad_row=skip", "on_bad_row=skip", "data.on-bad-row=skip"])
@pytest.mark.parametrize(
    ("command", "out"),
    [
        ("data show rows.jsonl", "2 training rows, 1 bad rows skipped"),
        ("data check rows.jsonl", "1 bad rows skipped"),
        ("data export rows.jsonl --kind sft --to trl --out out.jsonl", "2 training rows, 1 bad rows skipped"),
        ("data mix rows.jsonl --kind sft --out out", "2 to train on"),
        (
            "data label-steps --data rows.jsonl --reward exact --max-new-tokens 64 --rollouts 1 --output out.jsonl",
            "of 2 problems",
        ),
        ("data decontaminate rows.jsonl --kind sft --against arithmetic#4 --out out", "2 to train on"),
    ],
)
def test_the_hint_about_bad_rows_can_be_typed(rlllm: Rlllm, command: str, out: str, setting: str) -> None:
    refused = rlllm(command)
    assert refused.code == 2
    assert "data.on_bad_row=skip" in refused.err
    said = rlllm(f"{command} {setting}")
    assert said.code == 0, said.err
    assert out in said.out


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ("arithmetic data.params.flip_rate=0.5 --kind dpo", "PreferencePair"),
        ("arithmetic params.flip_rate=0.5 --kind dpo", "PreferencePair"),
        ("arithmetic level=3 seed=2", "1,000 training rows"),
        ("arithmetic data.rows=7 holdout=3", "7 training rows, 3 held out"),
        ("rows.jsonl on_bad_row=skip columns.prompt=answer --kind reason", "prompt=answer"),
        ("rows.jsonl columns=prompt=answer,answer=answer --kind reason", "prompt=answer"),
        ("rows.jsonl row_schema=alpaca on_bad_row=skip", "alpaca"),
    ],
)
def test_data_show_takes_every_setting_of_data(rlllm: Rlllm, words: str, out: str) -> None:
    said = rlllm(f"data show {words} --rows 1")
    assert out in said.out + said.err


def test_a_setting_of_a_verb_needs_tokens_and_a_strange_one_is_named(rlllm: Rlllm) -> None:
    assert "given: max_length=3" in rlllm("data show arithmetic max_length=3").err
    assert "unknown setting of data: max_length" in rlllm("data check rows.jsonl max_length=3").err
    assert "reads one data set" in rlllm("data export rows.jsonl rows.jsonl --to trl --out x.jsonl").err


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        ("--data rows.jsonl on_bad_row=skip data.columns.prompt=question data.columns.chosen=good", "2"),
        ("--data rows.jsonl on-bad-row=skip rows=1 --columns prompt=question,chosen=good", "1"),
        ("--data arithmetic level=1 data.seed=3 data.rows=5", "5"),
    ],
)
def test_pairs_that_are_labelled_take_every_setting_of_data(
    rlllm: Rlllm, tmp_path: Path, words: str, pairs: str
) -> None:
    lines = [{"question": prompt, "good": "x", "rejected": "y"} for prompt in ("a", None, "b")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = rlllm(f"data label-prefs {words} --judge gold --output out.jsonl --dry-run --json")
    assert said.code == 0, said.err
    assert said.json["pairs"] == pairs


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("label-prefs --judge gold data.level=3", "data.level means nothing for rows.jsonl"),
        ("label-prefs --judge gold depth=3", "unknown setting of data: depth"),
        ("label-prefs --judge gold seed=3", "type --seed 3, or data.seed=3"),
        ("label-prefs --judge gold more.jsonl", "several data sets are mixed as A,B"),
        ("label-prefs --judge gold --columns prompt=a columns.prompt=b", "data.columns.prompt is given twice"),
        ("label-prefs --judge gold columns=prompt=a,chosen=b", "no column a"),
        ("label-steps rows=3", "type --rows 3, or data.rows=3"),
        ("label-steps --columns prompt=a columns.prompt=b", "data.columns.prompt is given twice"),
    ],
)
def test_a_setting_that_labelling_refuses_is_named(rlllm: Rlllm, words: str, error: str) -> None:
    said = rlllm(f"data {words} --data rows.jsonl --output out.jsonl")
    assert said.code == 2
    assert error in said.err


def test_columns_as_an_option_and_as_a_setting_are_columns_twice(rlllm: Rlllm) -> None:
    said = rlllm("data show rows.jsonl on_bad_row=skip --columns prompt=prompt columns=prompt=answer")
    assert "data.columns is given twice" in said.err
