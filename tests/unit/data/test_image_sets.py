"""What is done with whole data sets keeps images: checks, prepared folders, exports."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.images import data_uri, image_digest, open_image
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    images_of,
    prompt_text,
    record_hash,
)
from rlllm.data.config import DataConfig
from rlllm.data.inspect.summary import check
from rlllm.data.io.export_files import write
from rlllm.data.io.export_formats import TARGETS
from rlllm.data.load import load
from rlllm.data.prepare.settings import Preparation
from rlllm.tools.data.build import prepare
from rlllm.tools.data.check import DataCheck, check_data

QUESTION = "What does the picture on the left side of the page show us today?"


def encoded(colour: str, size: tuple[int, int] = (8, 6)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """rows.jsonl: one question on red, on blue, on red again, and one without an image."""
    (tmp_path / "red.png").write_bytes(encoded("red"))
    (tmp_path / "blue.png").write_bytes(encoded("blue", (40, 30)))
    asked: list[dict[str, Any]] = [
        {"prompt": QUESTION, "answer": "red", "images": ["red.png"]},
        {"prompt": QUESTION, "answer": "red", "images": ["blue.png"]},
        {"prompt": QUESTION, "answer": "red", "images": ["red.png"]},
        {"prompt": QUESTION, "answer": "red", "images": []},
        {"prompt": "Both?", "answer": "no", "images": ["red.png", data_uri(encoded("green"))]},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    return file


def test_the_summary_says_how_many_images_and_their_sizes(rows: Path) -> None:
    report = check(load(DataConfig(name=str(rows)), PromptTask))
    assert report.images == ["images: in 4 of 5 rows, 1 to 2 a row, 8x6 to 40x30 pixels"]
    assert report.images[0] in report.lines()
    assert report.duplicate_prompts == 1
    assert check(load(DataConfig(rows=5), PromptTask)).images == []


@pytest.mark.parametrize("over", ["row", "prompt"])
def test_rows_repeat_each_other_only_with_the_same_image(rows: Path, over: str) -> None:
    (checked,) = check_data(DataCheck.checked({"sources": [str(rows)], "near_duplicates": {"over": over}}))
    assert checked.groups == [[1, 3]]


def test_an_evaluation_prompt_is_held_only_with_its_image(rows: Path) -> None:
    exam = rows.with_name("exam.jsonl")
    exam.write_text(json.dumps({"prompt": QUESTION, "answer": "red", "images": ["blue.png"]}) + "\n")
    against = {"sources": [str(rows)], "contamination": {"against": [str(exam)]}}
    (checked,) = check_data(DataCheck.checked(against))
    assert [(hit["row"], hit["rule"]) for hit in checked.hits] == [(2, "exact")]


def test_a_prepared_folder_shows_the_same_from_anywhere(rows: Path, tmp_path: Path, monkeypatch: Any) -> None:
    settings = Preparation.checked(
        {"sources": str(rows), "out": str(tmp_path / "deep" / "er"), "near_duplicates": True, "kind": "PromptTask"}
    )
    assert prepare(settings).built
    monkeypatch.chdir("/")
    records = load(DataConfig(name=str(settings.out)), PromptTask).train
    stored = {record_hash(_bare(record)) for record in load(DataConfig(name=str(rows)), PromptTask).train}
    assert {record_hash(_bare(record)) for record in records} == stored
    references = [reference for record in records for reference in images_of(record.prompt)]
    assert sorted(reference[:5] == "data:" or Path(reference).is_absolute() for reference in references) == [True] * 4
    assert "images: in 3 of 4 rows" in (settings.out / "card.md").read_text()


def _bare(record: PromptTask) -> PromptTask:
    return PromptTask(record.prompt, record.answer)


def test_a_replaced_image_is_built_anew(rows: Path, tmp_path: Path) -> None:
    settings = Preparation.checked({"sources": str(rows), "out": str(tmp_path / "built")})
    assert (prepare(settings).built, prepare(settings).built) == (True, False)
    (rows.parent / "red.png").write_bytes(encoded("yellow"))
    with pytest.raises(ConfigError, match="the folder was prepared otherwise"):
        prepare(settings)
    assert prepare(settings.model_copy(update={"overwrite": True})).built
    (rows.parent / "red.png").unlink()
    with pytest.raises(DataError, match=r"images at line 1 of rows\.jsonl: there is no such image file"):
        prepare(settings.model_copy(update={"overwrite": True}))


def asked(*references: str) -> list[dict[str, Any]]:
    parts = [{"type": "image", "image": reference} for reference in references]
    return [
        {"role": "system", "content": "Look."},
        {"role": "user", "content": [*parts[:1], {"type": "text", "text": "One\n"}, *parts[1:]]},
    ]


def records_of(kind: type[Record], *references: str) -> list[Any]:
    prompts = [asked(*references), asked(references[0]), [{"role": "user", "content": "None?"}]]
    made = {
        PromptTask: lambda prompt: PromptTask(prompt, "red"),
        Conversation: lambda prompt: Conversation(prompt, "red"),
        PreferencePair: lambda prompt: PreferencePair(prompt, "red", "blue"),
        LabelledCompletion: lambda prompt: LabelledCompletion(prompt, "red", True),
    }[kind]
    return [made(prompt) for prompt in prompts]


TRIPS = [(to, kind) for to, target in TARGETS.items() if target.places for kind in target.rows if kind in (
    PromptTask, Conversation, PreferencePair, LabelledCompletion
)]  # fmt: skip


@pytest.mark.parametrize(("to", "kind"), TRIPS)
def test_exports_show_the_same_images_in_the_same_places(
    to: str, kind: type[Record], rows: Path, tmp_path: Path
) -> None:
    records = records_of(kind, str(rows.parent / "red.png"), data_uri(encoded("green")))
    out = tmp_path / "out" / ("" if TARGETS[to].folder_only else f"rows{TARGETS[to].suffix}")
    written = write({"train": records}, to, out, source="seen")
    (file,) = written.files
    back = load(DataConfig(name=file, columns=written.columns), kind).train
    assert [prompt_text(record.prompt) for record in back] == [prompt_text(record.prompt) for record in records]
    digests = [[image_digest(reference) for reference in images_of(record.prompt)] for record in records]
    assert [[image_digest(reference) for reference in images_of(record.prompt)] for record in back] == digests
    assert [len(row) for row in digests] == [2, 1, 0]


def test_rows_of_other_tools_have_their_marks(rows: Path, tmp_path: Path) -> None:
    uri = data_uri(encoded("green"))
    records = records_of(Conversation, str(rows.parent / "red.png"), uri)
    write({"train": records}, "llamafactory", tmp_path / "factory", source="seen")
    row, *_ = json.loads((tmp_path / "factory" / "train.json").read_text())
    assert row["conversations"][1] == {"from": "human", "value": "<image>\nOne\n\n<image>"}
    assert row["images"] == [str(rows.parent / "red.png"), f"images/{image_digest(uri)}.png"]
    assert open_image(str(tmp_path / "factory" / row["images"][1])).getpixel((0, 0)) == (0, 128, 0)
    index = json.loads((tmp_path / "factory" / "dataset_info.json").read_text())
    assert index["seen"]["columns"]["images"] == "images"
    write({"train": records}, "trl", tmp_path / "out.jsonl", source="seen")
    row = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert [part["type"] for part in row["prompt"][1]["content"]] == ["image", "text", "image"]
    assert all("image" not in part for part in row["prompt"][1]["content"])


def test_what_a_format_cannot_show_is_refused(rows: Path, tmp_path: Path) -> None:
    records = records_of(Conversation, str(rows.parent / "red.png"))
    with pytest.raises(ConfigError, match="the rows of openrlhf are written without images"):
        write({"train": records}, "openrlhf", tmp_path / "out.jsonl", source="seen")
    parts = [{"type": "image", "image": str(rows.parent / "red.png")}, {"type": "text", "text": "an <image> tag"}]
    ambiguous = [Conversation([{"role": "user", "content": parts}], "red")]
    with pytest.raises(DataError, match="has <image> in its text"):
        write({"train": ambiguous}, "verl", tmp_path / "rows.parquet", source="seen")
