"""GGUF, the format of llama.cpp and Ollama: one file with weights, settings and tokenizer.

Names of tensors and keys are those of the package `gguf`, which llama.cpp's authors publish. Their script that converts models
is no package; what it does for decoders of the Llama and Qwen kind with a byte-level tokenizer is done here, and what is
written is read back by transformers and compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError, ModelError, describe
from rlllm.policies.model_sources import ModelSource

FORMATS = ("float32", "float16", "bfloat16", "q8_0")
_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "q8_0": "Q8_0"}
_FILE_TYPES = {"float32": "ALL_F32", "float16": "MOSTLY_F16", "bfloat16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}
_ALLOWED = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2, "q8_0": 1e-1}
"""Format -> largest difference of an output, as a share of the largest output and 1."""
_ARCHITECTURES = {"llama": "LLAMA", "mistral": "LLAMA", "qwen2": "QWEN2", "qwen3": "QWEN3"}
"""transformers' `model_type` -> the architecture in the package `gguf`."""
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_SPLITS = {rf"{_WORDS}|\p{{N}}{_REST}": "qwen2", rf"{_WORDS}|\p{{N}}{{1,3}}{_REST}": "llama-bpe"}
"""Regular expression that splits a text before its bytes are merged -> llama.cpp's name for it."""
_BLOCK = 32
"""Numbers that share a scale in Q8_0."""
_NORMAL, _CONTROL, _USER, _UNUSED = 1, 3, 4, 5
"""llama.cpp's kinds of tokens."""


def check_gguf(source: ModelSource, dtype: str | None) -> None:
    """Raise ConfigError for a model, or a number format, of which no file can be written here."""
    if dtype is not None and dtype not in FORMATS:
        raise ConfigError("GGUF has no such number format here", given=f"dtype={dtype}", exists=FORMATS)
    if not find_spec("gguf"):
        raise ConfigError("GGUF is written by the package gguf, which is not installed", hint="pip install gguf")
    settings = source.settings()
    kind, names = settings.get("model_type"), settings.get("architectures") or []
    if kind not in _ARCHITECTURES or not all(name.endswith("ForCausalLM") for name in names):
        raise ConfigError(
            "models of this kind are not written as GGUF here",
            given=f"{source.name} ({', '.join(names) or kind})",
            exists=sorted(_ARCHITECTURES),
            hint="rlllm export --merge, and llama.cpp's convert_hf_to_gguf.py on the folder",
        )
    rope = (settings.get("rope_parameters") or {}).get("rope_type") or (settings.get("rope_scaling") or {}).get("type")
    if rope not in (None, "default"):
        raise ConfigError(
            "rotary frequencies that are scaled are not written as GGUF here",
            given=f"rope_type={rope} ({source.name})",
            hint="rlllm export --merge, and llama.cpp's convert_hf_to_gguf.py on the folder",
        )
    tokenizer_model(_tokenizer_file(source))


def _tokenizer_file(source: ModelSource) -> dict[str, Any]:
    path = Path(source.tokenizer_path, "tokenizer.json")
    if not path.is_file():
        raise ConfigError(
            "GGUF takes the tokenizer from tokenizer.json, which is not there", given=source.tokenizer_path
        )
    return json.loads(path.read_text(encoding="utf-8"))


def tokenizer_model(file: Mapping[str, Any]) -> str:
    """llama.cpp's name for how a byte-level BPE splits texts; `file` is a `tokenizer.json`.

    Raises:
        ConfigError: the tokenizer is of another kind, or splits in a way that has no name here.
    """
    model, splits = file["model"], file.get("pre_tokenizer") or {}
    parts = splits.get("pretokenizers") or [splits]
    kinds = [part.get("type") for part in parts]
    if model.get("type") == "BPE" and kinds[-1] == "ByteLevel":
        if kinds == ["ByteLevel"] and (parts[0].get("use_regex", True) or not model["merges"]):
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and parts[0].get("individual_digits"):
            return "smollm"
        if kinds == ["Split", "ByteLevel"] and parts[0].get("pattern", {}).get("Regex") in _SPLITS:
            return _SPLITS[parts[0]["pattern"]["Regex"]]
    raise ConfigError(
        "this tokenizer has no name in llama.cpp that is known here",
        given=f"{model.get('type')} after {', '.join(map(str, kinds))}",
        exists=["byte-level BPE that splits like GPT-2, SmolLM, Qwen2 or Llama 3"],
        hint="rlllm export --merge, and llama.cpp's convert_hf_to_gguf.py on the folder",
    )


