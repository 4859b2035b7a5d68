"""Images of prompts: from a reference to its bytes, a digest of its content, its size and its pixels.

A reference is the path of a file, or a `data:image/...;base64,...` URI. Records hold references, and nothing decoded; what is
in a file counts, not its name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from rlllm.core.errors import DataError, describe

if TYPE_CHECKING:
    from PIL.Image import Image

_SHOWN = 80
_ORIENTATION = 0x0112
"""EXIF's tag for how the camera was held; from 5 on, width and height change places."""


def is_data_uri(reference: str) -> bool:
    return reference[:5].lower() == "data:"


def image_bytes(reference: str) -> bytes:
    """The encoded image (the bytes of a PNG, JPEG and so on).

    Raises:
        DataError: no such file, one that cannot be read, or a URI without base64 data.
    """
    if not is_data_uri(reference):
        try:
            return Path(reference).read_bytes()
        except FileNotFoundError as error:
            raise DataError("there is no such image file", given=reference) from error
        except (OSError, ValueError) as error:  # ValueError: a null byte in the name
            raise DataError(
                f"the image file cannot be read: {describe(error)}", given=shown_reference(reference)
            ) from error
    head, comma, data = reference.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise DataError(
            "an image URI without base64 data",
            given=shown_reference(reference),
            hint="data:image/png;base64,... is read",
        )
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"the base64 text of an image is broken: {error}", given=shown_reference(reference)) from error


def image_digest(reference: str) -> str:
    """16 hex digits of SHA-256 over the encoded image; a file and a URI of the same bytes have the same. Raises as
    `image_bytes`."""
    if is_data_uri(reference):
        return _digest(image_bytes(reference))
    return _file_digest(reference, *_stamp(reference))


def image_size(reference: str) -> tuple[int, int]:
    """Width and height in pixels, as `open_image` gives them. A file is decoded once, and again when it has changed.

    Raises:
        DataError: as `open_image`; the whole image is decoded, so that one with a size can be opened.
    """
    return _decoded_size(reference) if is_data_uri(reference) else _file_size(reference, *_stamp(reference))


def open_image(reference: str) -> Image:
    """The image in RGB, upright where EXIF says how the camera was held; the first frame of several.

    Raises:
        DataError: no such file, not an image, or one that is cut short.
    """
    from PIL import ImageOps

    with _opened(reference) as image:
        try:
            upright = ImageOps.exif_transpose(image)
            return upright.convert("RGB")
        except Exception as error:  # each format's decoder raises what it likes on damage
            raise _broken(reference, error) from error


def thumbnail(reference: str, most: int = 96) -> str:
    """The image as the data URI of a PNG, at most so many pixels wide and high; a smaller one keeps its size. Raises as
    `open_image`."""
    image = open_image(reference)
    image.thumbnail((most, most))
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def data_uri(content: bytes) -> str:
    """Encoded bytes as a data URI with their media type. Raises DataError where they are no image."""
    unnamed = f"data:application/octet-stream;base64,{base64.b64encode(content).decode()}"
    from PIL import Image

    with _opened(unnamed) as image:
        kind = Image.MIME.get(image.format or "", "image/png")
    return f"data:{kind};base64,{unnamed.partition(',')[2]}"


def shown_reference(reference: str) -> str:
    """A reference for a reader: a path as it is, a URI by its beginning and its length."""
    if not is_data_uri(reference):
        return reference
    return reference if len(reference) <= _SHOWN else f"{reference[: _SHOWN // 2]}... ({len(reference):,} characters)"


def _opened(reference: str) -> Image:
    """The image with its header read; pixels are decoded when they are asked for."""
    from PIL import Image

    content = image_bytes(reference)
    if not content:
        raise DataError("the image is empty: it has no bytes", given=shown_reference(reference))
    try:
        return Image.open(io.BytesIO(content))
    except Exception as error:
        raise _broken(reference, error) from error


def _broken(reference: str, error: Exception) -> DataError:
    reason = "its bytes are of no known format" if type(error).__name__ == "UnidentifiedImageError" else describe(error)
    return DataError(f"not an image that can be decoded: {reason[:160]}", given=shown_reference(reference))


def _decoded_size(reference: str) -> tuple[int, int]:
    with _opened(reference) as image:
        width, height = image.size
        try:
            # at an eighth of its size a JPEG is read whole and decoded in less time
            image.draft("RGB", (-(-width // 8), -(-height // 8)))
            image.load()
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
        except Exception as error:
            raise _broken(reference, error) from error
    return (height, width) if turned else (width, height)


@lru_cache(maxsize=1 << 16)
def _file_size(path: str, modified: int, size: int) -> tuple[int, int]:
    return _decoded_size(path)


@lru_cache(maxsize=1 << 16)
def _file_digest(path: str, modified: int, size: int) -> str:
    return _digest(image_bytes(path))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _stamp(path: str) -> tuple[int, int]:
    """Time of the last change (nanoseconds) and size of a file, by which a replaced one is told apart."""
    try:
        stat = Path(path).stat()
    except FileNotFoundError as error:
        raise DataError("there is no such image file", given=path) from error
    except (OSError, ValueError) as error:
        raise DataError(f"the image file cannot be read: {describe(error)}", given=shown_reference(path)) from error
    return stat.st_mtime_ns, stat.st_size
