"""Check and load the folder of a model that is used as a reward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlllm.core.errors import ModelError, describe
from rlllm.policies.model_sources import is_adapter, resolve_model


def is_local(path: str) -> bool:
    """Whether a reward's `path` is a folder on this machine, of a whole model or of an adapter."""
    return Path(path).is_dir() or is_adapter(path)


def declared(folder: str | Path, role: str) -> tuple[list[str], int]:
    """The architectures that a folder's config.json names, and its number of labels; of an adapter those of the adapted model.

    Raises:
        ModelError: the file cannot be read; `role` says whose it is, as in "reward model".
    """
    if is_adapter(str(folder)):
        source = resolve_model(str(folder))
        return list(source.settings().get("architectures") or []), source.head_labels or 2
    try:
        settings = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        return list(settings.get("architectures") or []), len(settings.get("id2label") or (None, None))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"the {role}'s config.json cannot be read: {describe(error)}", given=folder) from error


def load(kind: str, path: str, role: str, dtype: str = "float32") -> tuple[Any, Any, set[str]]:
    """Tokenizer, model in evaluation mode on an accelerator if there is one, and the weights its files lack.

    Args:
        kind: name of transformers' auto class.
        path: a folder, an adapter with or without its base, or a Hub id; safetensors only.
        role: what the model is to the user, as in "reward model".
        dtype: "auto" keeps that of the files.

    Raises:
        ModelError: it does not load.
    """
    import transformers

    loader = getattr(transformers, kind)
    if is_adapter(path):
        from rlllm.policies.loading import load_adapted, load_tokenizer

        source = resolve_model(path)
        model, missing = load_adapted(loader, source, dtype)
        return load_tokenizer(source), _placed(model), missing
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        settings = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
        model, report = loader.from_pretrained(path, trust_remote_code=False, **settings)
    except Exception as error:
        raise ModelError(f"the {role} does not load: {describe(error)[:400]}", given=path) from error
    return tokenizer, _placed(model), set(report["missing_keys"])


def _placed(model: Any) -> Any:
    import torch

    from rlllm.policies.rope import by_row

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    return by_row(model).to(device).eval()
