"""Check and load the folder of a model that is used as a reward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlllm.core.errors import ModelError, describe


def declared(folder: Path, role: str) -> tuple[list[str], int]:
    """The architectures that a folder's config.json names, and its number of labels.

    Raises:
        ModelError: the file cannot be read; `role` says whose it is, as in "reward model".
    """
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return list(settings.get("architectures") or []), len(settings.get("id2label") or (None, None))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"the {role}'s config.json cannot be read: {describe(error)}", given=folder) from error


def load(kind: str, path: str, role: str, dtype: str = "float32") -> tuple[Any, Any, set[str]]:
    """Tokenizer, model in evaluation mode on an accelerator if there is one, and the weights its files lack.

    Args:
        kind: name of transformers' auto class.
        path: a folder or a Hub id; safetensors only.
        role: what the model is to the user, as in "reward model".
        dtype: "auto" keeps that of the files.

    Raises:
        ModelError: it does not load.
    """
    import torch
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        model, report = getattr(transformers, kind).from_pretrained(
            path, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:
        raise ModelError(f"the {role} does not load: {describe(error)[:400]}", given=path) from error
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    return tokenizer, model.to(device).eval(), set(report["missing_keys"])
