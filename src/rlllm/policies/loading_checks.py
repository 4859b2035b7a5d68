"""Whether a model can be loaded here as its settings say, found without importing torch."""

from __future__ import annotations

from importlib.util import find_spec

from rlllm.core.config import LoadingConfig
from rlllm.core.errors import ConfigError


def check_loading(loading: LoadingConfig) -> None:
    """Raise ConfigError for a format or an attention that lack a package, or do not go together."""
    if loading.quantisation and not find_spec("bitsandbytes"):
        raise ConfigError(
            "weights in 4 or 8 bits are bitsandbytes', which is not installed",
            given=f"model.quantisation={loading.quantisation}",
            hint="pip install bitsandbytes, or leave it out",
        )
    if loading.attention != "flash_attention_2":
        return
    given = f"model.attention={loading.attention}"
    if not find_spec("flash_attn"):
        raise ConfigError(
            "this attention is of the package flash-attn, which is not installed",
            given=given,
            exists=["sdpa", "eager"],
            hint="pip install flash-attn --no-build-isolation (it needs CUDA), or model.attention=sdpa",
        )
    if loading.dtype == "float32":
        raise ConfigError(
            "flash attention computes in 16 bits",
            given=f"{given} model.dtype={loading.dtype}",
            hint="model.dtype=bfloat16",
        )
