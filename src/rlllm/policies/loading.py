"""Loading policies, tokenizers and classifiers: safetensors only, no remote code, float32 on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlllm.core.errors import ModelError, describe
from rlllm.core.runs import read_json
from rlllm.policies.model_sources import ModelSource


def load_tokenizer(source: ModelSource) -> Any:
    """The tokenizer, with a padding token that is set (to the end-of-sequence token where the model has none)."""
    from transformers import AutoTokenizer

    tokenizer = _load(AutoTokenizer, source)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_policy(source: ModelSource, *, bf16: bool = False) -> Any:
    """A causal language model on the CPU; the trainer or evaluator moves it.

    Raises:
        ModelError: it does not load, or is a reward model: with tied embeddings that would load without a word, and
            write noise.
    """
    import torch
    from transformers import AutoModelForCausalLM

    _refuse_scorers(source)
    return _load_model(AutoModelForCausalLM, source, dtype=torch.bfloat16 if bf16 else torch.float32)


def _refuse_scorers(source: ModelSource) -> None:
    names = _declared(source).get("architectures") or []
    if any(name.endswith("Classification") for name in names):
        raise ModelError(
            "a reward model scores texts and writes none",
            given=f"{source.name} ({', '.join(names)})",
            hint="name a language model; a reward model is used by --reward RUN",
        )


def context_length(model: Any) -> int | None:
    """Tokens of the longest sequence a loaded model takes, prompt and completion together; None where it names no limit."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or None


def load_classifier(source: ModelSource, tokenizer: Any, *, bf16: bool = False) -> Any:
    """A sequence classifier with one score; its head is new (and seeded by the global RNG) if the model had none."""
    from transformers import AutoModelForSequenceClassification

    return _load_with_head(AutoModelForSequenceClassification, source, tokenizer, bf16, num_labels=1)


def load_step_classifier(source: ModelSource, tokenizer: Any, *, bf16: bool = False) -> Any:
    """A token classifier with the labels wrong (0) and right (1); its head is new if the model had none."""
    from transformers import AutoModelForTokenClassification

    labels = {"id2label": {0: "wrong", 1: "right"}, "label2id": {"wrong": 0, "right": 1}}
    return _load_with_head(AutoModelForTokenClassification, source, tokenizer, bf16, **labels)


def _load_with_head(loader: Any, source: ModelSource, tokenizer: Any, bf16: bool, **labels: Any) -> Any:
    import torch
    from transformers.utils import logging

    _refuse_other_heads(source, len(labels.get("id2label", (0,))))
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # "score.weight newly initialised" is what is wanted here
    try:
        dtype = torch.bfloat16 if bf16 else torch.float32
        model = _load_model(loader, source, new_head=True, dtype=dtype, **labels)
    finally:
        logging.set_verbosity(verbosity)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model


def _refuse_other_heads(source: ModelSource, outputs: int) -> None:
    """Raise ModelError for a classifier whose head gives another number of outputs; a language model has no head yet."""
    settings = _declared(source)
    names = [name for name in settings.get("architectures") or [] if name.endswith("Classification")]
    labels = len(settings.get("id2label") or (None, None))
    if names and labels != outputs:
        raise ModelError(
            f"a classifier with {labels} label{'s' * (labels != 1)} cannot be trained to give {outputs}",
            given=f"{source.name} ({', '.join(names)})",
            hint="start from a language model, or from a classifier of the same kind",
        )


def _declared(source: ModelSource) -> dict[str, Any]:
    """What config.json says of a model on this machine; nothing where there is none."""
    path = source.folder and source.folder / "config.json"
    return read_json(path) if path and path.is_file() else {}


def save_model(model: Any, tokenizer: Any, folder: Path) -> Any:
    """Write a folder every other verb can name as `--model`; returns the model, LoRA adapters merged into their base.

    The adapter as it was trained is kept beside it, in `adapter/`.
    """
    if hasattr(model, "merge_and_unload"):
        adapter = folder.with_name("adapter")
        model.save_pretrained(adapter, selected_adapters=["default"])
        (adapter / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
        model = model.merge_and_unload()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def _load_model(loader: Any, source: ModelSource, *, new_head: bool = False, **settings: Any) -> Any:
    """Transformers fills weights a folder lacks with random numbers; here only a new head may be random."""
    model, report = _load(loader, source, use_safetensors=True, output_loading_info=True, **settings)
    backbone = f"{model.base_model_prefix}."
    missing = sorted(key for key in report["missing_keys"] if not new_head or key.startswith(backbone))
    if missing:
        raise ModelError(
            f"the weights lack {len(missing)} tensors of this model, {missing[0]} among them",
            given=f"{source.name} ({source.path})",
            hint="config.json and the weights are of two different models, or the folder is incomplete",
        )
    return model


def _load(loader: Any, source: ModelSource, **settings: Any) -> Any:
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    try:
        return loader.from_pretrained(source.path, **settings)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        hint = "give the folder of a model on this machine, or nano" if source.kind == "hub" else None
        raise ModelError(
            f"the model does not load: {describe(error)[:400]}", given=f"{source.name} ({source.path})", hint=hint
        ) from error
