"""Completions side by side in one row against each in a row of its own: where they lie, what they see, what they give."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import completion_logps
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from rlllm.algorithms.cpu import forward, packing

SIZES = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
LENGTHS = [9, 2, 3, 1, 5, 4, 2, 2]


def llama(**own: object) -> PreTrainedModel:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, initializer_range=0.3, **own))


def batch() -> tuple[torch.Tensor, torch.Tensor, int]:
    """Two prompts of different length, four completions each."""
    keep, before = max(LENGTHS), 12
    ids = torch.randint(1, 50, (len(LENGTHS), before + keep), generator=torch.Generator().manual_seed(1))
    ids[:4, :before], ids[4:, :before] = ids[0, :before].clone(), ids[4, :before].clone()
    mask = torch.ones_like(ids)
    mask[4:, :3] = 0
    mask[:, before:] = torch.arange(keep) < torch.tensor(LENGTHS).unsqueeze(1)
    return ids, mask, keep


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 3)), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.001, 0.1]),
)
@settings(deadline=None)
def test_every_token_lies_once_in_a_row_of_its_prompt_and_comes_back(rows: list[tuple[int, int]], price: float) -> None:
    lengths, prompts = [length for length, _ in rows], [prompt for _, prompt in rows]
    found = packing.layout(lengths, prompts, price, prefix=7)
    if found is None:
        return
    assert len(found.owner) == sum(lengths)
    assert len({*zip(found.row.tolist(), found.slot.tolist(), strict=True)}) == sum(lengths)
    assert found.prompts[found.row].tolist() == [prompts[owner] for owner in found.owner.tolist()]
    assert len(found.prompts) * found.width < len(lengths) * max(lengths)
    values = torch.arange(1, len(rows) * max(lengths) + 1).view(len(rows), -1)
    learn = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    packed = found.pack(values, 0)
    assert torch.equal(found.unpack(packed, *values.shape), values * learn)


def test_completions_of_equal_length_are_left_in_rows_of_their_own() -> None:
    assert packing.layout([8] * 6, [0, 0, 0, 1, 1, 1], 0.01, 20) is None


def test_a_token_sees_its_prompt_and_its_own_completion_so_far() -> None:
    found = packing.laid_out([[1, 0]], [1, 2], [0, 0])
    seen = found.attention(torch.tensor([[0, 1]]), torch.float32)[0, 0] == 0
    assert seen.tolist() == [
        [False, True, True, False, False],
        [False, True, True, True, False],
        [False, True, False, False, True],
    ]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_log_probabilities_and_gradients_are_those_of_rows_alone(
    attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (ids, mask, keep) = llama(attn_implementation=attention), batch()
    learn, widths, found = mask[:, -keep:].bool(), [], []
    model.get_input_embeddings().register_forward_hook(lambda module, args, out: widths.append(out.shape[:2]))
    assert forward.packs(model, 11)
    widths.clear()
    for share in (False, True):
        model.zero_grad()
        logps, entropies = completion_logps(model, ids, mask, keep, 0.7, share=share)
        (logps * learn * torch.arange(1.0, keep + 1)).sum().backward()
        found.append((logps[learn], entropies[learn], [p.grad.clone() for p in model.parameters()]))
    torch.testing.assert_close(found[1], found[0], atol=2e-4, rtol=1e-3)
    assert widths[1] == (2, 11), "each prompt once"
    assert widths[2].numel() < len(LENGTHS) * keep, "and less padding"


def test_a_model_that_reads_positions_from_its_mask_or_sees_a_window_is_not_packed() -> None:
    torch.manual_seed(0)
    alibi = BloomForCausalLM(BloomConfig(vocab_size=50, hidden_size=32, n_layer=2, n_head=2))
    window = MistralForCausalLM(MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=4))
    assert not forward.packs(alibi, 20)
    assert not forward.packs(window, 20)


def test_learned_positions_are_packed_and_the_trial_leaves_the_random_numbers_alone() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2)).eval()
    before = torch.random.get_rng_state()
    assert forward.packs(model, 20)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_short_prompts_and_checkpointed_models_are_not_packed() -> None:
    model = llama()
    assert not forward.packs(model, forward.SHORTEST_PREFIX - 1)
    model.gradient_checkpointing_enable()
    assert not forward.packs(model, 20)
