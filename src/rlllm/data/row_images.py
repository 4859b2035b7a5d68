"""Images of rows, in the ways data sets hold them, to the references of `core.records`, each in its place in the prompt.

An image is a path, bytes, `datasets`' `{"bytes", "path"}`, a PIL image, base64 text or a data URI. Each is decoded, so that a
row with a broken image is found when the data is read.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rlllm.core import images
from rlllm.core.errors import DataError
from rlllm.core.records import Content, Message, Prompt
from rlllm.data.io.formats import json_type

PLACEHOLDER = "<image>"
"""LLaVA, LLaMA-Factory, ms-swift and verl write this into a text where an image stands. A line break beside it is its part."""
_KEYS = ("bytes", "path", "url", "image", "image_url")
"""Keys of an object that is an image, the first with a value counts: `datasets` leaves a name in `path` beside the bytes."""
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{64,}={0,2}\s*")
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
"""First bytes of PNG, JPEG, GIF, WebP, BMP and TIFF."""
_HINT = "leave the images out with --columns images=none; or count and leave out such rows: data.on_bad_row=skip"


def could_be(value: Any) -> bool:
    """Whether a value has the type of an image or of a list of images; nothing is opened."""
    listed = _listed(value)
    return any(isinstance(item, str | bytes | bytearray | Mapping) or _is_pillow(item) for item in listed)


def of_column(value: Any, column: str, place: str, folder: Path | None) -> list[str]:
    """References of the images of a cell: of one image, of a list of them, or of none.

    Args:
        folder: where relative paths begin; the working directory where rows come from no file.

    Raises:
        DataError: an image that cannot be opened, named by column, place, and its number in a list.
    """
    listed = _listed(value)
    several = len(listed) > 1
    return [
        _reference(item, f"{column}{f' {number}' if several else ''} at {place}", folder)
        for number, item in enumerate(listed, start=1)
    ]


def in_place(prompt: Prompt, given: Sequence[str] | None, column: str, place: str, folder: Path | None) -> Prompt:
    """The prompt with a reference in each place for an image.

    Places are the image parts of messages. Those without an image of their own take the column's in order; where there are none
    of these, each `<image>` in a text of the user or the system does; and where there is none of these either, the images stand
    before the first text of the user, as TRL has them.

    Args:
        given: references of the row's column of images; None where the rows have no such column: `<image>` then is text.

    Raises:
        DataError: more or fewer places than images, no turn of the user to put them in, or an image that cannot be opened.
    """
    if isinstance(prompt, str) and not given and (given is None or PLACEHOLDER not in prompt):
        return prompt
    turns: list[Message] = (
        ([{"role": "user", "content": prompt}] if prompt else []) if isinstance(prompt, str) else prompt
    )
    parts = [part for turn in turns if not isinstance(turn["content"], str) for part in turn["content"]]
    pictures = [part for part in parts if part["type"] == "image"]
    empty = sum(part["image"] is None for part in pictures)
    if given is not None and not empty:
        marked = [_at_marks(turn) for turn in turns]
        marks = sum(text.count(PLACEHOLDER) for turn in turns for text in _asked(turn))
        if given and not marks and not pictures:
            marked, marks = _in_front(turns, len(given), column, place), len(given)
        turns, empty = marked, marks
    if empty != len(given or ()):
        raise _differ(empty, given, column, place, own=len(pictures))
    if not empty and not pictures:
        return prompt
    pool = iter(given or ())
    return [{**turn, "content": _filled(turn["content"], pool, place, folder)} for turn in turns]


def _reference(value: Any, where: str, folder: Path | None) -> str:
    try:
        reference = _unchecked(value, folder)
        images.image_size(reference)
    except DataError as error:
        relative = isinstance(value, str) and folder is not None and not os.path.isabs(value) and error.hint is None
        own = f"relative paths begin in {folder}; data.image_folder=DIR names another" if relative else error.hint
        raise DataError(
            f"{where}: {error.what}", given=error.given, hint="; ".join(filter(None, [own, _HINT]))
        ) from error
    return reference


def _unchecked(value: Any, folder: Path | None) -> str:
    """The reference that an image of any of the accepted forms becomes; whether it can be decoded is not known yet."""
    if isinstance(value, Mapping):
        inner = next((value[key] for key in _KEYS if value.get(key)), None)
        if inner is None:
            raise DataError("an object with no image in it", given=", ".join(map(str, value)), exists=_KEYS)
        return _unchecked(inner, folder)
    if isinstance(value, bytes | bytearray):
        return images.data_uri(bytes(value))
    if _is_pillow(value):
        return images.data_uri(_encoded(value))
    if not isinstance(value, str) or not value.strip():
        found = "blank text" if isinstance(value, str) else json_type(value)
        raise DataError(f"an image is a path, bytes, base64 text or a data URI, found {found}")
    text = value.strip()
    if images.is_data_uri(text):
        return images.data_uri(images.image_bytes(text))
    if url := _URL.match(text):
        if url["scheme"].lower() != "file":
            raise DataError(
                "the image is a URL, and none is downloaded while data is read",
                given=images.shown_reference(text[:200]),
                hint="download the images, and write their paths (or their bytes, as datasets stores them) into the rows",
            )
        text = unquote(text[url.end() :])
    elif decoded := _decoded(text):
        return images.data_uri(decoded)
    return os.path.abspath(os.path.join(folder or "", os.path.expanduser(text)))


def _decoded(text: str) -> bytes | None:
    """The bytes of base64 text that begin as an image does; None for any other text, such as a path."""
    if not _BASE64.fullmatch(text):
        return None
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return content if content.startswith(_SIGNATURES) else None


def _listed(value: Any) -> list[Any]:
    """The images of a cell: a list of them, also as JSON text, or a single one."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
    return list(value) if isinstance(value, list | tuple) else [value]


