"""Loading policies, tokenizers and classifiers: safetensors only, float32 on a CPU, and no code of a repository that was not
named in `model.trust_remote_code`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlllm.core.errors import ModelError, describe
from rlllm.core.hardware import Hardware
from rlllm.policies.adapters import (
    FIRST,
    head_of,
    loaded_again,
    loader_of,
    merged,
    put_on,
    refuse_difference,
    runs_own_code,
    sample_outputs,
    save_adapter,
    with_adapter,
)
from rlllm.policies.model_sources import ModelSource, code_refused, refuse_scorers, resolve_model, weight_shapes
from rlllm.policies.role_adapters import StoredRoles
from rlllm.policies.vision import processor_of, with_processor
from rlllm.policies.vocabulary import check_loaded


def load_tokenizer(source: ModelSource) -> Any:
    """The tokenizer, with a padding token that is set (to the end-of-sequence token where the model has none).

    Raises:
        ModelError: it does not load, or has no end-of-sequence token.
    """
    from transformers import AutoTokenizer

    if _reads_images(source):
        from transformers import AutoProcessor

        processor = _load(AutoProcessor, source, path=source.tokenizer_path)
        tokenizer = with_processor(processor.tokenizer, processor)
        tokenizer.chat_template = processor.chat_template or tokenizer.chat_template
    else:
        tokenizer = _load(AutoTokenizer, source, path=source.tokenizer_path)
    if tokenizer.eos_token is None:
        special = [str(token) for token in tokenizer.added_tokens_decoder.values()]
        raise ModelError(
            "the tokenizer has no end-of-sequence token: nothing would end a completion",
            given=f"{source.name} ({source.tokenizer_path})",
            exists=special,
            hint=f'name one in its tokenizer_config.json: "eos_token": "{special[-1] if special else "</s>"}"',
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_policy(source: ModelSource, *, bf16: bool = False) -> Any:
    """A causal language model on the CPU, with its vision tower where it reads images; the trainer or evaluator moves it.

    Raises:
        ModelError: it does not load, has no vector for a token of its tokenizer, or is no model that writes: with tied
            embeddings a reward model would load without a word, and write noise.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    refuse_scorers(source)
    loader = AutoModelForImageTextToText if _reads_images(source) else AutoModelForCausalLM
    model = _load_model(loader, source, **_loading_settings(source, bf16))
    if source.kind == "hub" or not Path(source.tokenizer_path, "tokenizer.json").is_file():
        check_loaded(model, load_tokenizer(source), source.name)  # of other folders `resolve_model` has read the files
    return model


def _reads_images(source: ModelSource) -> bool:
    """Whether a model is a vision-language model; of a Hub id its configuration tells, which is fetched."""
    if source.kind != "hub":
        return source.reads_images
    from transformers import AutoConfig

    return hasattr(_load(AutoConfig, source), "vision_config")


def load_roles(stored: StoredRoles, *, bf16: bool = False) -> Any:
    """A base with the adapter of every role on it, not merged, the first role's active; on the CPU.

    Raises:
        ModelError: the base does not load, or an adapter does not fit it.
    """
    model = load_policy(stored.base, bf16=bf16)
    for number, (role, folder) in enumerate(stored.folders.items()):
        model = put_on(model, str(folder), role if number else FIRST)
    return model


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


def _loading_settings(source: ModelSource, bf16: bool) -> dict[str, Any]:
    """What `from_pretrained` takes for the numbers and the attention of a model.

    Args:
        bf16: whether weights of which nothing is said are bfloat16, and not float32.
    """
    import torch

    loading = source.loading
    default = "bfloat16" if bf16 else "float32"
    dtype = "auto" if loading.dtype == "auto" else getattr(torch, loading.dtype or default)
    settings: dict[str, Any] = {"dtype": dtype}
    if loading.attention is not None:
        settings["attn_implementation"] = loading.attention
    if loading.quantisation is not None:
        settings |= {
            "quantization_config": _quantisation(loading.quantisation, torch.float32 if dtype == "auto" else dtype),
            "device_map": {"": torch.cuda.current_device() if torch.cuda.is_available() else "cpu"},
        }
    return settings


def _quantisation(bits: str, dtype: Any) -> Any:
    """QLoRA's settings: NF4 with quantised constants; products are computed in `dtype`. Heads keep their numbers."""
    from transformers import BitsAndBytesConfig

    whole = ["lm_head", "score", "classifier"]
    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=whole)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=whole,
    )


