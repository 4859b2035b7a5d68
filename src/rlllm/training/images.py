"""Rows with images against the model and the method, before anything is loaded; and what they add to a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlllm.core.errors import ConfigError, ModelError
from rlllm.core.images import image_size
from rlllm.core.records import images_of, prompt_text
from rlllm.core.runs import read_json
from rlllm.policies.chat import template_arguments
from rlllm.policies.model_sources import ModelSource

if TYPE_CHECKING:
    from rlllm.algorithms.signals.base import Signal

_MEASURED = 256
"""Rows whose images are measured."""
_LONGEST_EDGE = 20_000
"""A `longest_edge` above it is a number of pixels, as in Qwen2-VL's settings, and not a length."""
_WITHOUT = "--columns images=none learns from the text alone"


def check_images(source: ModelSource, method: str, reads_images: bool, records: Sequence[Any]) -> None:
    """Refuse rows with images that the method or the model cannot read; of a Hub id the model tells once it is loaded.

    Args:
        source: the model.
        method: its name, for the message.
        reads_images: whether the method's trainer learns from images.
        records: training and held-out rows.

    Raises:
        ConfigError, ModelError: with the first such row.
    """
    rows = [row for row, record in enumerate(records, 1) if images_of(record.prompt)]
    if not rows:
        return
    given = f"{len(rows):,} of {len(records):,} rows have images; the first: {prompt_text(records[rows[0] - 1].prompt)[:80]!r}"
    if not reads_images:
        raise ConfigError(
            f"method {method} learns from text only: TRL's trainer behind it reads no images",
            given=given,
            exists=["sft", "dpo and its losses", "kto", "grpo and what samples as it does"],
            hint=_WITHOUT,
        )
    if source.kind != "hub" and not source.reads_images:
        raise blind(source, given)
    beside = next((row for row in rows if template_arguments(records[row - 1].meta)), None)
    if beside is not None:
        raise ConfigError(
            f"row {beside} has images, and gives the chat template tools or chat_template_kwargs, which TRL's vision paths "
            "do not pass on",
            given=given,
            hint="columns.tools=none, columns.chat_template_kwargs=none; or " + _WITHOUT,
        )


def blind(source: ModelSource, given: str) -> ModelError:
    """The error for a model that reads text only."""
    return ModelError(
        f"the model {source.name} has no vision: its config.json has no vision_config, or its folder no processor",
        given=given,
        hint=f"name a vision-language model, such as nano-vision; {_WITHOUT}",
    )


def pixel_bytes(source: ModelSource, records: Sequence[Any]) -> int:
    """Bytes of the pixels that a model takes of one row's images: three channels in 32 bits, the mean of the first rows.

    The processor's settings say how large an image becomes; where they name a limit alone, its own size counts up to it.
    """
    sizes = [image_size(image) for record in records[:_MEASURED] for image in images_of(record.prompt)]
    if not sizes or source.folder is None:
        return 0
    settings = _processor_settings(Path(source.tokenizer_path))
    area = sum(_area(settings, *size) for size in sizes) / min(len(records), _MEASURED)
    return int(3 * 4 * area)


def _processor_settings(folder: Path) -> Mapping[str, Any]:
    """What the image processor of a folder is set to."""
    path = folder / "processor_config.json"
    settings = read_json(path).get("image_processor") if path.is_file() else None
    path = folder / "preprocessor_config.json"
    return settings or (read_json(path) if path.is_file() else {})


def _area(settings: Mapping[str, Any], width: int, height: int) -> float:
    """Pixels of an image as the processor hands it on."""
    size = settings.get("crop_size") if settings.get("do_center_crop") else None
    size = size or settings.get("size") or {}
    if isinstance(size, int):
        return size * size
    if {"height", "width"} <= size.keys():
        return float(size["height"] * size["width"])
    most = settings.get("max_pixels") or size.get("longest_edge", 0)
    own = width * height
    if not most:
        return float(own)
    return float(min(own, most if most > _LONGEST_EDGE else most**2))


def check_slots(slots: Mapping[str, Any], signals: Mapping[str, Signal]) -> None:
    """Refuse components that complete or read text alone, where prompts have images.

    Args:
        slots: slot -> its component's specification.
        signals: name -> signal that a component needs.

    Raises:
        ConfigError: with the component and the reason.
    """
    reasons = {
        "erase": "it samples prompts in segments, by an engine that reads text",
        "dialogue": "its roles read what others wrote, and not the images",
        "off_policy": "the groups of the data are completions of text",
    }
    for slot, reason in reasons.items():
        if slot in slots:
            raise ConfigError(
                f"{slot}={slots[slot].name} does not go with images: {reason}", hint=f"leave it out; {_WITHOUT}"
            )
    blind_signals = [
        name for name, signal in signals.items() if signal.cost in ("pass", "critic") or signal.compares_groups
    ]
    if blind_signals:
        raise ConfigError(
            f"a component needs {', '.join(blind_signals)}, whose passes through a model do not see images",
            given=f"advantage={slots['advantage'].name}",
            hint=f"an advantage such as group, rloo or remax; {_WITHOUT}",
        )
