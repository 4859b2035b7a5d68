"""Rows with images: every way a data set may hold them becomes a reference in its place in the prompt."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.images import data_uri, image_bytes, image_size, open_image
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    StepwiseSolution,
    images_of,
    prompt_text,
)
from rlllm.data.config import DataConfig
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.formats import dataset_rows, number_rows
from rlllm.data.load import Loaded, load
from rlllm.data.to_records import adapt

URL = "https://example.org/cat.png"


def encoded(colour: str, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(file, form)
    return file.getvalue()


RED, BLUE = encoded("red"), encoded("blue")


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path, kind: type[Record] = PromptTask, **settings: Any) -> Loaded:
    return load(DataConfig(name=str(path), **settings), kind)


def adapted(row: dict[str, Any], kind: type[Record] = PromptTask, columns: dict[str, str] | None = None) -> Any:
    records, _ = adapt(number_rows([row], "rows"), kind, columns or {}, "rows")
    (record,) = records
    return record


def colours(record: Any) -> list[tuple[int, ...]]:
    """The colour of each image of a record's prompt."""
    return [open_image(reference).getpixel((0, 0)) for reference in images_of(record.prompt)]  # type: ignore[misc]


RED_PIXEL, BLUE_PIXEL = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder `images` with red.png and blue.png."""
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "red.png").write_bytes(RED)
    (folder / "blue.png").write_bytes(BLUE)
    return folder


ONE_IMAGE: dict[str, Callable[[Path], Any]] = {
    "absolute path": lambda folder: str(folder / "red.png"),
    "file URI": lambda folder: f"file://{folder / 'red.png'}",
    "bytes": lambda folder: RED,
    "datasets' object with bytes": lambda folder: {"bytes": RED, "path": "elsewhere.png"},
    "datasets' object with a path": lambda folder: {"bytes": None, "path": str(folder / "red.png")},
    "PIL image": lambda folder: Image.new("RGB", (8, 6), "red"),
    "PIL image in CMYK": lambda folder: Image.new("RGB", (8, 6), "red").convert("CMYK"),
    "base64 text": lambda folder: base64.b64encode(RED).decode(),
    "base64 text of a JPEG": lambda folder: base64.b64encode(encoded("red", "JPEG")).decode(),
    "data URI": lambda folder: data_uri(RED),
    "data URI without its type": lambda folder: f"data:;base64,{base64.b64encode(RED).decode()}",
    "verl's object": lambda folder: {"image": data_uri(RED)},
}


@pytest.mark.parametrize("form", ONE_IMAGE)
@pytest.mark.parametrize("place", ["image", "images", "part", "image_url"])
def test_every_form_of_an_image_is_read_in_every_place(form: str, place: str, pictures: Path) -> None:
    value = ONE_IMAGE[form](pictures)
    question: Any = "What is it?"
    row: dict[str, Any] = {"prompt": question, "answer": "red"}
    if place == "part":
        row["prompt"] = [{"role": "user", "content": [{"type": "image", "image": value}, _text(question)]}]
    elif place == "image_url":
        part = {"type": "image_url", "image_url": {"url": value}}
        row["prompt"] = [{"role": "user", "content": [part, _text(question)]}]
    else:
        row[place] = [value] if place == "images" else value
    task = adapted(row)
    assert prompt_text(task.prompt) == "[image]\nWhat is it?"
    (reference,) = images_of(task.prompt)
    red, green, blue = open_image(reference).getpixel((0, 0))  # type: ignore[misc]
    assert red > 230 > 40 > max(green, blue)  # JPEG and CMYK round
    assert image_size(reference) == (8, 6)
    assert reference.startswith("data:image/") or Path(reference).is_absolute()
    assert task.meta == {}
    json.dumps(task.prompt)


def test_bytes_are_kept_as_they_are() -> None:
    jpeg = encoded("red", "JPEG")
    (reference,) = images_of(adapted({"prompt": "?", "image": jpeg}).prompt)
    assert image_bytes(reference) == jpeg


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def test_relative_paths_begin_at_the_folder_of_the_data_file(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"prompt": "What is it?", "answer": "red", "image": "images/red.png"}]
    file = written(pictures.parent / "rows.jsonl", rows)
    monkeypatch.chdir(pictures.parent.parent)
    (record,) = read(file.relative_to(Path.cwd())).train
    assert images_of(record.prompt) == [str(pictures / "red.png")]


def test_relative_paths_of_a_folder_begin_where_each_file_lies(pictures: Path) -> None:
    written(pictures / "train.jsonl", [{"prompt": "?", "answer": "red", "image": "red.png"}])
    (record,) = read(pictures).train
    assert images_of(record.prompt) == [str(pictures / "red.png")]


def test_a_folder_of_images_may_lie_elsewhere(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = [{"prompt": "?", "answer": "red", "image": "red.png"}]
    file = written(tmp_path_factory.mktemp("elsewhere") / "rows.jsonl", rows)
    (record,) = read(file, image_folder=str(pictures)).train
    assert images_of(record.prompt) == [str(pictures / "red.png")]
    with pytest.raises(ConfigError, match="no such folder of images"):
        read(file, image_folder=str(pictures / "none"))
    with pytest.raises(ConfigError, match=r"data\.image_folder means nothing for shapes"):
        load(DataConfig(name="shapes", image_folder=str(pictures)), PromptTask)


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"prompt": "a<image>b"}, ["a", 0, "b"]),
        ({"prompt": "<image>\nb"}, [0, "b"]),
        ({"prompt": "a\n<image>\nb\n<image>"}, ["a", 0, "b", 1]),
        ({"prompt": "<image>\n<image>\nb"}, [0, 1, "b"]),
        ({"prompt": "b"}, [0, "b"]),
        ({"prompt": "b", "n": 2}, [0, 1, "b"]),
        ({"prompt": [{"role": "user", "content": "<image>b"}]}, [0, "b"]),
        ({"prompt": [{"role": "user", "content": "b"}]}, [0, "b"]),
        ({"prompt": [{"role": "user", "content": [_text("a"), {"type": "image"}, _text("b")]}]}, ["a", 0, "b"]),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image", "text": None, "index": 0}, _text("b")]}]},
            [0, "b"],
        ),
        ({"prompt": [{"role": "user", "content": [_text("<image>"), _text("b")]}]}, [0, "b"]),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image"}, _text("an <image> tag")]}]},
            [0, "an <image> tag"],
        ),
    ],
)
def test_images_stand_where_the_row_has_a_place_for_them(row: dict[str, Any], parts: list[Any], pictures: Path) -> None:
    files = [str(pictures / "red.png"), str(pictures / "blue.png")]
    count = row.pop("n", None) or max([1, *(part + 1 for part in parts if isinstance(part, int))])
    (turn,) = adapted({**row, "answer": "x", "images": files[:count]}).prompt
    expected = [_text(p) if isinstance(p, str) else {"type": "image", "image": files[p]} for p in parts]
    assert turn == {"role": "user", "content": expected}


def test_a_conversation_has_its_images_before_the_first_turn_of_the_user(pictures: Path) -> None:
    chat = [
        {"role": "system", "content": "Look well."},
        {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": "Red."},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Yes."},
    ]
    record = adapted({"messages": chat, "images": [str(pictures / "red.png")]}, Conversation)
    assert prompt_text(record.prompt) == "system: Look well.\nuser: [image]\nWhat is it?\nassistant: Red.\nuser: Sure?"
    assert (record.completion, record.trained_turns) == ("Yes.", (2,))


def test_llava_and_the_columns_beside_a_prompt_go_with_images(pictures: Path) -> None:
    file = str(pictures / "red.png")
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "Red."}]
    llava = adapted({"id": "1", "image": file, "conversations": turns}, Conversation)
    assert (prompt_text(llava.prompt), llava.completion, llava.meta) == ("[image]\nWhat is it?", "Red.", {"id": "1"})
    row = {
        "instruction": "And now?",
        "input": "",
        "output": "Red.",
        "system": "Be brief.",
        "history": [["<image>First?", "Blue."]],
        "images": [file],
    }
    record = adapted(row, Conversation)
    assert prompt_text(record.prompt) == ("system: Be brief.\nuser: [image]\nFirst?\nassistant: Blue.\nuser: And now?")
    assert record.trained_turns == (2,)


def test_all_record_types_are_made_with_images(pictures: Path) -> None:
    both = {"images": [RED, BLUE]}
    said = [{"role": "user", "content": "<image><image>?"}]
    made = [
        adapted({"prompt": "<image><image>?", "answer": "x", **both}),
        adapted({"prompt": "?", "completion": "x", **both}, Conversation),
        adapted({"prompt": "?", "chosen": "x", "rejected": "y", **both}, PreferencePair),
        adapted({"chosen": _answered(said, "x"), "rejected": _answered(said, "y"), **both}, PreferencePair),
        adapted(
            {"messages": said, "rejected_response": "y", **both} | {"messages": _answered(said, "x")}, PreferencePair
        ),
        adapted({"prompt": said, "completion": "x", "label": True, **both}, LabelledCompletion),
        adapted({"prompt": "?", "steps": ["a"], "labels": [True], **both}, StepwiseSolution),
        adapted({"data_source": "d", "prompt": said, "reward_model": {"ground_truth": "x"}, **both}),
        adapted({"context_messages": said, **both}),
    ]
    for record in made:
        assert colours(record) == [RED_PIXEL, BLUE_PIXEL], record
        assert "images" not in record.meta


def _answered(turns: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    return [*turns, {"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            {"prompt": "<image><image>?", "images": ["red"]},
            "row 1 of rows has 2 places for the 1 image of the column images",
        ),
        ({"prompt": "<image>?", "images": ["red", "red"]}, "has 1 place for the 2 images of the column images"),
        ({"prompt": "<image>?", "images": []}, "has 1 place for the 0 images of the column images"),
        ({"prompt": "<image>?", "image": None}, "has 1 place for the 0 images of the column image"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image"}, _text("?")]}]},
            "has 1 place for an image in its messages, and no column of images",
        ),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image", "image": "red"}]}], "images": ["red"]},
            "has 1 image in its messages and no place for the 1 image of the column images",
        ),
        ({"prompt": [{"role": "system", "content": "?"}], "images": ["red"]}, "no turn of the user to put them in"),
        (
            {"prompt": "?", "images": [None]},
            "has a value in the column images, which is not read: most of the first 64",
        ),
        ({"prompt": "?", "images": ["red", 7]}, "images 2 at row 1 of rows: an image is a path, .* found a number"),
        ({"prompt": "?", "images": ["red", " "]}, "images 2 at row 1 of rows: .* found blank text"),
        (
            {"prompt": "?", "images": [{"bytes": None, "path": None}]},
            "images at row 1 of rows: an object with no image in it",
        ),
        ({"prompt": "?", "image": b"no image"}, "image at row 1 of rows: not an image that can be decoded"),
        ({"prompt": "?", "image": URL}, "image at row 1 of rows: the image is a URL"),
        ({"prompt": "?", "images": ["red", URL]}, "images 2 at row 1 of rows: the image is a URL"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]}]},
            "an image in the messages at row 1 of rows: the image is a URL",
        ),
        ({"prompt": "?", "image": "gs://bucket/a.png"}, "the image is a URL"),
        ({"prompt": "?", "image": "/no/such.png"}, "image at row 1 of rows: there is no such image file"),
        (
            {"prompt": "?", "image": "red", "images": ["red"]},
            "column image, which is not read: .* read from images",
        ),
    ],
)
def test_what_does_not_fit_says_where_and_what(row: dict[str, Any], problem: str, pictures: Path) -> None:
    row = json.loads(
        json.dumps(row, default=lambda raw: raw.hex()).replace('"red"', json.dumps(str(pictures / "red.png")))
    )
    if row.get("image") == b"no image".hex():
        row["image"] = b"no image"
    with pytest.raises(DataError, match=problem) as caught:
        adapted({"answer": "x", **row})
    assert "data.on_bad_row=skip" in (caught.value.hint or "") or "images=COLUMN" in (caught.value.hint or "")


def test_an_address_is_refused_with_what_to_do() -> None:
    with pytest.raises(DataError) as caught:
        adapted({"prompt": "?", "image": URL})
    assert caught.value.given == URL
    assert "download the images" in (caught.value.hint or "")


def test_an_image_of_the_assistant_is_refused() -> None:
    said = [{"type": "image", "image": data_uri(RED)}, _text("this")]
    chat = [{"role": "user", "content": "Draw"}, {"role": "assistant", "content": said}]
    with pytest.raises(DataError, match="only prompts show images"):
        adapted({"messages": chat}, Conversation)


def test_text_to_continue_shows_no_images(pictures: Path) -> None:
    with pytest.raises(DataError, match="plain text to continue shows no images"):
        adapted({"text": "a", "image": str(pictures / "red.png")}, Conversation)


def test_broken_files_are_named_by_their_line_or_skipped(pictures: Path) -> None:
    (pictures / "cut.png").write_bytes(RED[:45])
    rows = [
        {"prompt": f"{name}?", "answer": "x", "image": f"images/{name}.png"} for name in ("red", "cut", "gone", "blue")
    ]
    file = written(pictures.parent / "rows.jsonl", rows)
    with pytest.raises(DataError, match=r"image at line 2 of rows\.jsonl: not an image that can be decoded") as caught:
        read(file)
    assert caught.value.given == str(pictures / "cut.png")
    assert f"relative paths begin in {pictures.parent}; data.image_folder=DIR" in (caught.value.hint or "")
    loaded = read(file, on_bad_row="skip")
    assert ([colours(record) for record in loaded.train], loaded.skipped) == ([[RED_PIXEL], [BLUE_PIXEL]], 2)
    assert [example.partition(": ")[2][:20] for example in loaded.skipped_examples] == [
        "not an image that ca",
        "there is no such ima",
    ]


def test_the_column_can_be_named_and_set_aside(pictures: Path) -> None:
    row = {"prompt": "?", "answer": "x", "picture": str(pictures / "red.png")}
    assert colours(adapted(row, columns={"images": "picture"})) == [RED_PIXEL]
    aside = {"prompt": "<image>?", "answer": "x", "images": ["gone.png"]}
    assert adapted(aside, columns={"images": "none"}).prompt == "<image>?"
    assert adapted({"text": "a", "image": "gone.png"}, Conversation, {"images": "none"}).completion == "a"
    numbers = {"question": "?", "answer": "x", "image": 7}
    assert adapted(numbers, columns={"prompt": "question"}).meta == {"image": 7}


def test_rows_without_an_image_stay_plain_text_beside_rows_with_one(pictures: Path) -> None:
    rows = [{"prompt": "a", "answer": "x", "images": images} for images in ([], None, [str(pictures / "red.png")])]
    records, _ = adapt(number_rows(rows, "rows"), PromptTask, {}, "rows")
    assert [record.prompt for record in records[:2]] == ["a", "a"]
    assert colours(records[2]) == [RED_PIXEL]


def test_parquet_and_saved_sets_of_datasets_are_read_without_decoding(tmp_path: Path) -> None:
    from datasets import Dataset, Features, List, Value
    from datasets import Image as ImageFeature

    features = Features({"prompt": Value("string"), "answer": Value("string"), "images": List(ImageFeature())})
    jpeg = encoded("blue", "JPEG")
    rows = {
        "prompt": ["a", "b"],
        "answer": ["x", "y"],
        "images": [[{"bytes": jpeg}], [{"bytes": RED}, {"bytes": jpeg}]],
    }
    data = Dataset.from_dict(rows, features=features)
    data.to_parquet(str(tmp_path / "rows.parquet"))
    data.save_to_disk(str(tmp_path / "saved"))
    for name in ("rows.parquet", "saved"):
        records = read(tmp_path / name).train
        assert [[image_bytes(reference) for reference in images_of(record.prompt)] for record in records] == [
            [jpeg],
            [RED, jpeg],
        ]


def test_a_csv_names_its_images(pictures: Path) -> None:
    (pictures.parent / "rows.csv").write_text(
        'prompt,answer,images\nWhat?,red,images/red.png\nBoth?,no,"[""images/red.png"", ""images/blue.png""]"\n'
    )
    records = read(pictures.parent / "rows.csv").train
    assert [colours(record) for record in records] == [[RED_PIXEL], [RED_PIXEL, BLUE_PIXEL]]


def test_what_an_image_shows_decides_hashes_and_splits(pictures: Path) -> None:
    rows = [
        {"prompt": "What?", "answer": name, "image": f"images/{name}.png"} for name in ("red", "blue") for _ in "ab"
    ]
    file = written(pictures.parent / "rows.jsonl", rows)
    before = read(file, holdout=2)
    (asked,) = {colours(record)[0] for record in before.holdout}
    assert (len(before.train), len(before.holdout)) == (2, 2)
    assert asked not in {colours(record)[0] for record in before.train}
    (pictures / "red.png").write_bytes(encoded("green"))
    assert read(file, holdout=2).hash != before.hash
    (pictures / "red.png").write_bytes(RED)
    assert read(file, holdout=2).hash == before.hash


def test_damage_and_skipping_count_once(pictures: Path) -> None:
    bad = BadRows("skip")
    rows = [{"prompt": "?", "image": value} for value in (str(pictures / "red.png"), URL, str(pictures / "blue.png"))]
    records, _ = adapt(number_rows(rows, "rows"), PromptTask, {}, "rows", bad)
    assert (len(records), bad.count, bad.good) == (2, 1, 2)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.just("<image>")
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["bytes", "path", "image", "url", "type", "text"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(image=_JSON, content=_JSON)
def test_any_value_is_read_or_refused_as_data(image: Any, content: Any) -> None:
    row = {"prompt": [{"role": "user", "content": content}], "answer": "x", "images": image}
    with suppress(DataError):
        record = adapted(row)
        for reference in images_of(record.prompt):
            open_image(reference)


def test_a_stream_of_datasets_gives_images_as_pil_holds_them() -> None:
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    features = Features({"prompt": Value("string"), "image": ImageFeature()})
    data = Dataset.from_dict({"prompt": ["a"], "image": [{"bytes": encoded("blue", "JPEG")}]}, features=features)
    (stored,), (streamed,) = list(dataset_rows(data)), list(dataset_rows(data.to_iterable_dataset()))
    assert stored["image"]["bytes"][:3] == b"\xff\xd8\xff"
    assert isinstance(streamed["image"], Image.Image)
    assert images_of(adapted(streamed).prompt)[0].startswith("data:image/png")