def _keep_gradients(model: Any) -> None:
    """Have 4-bit layers on a CPU stay as they are: at the first pass without gradients bitsandbytes (0.50) would pack them for
    a product that has no derivative, and what is trained later would get no gradient through them."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def placed(model: Any, hardware: Hardware) -> Any:
    """A loaded model on the device of the run; a quantised one was put there as it was loaded, and stays."""
    return model if getattr(model, "is_quantized", False) or hardware.device == "cpu" else model.to(hardware.device)


def _load_with_head(loader: Any, source: ModelSource, tokenizer: Any, bf16: bool, **labels: Any) -> Any:
    from transformers.utils import logging

    _refuse_other_heads(source, len(labels.get("id2label", (0,))))
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # "score.weight newly initialised" is what is wanted here
    try:
        model = _load_model(loader, source, new_head=True, **_loading_settings(source, bf16), **labels)
    finally:
        logging.set_verbosity(verbosity)
    check_loaded(model, tokenizer, source.name)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model


def _refuse_other_heads(source: ModelSource, outputs: int) -> None:
    """Raise ModelError for a classifier whose head gives another number of outputs; a language model has no head yet."""
    settings = source.settings()
    names = [name for name in settings.get("architectures") or [] if name.endswith("Classification")]
    labels = source.head_labels or len(settings.get("id2label") or (None, None))
    if names and labels != outputs:
        raise ModelError(
            f"a classifier with {labels} label{'s' * (labels != 1)} cannot be trained to give {outputs}",
            given=f"{source.name} ({', '.join(names)})",
            hint="start from a language model, or from a classifier of the same kind",
        )


def save_model(model: Any, tokenizer: Any, folder: Path, *, merge: bool = False, stored: str | None = None) -> Any:
    """Write a folder every other verb can name as `--model`; returns the model that was trained, whole where it can be.

    Adapters are written as they are, with the tokenizer, and name their base. With `merge` the folder holds the whole model
    instead, and `adapter/` beside it what was trained. What was written is loaded again and compared. The weights of a
    quantised base are not those that were read, so that its adapter stays on it in memory, and is not merged.

    Args:
        merge: write adapters merged into their base.
        stored: number format of the base's files, such as `bfloat16`, which a merged model takes; None keeps that in memory.

    Raises:
        ModelError: merged or saved, the model computes something else than before; the folder then has another name.
    """
    adapted = hasattr(model, "merge_and_unload")
    if adapted:
        model.set_adapter(FIRST)  # others are a critic's, a reward model's or another role's
    expected = sample_outputs(model)
    try:
        if not adapted:
            _write(model, tokenizer, folder)
            _refuse_other_copy(loaded_again(model, folder), expected, model, folder)
            return model
        save_adapter(model, folder.with_name("adapter") if merge else folder)
        quantised = getattr(model.get_base_model(), "is_quantized", False)
        if not merge:
            _write_settings(model.get_base_model(), tokenizer, folder)
            _refuse_other_copy(_adapted_again(model, folder), expected, model, folder)
        if quantised:
            return model
        model = merged(model)
        refuse_difference("merging the adapter", expected, sample_outputs(model), model, folder)
        return _write_merged(model, tokenizer, folder, expected, stored) if merge else model
    except ModelError:
        if folder.is_dir():  # what does not hold must not be found under the name of the result
            shutil.rmtree(folder.with_name("model-refused"), ignore_errors=True)
            folder.rename(folder.with_name("model-refused"))
        raise


def write_whole(model: Any, tokenizer: Any, folder: Path, dtype: str | None) -> None:
    """Write a whole model in a number format, None for its own; what was written is loaded again and compared.

    Raises:
        ModelError: it computes something else than before.
    """
    _write_merged(model, tokenizer, folder, sample_outputs(model), dtype)


def _write(model: Any, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    (processor_of(tokenizer) or tokenizer).save_pretrained(folder)


def _write_settings(base: Any, tokenizer: Any, folder: Path) -> None:
    """What an adapter's folder needs beside it: tokenizer or processor, and how to sample."""
    (processor_of(tokenizer) or tokenizer).save_pretrained(folder)
    if getattr(base, "generation_config", None) is not None:
        base.generation_config.save_pretrained(folder)


