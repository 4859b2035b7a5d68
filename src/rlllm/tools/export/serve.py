"""Commands that serve a model with other programs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from rlllm.policies.model_sources import ADAPTER, ModelSource

_VLLM_RANK = 16
"""Largest rank of an adapter that vLLM takes unless it is told another."""


def serve_commands(model: str, source: ModelSource, *, merged: bool = False) -> Iterator[str]:
    """One command a program: vLLM, and transformers. Nothing for a model that scores.

    Args:
        model: folder or repository, as it is to be typed.
        source: what is there.
        merged: the model is whole where `source` is an adapter.
    """
    names = source.settings().get("architectures") or []
    if any(name.endswith("Classification") for name in names):
        return
    place = shlex.quote(model)
    if source.base is None or merged:
        yield f"vllm serve {place}"
    else:
        rank = _rank(Path(source.path))
        more = f" --max-lora-rank {rank}" if rank > _VLLM_RANK else ""
        base = shlex.quote(source.base.reference)
        yield f"vllm serve {base} --enable-lora --lora-modules {shlex.quote(source.name)}={place}{more}"
    yield f"transformers serve {place}"


def _rank(folder: Path) -> int:
    return int(json.loads((folder / ADAPTER).read_text(encoding="utf-8")).get("r", 0))
