"""Resolve model references. Imports no torch, so that a wrong reference fails at once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlllm.core.errors import ModelError, closest
from rlllm.core.runs import ENSEMBLE, file_hash

NANO = Path(__file__).resolve().parents[1] / "assets" / "nano"
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_LARGEST_HEADER = 100_000_000
_SIZE_IN_NAME = re.compile(
    r"(?<![A-Za-z0-9.])(?:(?P<experts>\d+)x)?(?P<number>\d+(?:\.\d+)?)(?P<unit>[MBmb])(?![A-Za-z0-9])"
)
_UNITS = {"m": 10**6, "b": 10**9}


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from.

    `path` is what `from_pretrained` takes: a folder, or a Hub id when `kind` is "hub".
    """

    path: str
    kind: str
    name: str

    @property
    def folder(self) -> Path | None:
        return None if self.kind == "hub" else Path(self.path)

    def fingerprint(self) -> str | None:
        """Hash of the weights of a local model; None for a Hub id."""
        if self.folder is None:
            return None
        return "-".join(file_hash(path)[:16] for path in sorted(self.folder.glob("*.safetensors"))) or None

    def parameter_count(self) -> int | None:
        """Parameters of the model, read from the headers of its weights; of a Hub id, what its name says (`Qwen2.5-0.5B`).

        None where neither tells.
        """
        if self.folder is None:
            return _count_in_name(self.name)
        shapes = weight_shapes(self.folder)
        return sum(math.prod(shape) for shape in shapes.values()) if shapes else None

    def context_length(self) -> int | None:
        """Tokens of the longest sequence that the model takes, from config.json; None for a Hub id, or where it is not said."""
        if self.folder is None:
            return None
        config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        text: Mapping[str, Any] = config.get("text_config") or config
        return text.get("max_position_embeddings") or None


def resolve_model(reference: str, *, ensembles: bool = False) -> ModelSource:
    """Find the model a user named.

    Args:
        reference: `nano`, a folder in Hugging Face format, a run directory (its `model/` is used) or a Hub id.
        ensembles: accept an ensemble of reward models, which has members instead of weights.

    Raises:
        ModelError: nothing loadable is there.
    """
    if reference == "nano":
        return ModelSource(str(_checked(NANO, reference)), "nano", "nano")
    path = Path(reference).expanduser()
    ensemble = next((folder for folder in (path / "model", path) if (folder / ENSEMBLE).is_file()), None)
    if ensemble is not None:
        return _ensemble(ensemble, path.name, reference, ensembles)
    if (path / "status.json").exists():
        if not (path / "model").is_dir():
            raise ModelError(
                "that run has no model: it did not finish", given=reference, hint=f"rlllm runs show {path}"
            )
        return ModelSource(str(_checked(path / "model", reference)), "run", path.name)
    if path.exists():
        return ModelSource(str(_checked(path, reference)), "folder", path.name)
    if _HUB_ID.match(reference) and not reference.startswith((".", "/", "runs/")):
        return ModelSource(reference, "hub", reference.rsplit("/", 1)[-1])
    near = closest(path.name, ["nano", *(other.name for other in path.parent.glob("*") if other.is_dir())])
    raise ModelError(
        "no such model: it is neither a folder nor a run, and not of the form org/name",
        given=reference,
        hint=f"did you mean {near}?" if near else "the embedded model is called nano",
    )


def weight_shapes(folder: Path) -> dict[str, list[int]] | None:
    """Name and shape of every weight, from the headers of the *.safetensors files; None if one cannot be read."""
    shapes: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        header = _header(path)
        if header is None:
            return None
        shapes |= {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    return shapes or None


def _header(path: Path) -> dict[str, Any] | None:
    """The format: eight bytes with the header's length, little endian, then the header in JSON."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= _LARGEST_HEADER:
                return None
            return json.loads(file.read(length))
    except (OSError, ValueError):
        return None


def _count_in_name(name: str) -> int | None:
    """The parameters that a model's name states: `SmolLM2-135M`, `Mixtral-8x7B`; the first number with a unit counts."""
    match = _SIZE_IN_NAME.search(name)
    if match is None:
        return None
    return int(float(match["number"]) * _UNITS[match["unit"].lower()] * int(match["experts"] or 1))


def _ensemble(folder: Path, name: str, reference: str, wanted: bool) -> ModelSource:
    if not wanted:
        raise ModelError(
            "an ensemble of reward models only scores: it has no weights of its own to train or to sample from",
            given=reference,
            hint="name one of its members (RUN/members/1), or use it as the reward named model",
        )
    return ModelSource(str(folder), "ensemble", name)


def _checked(folder: Path, reference: str) -> Path:
    hint = "give a folder made by save_pretrained: config.json, tokenizer files and *.safetensors"
    config = folder / "config.json"
    if not folder.is_dir() or not config.is_file():
        raise ModelError("not a model folder: it has no config.json", given=reference, hint=hint)
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the model folder cannot be read: config.json: {error}", given=reference, hint=hint
        ) from error
    if not isinstance(settings, dict) or "model_type" not in settings:
        raise ModelError("the model folder's config.json names no model_type", given=reference, hint=hint)
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        files = sorted(path.name for path in folder.iterdir())
        raise ModelError("the model folder has no *.safetensors weights", given=reference, exists=files, hint=hint)
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
        raise ModelError("the model folder has no tokenizer", given=reference, hint=hint)
    return folder