def write_gguf(model: Any, tokenizer: Any, path: Path, *, name: str, dtype: str) -> None:
    """Write a whole model on the CPU as one file, and compare what transformers reads from it.

    Args:
        name: of the model, in the file.
        dtype: one of `FORMATS`, of the matrices; vectors are float32. Matrices that q8_0 does not divide are float16.

    Raises:
        ModelError: what is read back computes something else.
    """
    import gguf

    from rlllm.policies.adapters import refuse_difference, sample_outputs

    settings = model.config
    arch = gguf.MODEL_ARCH[_ARCHITECTURES[settings.model_type]]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    _write_settings(writer, settings, name, gguf.LlamaFileType[_FILE_TYPES[dtype]])
    _write_tokenizer(writer, tokenizer, settings)
    for tensor, values, kind in _tensors(model, arch, dtype):
        writer.add_tensor(tensor, gguf.quants.quantize(values, kind), raw_dtype=kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    expected = sample_outputs(model)
    again = _read_back(path)
    try:
        refuse_difference("writing GGUF", expected, sample_outputs(again), again, path, _ALLOWED[dtype])
    except ModelError:
        path.unlink()
        raise


def _read_back(path: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    try:
        settings = {"gguf_file": path.name, "dtype": torch.float32}
        return AutoModelForCausalLM.from_pretrained(path.parent, trust_remote_code=False, **settings)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"the GGUF file does not load: {describe(error)[:300]}", given=path) from error


def _write_settings(writer: Any, settings: Any, name: str, file_type: Any) -> None:
    head = getattr(settings, "head_dim", None) or settings.hidden_size // settings.num_attention_heads
    writer.add_name(name)
    writer.add_file_type(file_type)
    writer.add_vocab_size(settings.vocab_size)
    writer.add_context_length(settings.max_position_embeddings)
    writer.add_embedding_length(settings.hidden_size)
    writer.add_block_count(settings.num_hidden_layers)
    writer.add_feed_forward_length(settings.intermediate_size)
    writer.add_head_count(settings.num_attention_heads)
    writer.add_head_count_kv(settings.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(settings.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(settings.rms_norm_eps)


def _write_tokenizer(writer: Any, tokenizer: Any, settings: Any) -> None:
    """Tokens by number, with those that the embedding has beyond them; merges; special tokens; the chat template."""
    file = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {token["id"]: token for token in file["added_tokens"]}
    by_number = {number: token for token, number in tokenizer.get_vocab().items()}
    tokens, kinds = [], []
    for number in range(settings.vocab_size):
        tokens.append(by_number.get(number, f"[PAD{number}]"))
        special = added.get(number)
        kind = _NORMAL if number in by_number else _UNUSED
        kinds.append(kind if special is None else _CONTROL if special["special"] else _USER)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokenizer_model(file))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    merges = file["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    for role in ("bos", "eos", "pad", "unk"):
        if (number := getattr(tokenizer, f"{role}_token_id")) is not None:
            getattr(writer, f"add_{role}_token_id")(number)
    writer.add_add_bos_token(bool(getattr(tokenizer, "add_bos_token", False)))
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _tensors(model: Any, arch: Any, dtype: str) -> Iterator[tuple[str, Any, Any]]:
    """Name, values in float32, and type of every tensor. A head that shares the embedding's weights is not written."""
    import gguf

    settings = model.config
    names = gguf.get_tensor_name_map(arch, settings.num_hidden_layers)
    for name, parameter in model.named_parameters():
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise ModelError("a weight has no place in GGUF", given=name)
        values = parameter.detach().float().cpu().numpy()
        if arch == gguf.MODEL_ARCH.LLAMA:  # its rotary embedding turns neighbours, transformers' the two halves
            if ".q_proj." in name:
                values = _interleaved(values, settings.num_attention_heads)
            elif ".k_proj." in name:
                values = _interleaved(values, settings.num_key_value_heads)
        kind = "F32" if values.ndim == 1 else _TYPES[dtype]
        if kind == "Q8_0" and values.shape[-1] % _BLOCK:
            kind = "F16"
        yield target, values, gguf.GGMLQuantizationType[kind]


def _interleaved(values: Any, heads: int) -> Any:
    """Rows of a projection, (heads * size, ...), with the two halves of each head's rows alternating."""
    half = values.shape[0] // heads // 2
    return values.reshape(heads, 2, half, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
