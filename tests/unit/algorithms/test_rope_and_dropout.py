"""Rotary frequencies that depend on the batch, and dropout that is no module: neither may change a log-probability."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig, LlamaConfig, OPTConfig, Phi3Config

from rlllm.algorithms.cpu.fast_path import FastPath
from rlllm.algorithms.dropout import without_functional_dropout
from rlllm.policies.rope import by_row

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
PHI3 = Phi3Config(
    **SIZES,
    max_position_embeddings=128,
    original_max_position_embeddings=24,
    rope_parameters={
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 8,
        "long_factor": [8.0] * 8,
        "original_max_position_embeddings": 24,
    },
)
PLAIN = LlamaConfig(**SIZES)
PROMPT = 12
COMPLETIONS = [6, 20, 3, 12, 13, 1]
"""Lengths of completions of one prompt: with it, some rows lie within 24 tokens and some beyond."""


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of the prompt with each completion, the first half of them with a shorter prompt."""
    generator = torch.Generator().manual_seed(0)
    width = max(COMPLETIONS)
    ids = torch.randint(2, 64, (len(COMPLETIONS), PROMPT + width), generator=generator)
    ids[:, :PROMPT] = ids[0, :PROMPT]
    mask = torch.ones_like(ids)
    for row, length in enumerate(COMPLETIONS):
        mask[row, PROMPT + length :] = 0
    return ids, mask


@pytest.mark.parametrize("config", [PHI3, PLAIN], ids=["phi3", "llama"])
@pytest.mark.parametrize("share", [True, False])
def test_a_row_has_the_log_probabilities_that_it_has_alone(config: Any, share: bool) -> None:
    torch.manual_seed(0)
    model = by_row(AutoModelForCausalLM.from_config(config).eval())
    ids, mask = rows()
    keep = ids.size(1) - PROMPT
    with torch.no_grad():
        passes = FastPath(onednn=False, one_process=True).passes(model, ids, mask, keep, 1.0, share=share)
        together = torch.cat([part.restore(part.view.chosen[0]) for part in passes])
        for row, length in enumerate(COMPLETIONS):
            end = PROMPT + length
            alone = model(input_ids=ids[row : row + 1, :end]).logits[0, :-1].log_softmax(-1)
            wanted = alone.gather(1, ids[row, 1:end].unsqueeze(1)).squeeze(1)[PROMPT - 1 :]
            torch.testing.assert_close(together[row, :length], wanted, atol=1e-5, rtol=1e-4)


OPT = OPTConfig(
    vocab_size=64,
    hidden_size=32,
    ffn_dim=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    word_embed_proj_dim=32,
    dropout=0.3,
    layerdrop=0.5,
)
BLOOM = BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=2, hidden_dropout=0.3, attention_dropout=0.0)


@pytest.mark.parametrize("config", [OPT, BLOOM], ids=["opt", "bloom"])
def test_dropout_in_functions_is_off_where_it_is_switched_off(config: Any) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    ids = torch.arange(10).unsqueeze(0)
    expected = model.eval()(ids).logits
    model.train()
    assert not torch.allclose(model(ids).logits, expected, atol=1e-4)
    before = model.config.to_dict()
    with without_functional_dropout(model):
        torch.testing.assert_close(model(ids).logits, expected)
    assert model.config.to_dict() == before
    assert not torch.allclose(model(ids).logits, expected, atol=1e-4)
