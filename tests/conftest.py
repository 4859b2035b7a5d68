"""What every test stands on: no network, one thread, and a model small enough to train in a second."""

from __future__ import annotations

import gc
import os
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# a busy machine is no bug; a red run is one for all
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, max_examples=1_000)  # new examples each time: look for bugs with it
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell starts background jobs deaf to Ctrl-C, and tests send it
_CACHE = tempfile.TemporaryDirectory(prefix="rlllm-cache-")  # no test reads or fills the cache of whoever runs it
os.environ.update(
    RLLLM_CACHE=_CACHE.name,
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",  # read when torch is first imported, here and in every process a test starts
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a seeded random Llama of 22,000 weights with the tokenizer of `nano`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from rlllm.assets.build_nano import build_tokenizer

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    _spare_the_collector()
    return str(folder)


def _spare_the_collector() -> None:
    """Every trainer collects garbage when it starts; among all that TRL imports, that takes longer than a tiny run."""
    import rlllm.algorithms.rl_trainer
    import rlllm.algorithms.sealed_trainers

    assert rlllm.algorithms.rl_trainer
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def nano() -> str:
    """Folder of the embedded model."""
    from rlllm.policies.model_sources import NANO

    assert (NANO / "model.safetensors").exists(), "the embedded model is missing: make nano"
    return str(NANO)
