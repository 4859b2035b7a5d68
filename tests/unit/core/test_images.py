"""Images of prompts: what a reference opens, and what tells two images apart."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from rlllm.core import images
from rlllm.core.errors import DataError
from rlllm.core.records import (
    Conversation,
    PromptTask,
    behind_text,
    hashed_prompt,
    images_of,
    message_text,
    prompt_key,
    prompt_text,
    record_hash,
    with_text,
)


def encoded(colour: str = "red", size: tuple[int, int] = (8, 6), form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form, **options)
    return file.getvalue()


def asked(*references: str, text: str = "How many?") -> list[dict[str, object]]:
    parts = [{"type": "image", "image": reference} for reference in references]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_a_file_and_a_uri_of_the_same_bytes_are_one_image(tmp_path: Path, form: str) -> None:
    file = tmp_path / "picture"
    file.write_bytes(encoded(form=form))
    uri = images.data_uri(file.read_bytes())
    assert uri.startswith(f"data:image/{form.lower()};base64,")
    assert images.image_digest(str(file)) == images.image_digest(uri)
    for reference in (str(file), uri):
        opened = images.open_image(reference)
        assert (opened.mode, opened.size) == ("RGB", images.image_size(reference)) == ("RGB", (8, 6))


def test_palettes_and_grey_become_rgb() -> None:
    for mode in ("P", "L", "1", "RGBA"):
        file = io.BytesIO()
        Image.new(mode, (4, 4)).save(file, "PNG")
        assert images.open_image(images.data_uri(file.getvalue())).mode == "RGB"


def test_a_photograph_is_turned_as_its_camera_was_held() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    uri = images.data_uri(encoded(size=(8, 6), form="JPEG", exif=exif))
    assert images.image_size(uri) == images.open_image(uri).size == (6, 8)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_an_image_that_is_cut_short_is_refused_before_it_is_looked_at(tmp_path: Path, form: str) -> None:
    file = tmp_path / "cut"
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    noise.save(file, form)
    file.write_bytes(file.read_bytes()[:-600])
    for use in (images.image_size, images.open_image):
        with pytest.raises(DataError, match="not an image that can be decoded") as caught:
            use(str(file))
        assert caught.value.given == str(file)


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("/no/such/file.png", "no such image file"),
        ("/etc", "cannot be read"),
        ("data:image/png,abc", "without base64"),
        ("data:image/png;base64,####", "base64 text of an image is broken"),
        ("data:image/png;base64,", "has no bytes"),
        (f"data:image/png;base64,{base64.b64encode(b'not an image at all').decode()}", "no known format"),
    ],
)
def test_what_is_no_image_says_so(reference: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        images.image_size(reference)


def test_a_long_uri_is_shown_by_its_beginning() -> None:
    uri = images.data_uri(encoded(size=(300, 300)))
    assert images.shown_reference(uri) == f"{uri[:40]}... ({len(uri):,} characters)"
    assert images.shown_reference("/a/b.png") == "/a/b.png"


def test_an_image_is_read_as_a_mark_on_a_line_of_its_own() -> None:
    prompt = asked("/a.png", "/b.png")
    assert images_of(prompt) == ["/a.png", "/b.png"]
    assert prompt_text(prompt) == message_text(prompt[0]) == "[image]\n[image]\nHow many?"
    assert images_of("text") == images_of([{"role": "user", "content": "text"}]) == []


def test_text_goes_behind_the_text_of_a_message_with_images() -> None:
    (turn,) = asked("/a.png")
    assert message_text(behind_text(turn, "\nThink.")) == "[image]\nHow many?\nThink."
    alone = {"role": "user", "content": [{"type": "image", "image": "/a.png"}]}
    assert message_text(behind_text(alone, "\nThink.")) == "[image]\nThink."
    assert images_of([with_text(turn, str.upper)]) == ["/a.png"]
    assert message_text(with_text(turn, str.upper)) == "[image]\nHOW MANY?"
    assert message_text(with_text(alone, lambda own: f"({own})")) == "[image]\n()"


def test_what_is_in_a_file_decides_the_hash_of_its_record(tmp_path: Path) -> None:
    file, copy = tmp_path / "a.png", tmp_path / "b.png"
    file.write_bytes(encoded("red"))
    copy.write_bytes(encoded("red"))
    first = [record_hash(PromptTask(asked(str(path)))) for path in (file, copy)]
    key = prompt_key(asked(str(file)))
    assert first[0] == first[1]
    assert key == prompt_key(asked(images.data_uri(encoded("red"))))
    file.write_bytes(encoded("blue"))
    assert record_hash(PromptTask(asked(str(file)))) != first[0]
    assert prompt_key(asked(str(file))) != key
    file.unlink()
    with pytest.raises(DataError, match="no such image file"):
        record_hash(Conversation(asked(str(file)), "two"))


def test_prompts_without_images_are_hashed_as_they_are() -> None:
    chat = [{"role": "user", "content": "How many?"}]
    assert hashed_prompt(chat) is chat
    assert prompt_key("How many?") == prompt_key(chat) == "How many?"
