"""`rlllm data show` and `rlllm data export` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Rlllm

ROW = {"question": "What is 2 + 3?", "response": "It is 5.\x1b[31m", "topic": "sums"}


@pytest.fixture
def rows(tmp_path: Path) -> str:
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    return "rows.jsonl"


def test_records_are_shown_with_their_columns(rlllm: Rlllm, rows: str) -> None:
    said = rlllm(f"data show {rows}")
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        "data     rows.jsonl: 1 training rows",
        "read as  Conversation, for rlllm sft --method sft",
        "columns  prompt=question, completion=response",
        "",
        "row 1",
        "prompt (question)      What is 2 + 3?",
        "completion (response)  It is 5.\\x1b[31m",
        "meta.topic             sums",
    ]


def test_what_was_done_with_each_data_set_of_a_mixture_is_shown(rlllm: Rlllm, rows: str) -> None:
    said = rlllm(f"data show {rows},arithmetic#2 --kind sft level=3")
    assert said.code == 0, said.err
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert "made from rows.jsonl: prompt=question, completion=response" in lines
    assert "arithmetic: records of its own, rows=2, level=3" in lines
    parts = rlllm(f"data show {rows},arithmetic#2 --kind sft level=3 --json").json["parts"]
    assert [(part["name"], part["rows"]) for part in parts] == [("rows.jsonl", 1), ("arithmetic", 2)]
    assert "made from  records of its own" in rlllm("data show arithmetic").out


def test_tokens_are_marked_without_colour(rlllm: Rlllm, rows: str) -> None:
    said = rlllm(f"data show {rows} --tokens max_length=24")
    assert said.code == 0, said.err
    assert "tokens of  nano, max_length 24" in said.out
    assert "+ trains, - does not, EOS ends a completion" in said.out
    assert "text: 24 tokens, 8 train, no EOS" in said.out
    assert "! 6 of 30 tokens are cut off at max_length=24" in said.out
    assert "template  training and generation are the same; then the template adds '<|end|>'" in said.out
    assert "-260=<|assistant|> +73=I +116=t +32=\u2423" in said.out
    assert "+257=<|end|>" in said.out.partition("cut off:")[2]
    assert "\x1b" not in said.out


def test_one_document_holds_everything(rlllm: Rlllm, rows: str) -> None:
    said = rlllm(f"data show {rows} --tokens --json")
    (record,) = said.json["records"]
    (sequence,) = record["sequences"]
    assert record["record"]["prompt"] == ROW["question"]
    assert sequence["tokens"][-1] == {"id": 257, "text": "<|end|>", "trains": True}
    assert sequence["ends"] == [29]
    assert sequence["check"]["same"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("data show none.jsonl", "none.jsonl"),
        ("data show arithmetic --kind nonsense", "unknown kind of data: nonsense"),
        ("data show arithmetic --kind dop", "did you mean dpo?"),
        ("data show arithmetic max_length=3", "only matter for tokens"),
        ("data show arithmetic --tokens max_length", "settings are written KEY=VALUE"),
        ("data show arithmetic --rows 0", "at least one row"),
        ("data show arithmetic --tokens --kind sft nonsense=3", "unknown key for sft: nonsense"),
        ("data export arithmetic --to verll --out x", "did you mean verl?"),
        ("data export arithmetic --to verl --out x.json", "verl reads .parquet files"),
    ],
)
def test_what_cannot_be_shown_or_written_is_one_screen(rlllm: Rlllm, words: str, message: str) -> None:
    said = rlllm(words)
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err


def test_data_is_exported_with_the_way_back(rlllm: Rlllm, rows: str, tmp_path: Path) -> None:
    said = rlllm(f"data export {rows} --to openrlhf --out out.jsonl")
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        "data       rows.jsonl: 1 training rows, read as Conversation",
        "written    1 rows in out.jsonl",
        "read back  --columns prompt=input,completion=output",
    ]
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {
        "input": ROW["question"],
        "output": ROW["response"],
        "topic": "sums",
    }
    assert rlllm(f"data export {rows} --to openrlhf --out out.jsonl").code == 2


def test_held_out_rows_get_a_file_of_their_own(rlllm: Rlllm, tmp_path: Path) -> None:
    said = rlllm("data export arithmetic#3 --to verl --kind reason --holdout 2 --out out --json")
    assert said.code == 0, said.err
    assert said.json["written"]["files"] == {"out/train.parquet": 3, "out/test.parquet": 2}
    assert said.json["written"]["warnings"] == ["5 prompts of plain text became one user turn"]
    columns = ",".join(f"{name}={column}" for name, column in said.json["written"]["columns"].items())
    shown = rlllm(f"data show out/train.parquet --kind reason --columns {columns} --json")
    assert shown.json["records"][0]["record"]["answer"]


def test_settings_of_the_data_need_no_tokens(rlllm: Rlllm) -> None:
    shown = rlllm("data show arithmetic data.level=1 data.params.clean=true --json").json
    assert shown["records"][0]["record"]["meta"]["level"] == 1
    refused = rlllm("data show arithmetic data.levl=1")
    assert refused.code == 2
    assert "did you mean level?" in refused.err


def test_the_images_of_a_prompt_are_shown_by_their_size(rlllm: Rlllm, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    row = {"prompt": "<image>\nWhat colour?", "answer": "red", "image": "red.png"}
    (tmp_path / "seen.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    said = rlllm("data show seen.jsonl --kind reason")
    assert said.code == 0, said.err
    words = " ".join(said.out.split())
    assert "columns prompt=prompt, answer=answer, images=image" in words
    assert f"image 1 {tmp_path / 'red.png'}, 40x30 pixels" in words
    assert "prompt user: [image] What colour?" in words
    (shown,) = rlllm("data show shapes --rows 1 --json").json["records"]
    assert [(image["width"], image["height"]) for image in shown["images"]] == [(32, 32)]
    assert rlllm("data show seen.jsonl --kind reason --columns images=none").out.count("image 1") == 0


@pytest.mark.parametrize("kind", ["reason", "sft"])
def test_a_vision_model_says_how_many_tokens_an_image_takes(rlllm: Rlllm, kind: str) -> None:
    said = rlllm(f"data show shapes --rows 1 --tokens --model nano-vision --kind {kind} --json")
    assert said.code == 0, said.err
    (shown,) = said.json["records"]
    (image,) = shown["images"]
    (sequence,) = shown["sequences"]
    texts = [token["text"] for token in sequence["tokens"]]
    assert image["tokens"] == texts.count("<image>") == 16
    out = rlllm(f"data show shapes --rows 1 --tokens --model nano-vision --kind {kind}").out
    assert "32x32 pixels, 16 tokens" in out
    assert "-261=<image>(x16)" in out
    assert "<|user|><image>What" in out