def _is_pillow(value: Any) -> bool:
    pillow = sys.modules.get("PIL.Image")  # whoever made an image has imported it
    return pillow is not None and isinstance(value, pillow.Image)


def _encoded(image: Any) -> bytes:
    file = io.BytesIO()
    (image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else image.convert("RGB")).save(file, "PNG")
    return file.getvalue()


def _asked(turn: Message) -> Iterator[str]:
    """The texts of a turn in which `<image>` is a place."""
    if turn["role"] in ("user", "system"):
        content = turn["content"]
        yield from [content] if isinstance(content, str) else (p["text"] for p in content if p["type"] == "text")


def _at_marks(turn: Message) -> Message:
    """The turn with an empty image part for each `<image>`."""
    if not any(PLACEHOLDER in text for text in _asked(turn)):
        return turn
    content = turn["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    cut = (_cut(part["text"]) if part["type"] == "text" else [part] for part in parts)
    return {**turn, "content": [part for pieces in cut for part in pieces]}


def _cut(text: str) -> list[dict[str, Any]]:
    pieces = text.split(PLACEHOLDER)
    parts: list[dict[str, Any]] = []
    for number, piece in enumerate(pieces):
        if number:
            parts.append({"type": "image", "image": None})
            piece = piece.removeprefix("\n")
        if number + 1 < len(pieces):
            piece = piece.removesuffix("\n")
        parts += [{"type": "text", "text": piece}] if piece else []
    return parts


def _in_front(turns: Sequence[Message], count: int, column: str, place: str) -> list[Message]:
    """The turns with so many empty image parts before the first text of the user."""
    first = next((number for number, turn in enumerate(turns) if turn["role"] == "user"), None)
    if first is None:
        raise DataError(
            f"{place} has {column} and no turn of the user to put them in",
            exists=[turn["role"] for turn in turns],
            hint=_HINT,
        )
    content = turns[first]["content"]
    texts = ([{"type": "text", "text": content}] if content else []) if isinstance(content, str) else content
    empty = [{"type": "image", "image": None} for _ in range(count)]
    return [*turns[:first], {**turns[first], "content": [*empty, *texts]}, *turns[first + 1 :]]


def _filled(content: Content, pool: Iterator[str], place: str, folder: Path | None) -> Content:
    """The content with a reference in each image part."""
    if isinstance(content, str):
        return content
    return [
        part
        if part["type"] == "text"
        else {
            "type": "image",
            "image": next(pool)
            if part["image"] is None
            else _reference(part["image"], f"an image in the messages at {place}", folder),
        }
        for part in content
    ]


def _differ(places: int, given: Sequence[str] | None, column: str, place: str, own: int) -> DataError:
    if given is None:
        return DataError(
            f"{place} has {_counted(places, 'place')} for an image in its messages, and no column of images",
            hint="say which column has them with --columns images=COLUMN, or put each image into its part",
        )
    what = _counted(places, "place") if places or not own else f"{_counted(own, 'image')} in its messages and no place"
    return DataError(
        f"{place} has {what} for the {_counted(len(given), 'image')} of the column {column}",
        hint=f"one {PLACEHOLDER} (or image part) for each image, or none at all to have them before the text; {_HINT}",
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