def _write_merged(model: Any, tokenizer: Any, folder: Path, expected: Any, stored: str | None) -> Any:
    """Write a merged model in the format of its base's files; returns it as it was written, in the format of `model`."""
    import torch

    dtype = model.dtype
    _write(model.to(getattr(torch, stored) if stored else dtype), tokenizer, folder)
    again = loaded_again(model, folder)
    _refuse_other_copy(again, expected, model, folder)
    return again.to(dtype)


def _refuse_other_copy(again: Any, expected: Any, model: Any, folder: Path) -> None:
    refuse_difference("saving the model", expected, sample_outputs(again), model, folder)


def _adapted_again(model: Any, folder: Path) -> Any:
    """The base of an adapted model as its adapter names it, loaded again like this one, with the adapter of a folder."""
    base = model.get_base_model()
    source = resolve_model(str(folder)).base
    assert source is not None, "an adapter has a base"
    source = replace(source, trusted=runs_own_code(base))
    quantised = getattr(base.config, "quantization_config", None)
    settings: dict[str, Any] = {"quantization_config": quantised, "device_map": {"": base.device}} if quantised else {}
    labels = {name: getattr(base.config, name) for name in ("id2label", "label2id")} if head_of(base) else {}
    again = _load_model(loader_of(base), source, new_head=bool(labels), dtype=base.dtype, **labels, **settings)
    again = put_on(again, str(folder))
    return again if quantised else again.to(base.device)


def _load_model(loader: Any, source: ModelSource, *, new_head: bool = False, **settings: Any) -> Any:
    """Transformers fills weights a folder lacks with random numbers; here only a new head may be random.

    An adapter is loaded onto its base and merged into it, unless the base is quantised: its weights would be rounded once more.
    """
    from transformers import GenerationConfig

    if source.base is not None:
        base = _load_model(loader, source.base, new_head=new_head, **settings)
        whole = put_on(base, source.path) if source.loading.quantisation else with_adapter(base, source.path)
        if Path(source.path, "generation_config.json").is_file():
            whole.generation_config = GenerationConfig.from_pretrained(source.path)
        return whole
    from rlllm.policies.rope import by_row

    model, report = _load(loader, source, use_safetensors=True, output_loading_info=True, **settings)
    by_row(model)
    _keep_gradients(model)
    backbone = f"{model.base_model_prefix}."
    missing = sorted(key for key in report["missing_keys"] if not new_head or key.startswith(backbone))
    if missing:
        raise ModelError(
            f"the weights lack {len(missing)} tensors of this model, {missing[0]} among them",
            given=f"{source.name} ({source.path})",
            hint="config.json and the weights are of two different models, or the folder is incomplete",
        )
    return model


def load_adapted(loader: Any, source: ModelSource, dtype: Any, labels: int | None = None) -> tuple[Any, set[str]]:
    """A base with an adapter merged into it, on the CPU, and the weights that neither of them has; `source` is an adapter.

    Args:
        labels: outputs of the head, where the adapter brings none: that of another adapter, which lies on this one, does.
    """
    from rlllm.policies.rope import by_row

    assert source.base is not None
    labels = source.head_labels or labels
    if source.base.base is not None:
        model, missing = load_adapted(loader, source.base, dtype, labels)
    else:
        settings: dict[str, Any] = {"num_labels": labels} if labels else {}
        model, report = _load(
            loader, source.base, use_safetensors=True, output_loading_info=True, dtype=dtype, **settings
        )
        by_row(model)
        missing = set(report["missing_keys"])
    own = {name.removeprefix("base_model.model.") for name in weight_shapes(Path(source.path)) or {}}
    return with_adapter(model, source.path), missing - own


def _load(loader: Any, source: ModelSource, *, path: str | None = None, **settings: Any) -> Any:
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    if source.revision is not None:
        settings["revision"] = source.revision
    place = path or source.path
    trusted = source.trusts(place)
    try:
        return loader.from_pretrained(place, trust_remote_code=trusted, **settings)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        if "trust_remote_code" in str(error) and not trusted:
            raise code_refused(source) from error
        hint = "give the folder of a model on this machine, or nano" if source.kind == "hub" else None
        raise ModelError(
            f"the model does not load: {describe(error)[:400]}", given=f"{source.name} ({source.path})", hint=hint
        ) from error
    except Exception as error:
        if not trusted:
            raise
        raise ModelError(f"the model's own code failed: {describe(error)[:400]}", given=place) from error
