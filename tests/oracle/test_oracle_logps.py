"""The loop's log-probabilities against TRL's own, and against each row alone without any padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from passes import completion_logps
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)
from trl import GRPOConfig, GRPOTrainer

from rlllm.assets.build_nano import build_tokenizer

TEMPERATURE = 0.7
VOCABULARY = 261
PAD = 256
PROMPTS = [[5, 6, 7, 8, 9], [11, 12], [20], [30, 31, 32]]
COMPLETIONS = [[40, 41, 257], [50, 51, 52, 53, 54, 257], [60, 61], [70]]
KEEP = max(map(len, COMPLETIONS))


def llama() -> PreTrainedModel:
    """Rotary positions: left padding alone does no harm."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config)


def gpt2() -> PreTrainedModel:
    """Learned absolute positions: left padding without position ids gives other logits."""
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=64,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.3,
        bos_token_id=257,
        eos_token_id=257,
    )
    return GPT2LMHeadModel(config)


MODELS: dict[str, Callable[[], PreTrainedModel]] = {"llama": llama, "gpt2": gpt2}


@pytest.fixture(scope="module", params=MODELS)
def stock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GRPOTrainer:
    """TRL's own trainer around a tiny model."""
    torch.manual_seed(1)
    return trainer(MODELS[request.param](), tmp_path_factory.mktemp("stock"))


def trainer(model: PreTrainedModel, folder: Path) -> GRPOTrainer:
    model.save_pretrained(folder)
    return GRPOTrainer(
        model=model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=GRPOConfig(
            str(folder / "out"), use_cpu=True, bf16=False, temperature=TEMPERATURE, gradient_checkpointing=False
        ),
        train_dataset=Dataset.from_list([{"prompt": "a"}] * 8),
        processing_class=build_tokenizer(),
    )


def padded(prompts: list[list[int]], completions: list[list[int]], left: int = 0, right: int = 0) -> tuple[Any, ...]:
    """Ids, attention mask, completion mask and completion width, with extra padding on either side."""
    width, keep = max(map(len, prompts)) + left, max(map(len, completions)) + right
    ids, mask, learn = [], [], []
    for prompt, completion in zip(prompts, completions, strict=True):
        before, after = width - len(prompt), keep - len(completion)
        ids.append([PAD] * before + prompt + completion + [PAD] * after)
        mask.append([0] * before + [1] * (len(prompt) + len(completion)) + [0] * after)
        learn.append([1] * len(completion) + [0] * after)
    return torch.tensor(ids), torch.tensor(mask), torch.tensor(learn, dtype=torch.bool), keep


def stock_row_by_row(stock: GRPOTrainer) -> list[tuple[Tensor, Tensor]]:
    """TRL's numbers for each row alone, where there is no padding to get wrong."""
    rows = []
    for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True):
        ids, mask, _, keep = padded([prompt], [completion])
        logps, entropies, _ = stock._get_per_token_logps_and_entropies(
            stock.model, ids, mask, keep, compute_entropy=True
        )
        rows.append((logps[0], entropies[0]))
    return rows


def test_a_padded_batch_gives_each_row_the_numbers_trl_gives_it_alone(stock: GRPOTrainer) -> None:
    ids, mask, _, keep = padded(PROMPTS, COMPLETIONS)
    logps, entropies = completion_logps(stock.model, ids, mask, keep, TEMPERATURE)
    assert logps.shape == entropies.shape == (4, KEEP)
    for index, (alone, entropy) in enumerate(stock_row_by_row(stock)):
        torch.testing.assert_close(logps[index, : len(alone)], alone, atol=1e-5, rtol=0)
        torch.testing.assert_close(entropies[index, : len(alone)], entropy, atol=1e-5, rtol=0)


def gradients(model: PreTrainedModel, logps: list[Tensor]) -> list[Tensor]:
    """Gradients of a weighted sum of log-probabilities in which no two tokens weigh the same."""
    model.zero_grad()
    sum((row * torch.linspace(1, 2, len(row)) * (index + 1)).sum() for index, row in enumerate(logps)).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_gradients_are_those_of_trl(stock: GRPOTrainer) -> None:
    ids, mask, _, keep = padded(PROMPTS, COMPLETIONS, left=3, right=2)
    ours, _ = completion_logps(stock.model, ids, mask, keep, TEMPERATURE)
    mine = gradients(stock.model, [row[: len(c)] for row, c in zip(ours, COMPLETIONS, strict=True)])
    theirs = gradients(stock.model, [alone for alone, _ in stock_row_by_row(stock)])
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_on_rotary_positions_a_padded_batch_equals_trls_padded_batch(tmp_path: Path) -> None:
    torch.manual_seed(1)
    stock = trainer(llama(), tmp_path)
    ids, mask, learn, keep = padded(PROMPTS, COMPLETIONS)
    theirs, entropies, _ = stock._get_per_token_logps_and_entropies(stock.model, ids, mask, keep, compute_entropy=True)
    ours, own_entropies = completion_logps(stock.model, ids, mask, keep, TEMPERATURE)
    torch.testing.assert_close(ours[learn], theirs[learn], atol=1e-5, rtol=0)
    torch.testing.assert_close(own_entropies[learn], entropies[learn], atol=1e-5, rtol=0)


def test_on_learned_positions_trls_padded_batch_is_wrong_and_ours_is_not(tmp_path: Path) -> None:
    """Should this fail because TRL's numbers are right, TRL passes position ids by now: then only speed is gained."""
    torch.manual_seed(1)
    stock = trainer(gpt2(), tmp_path)
    ids, mask, learn, keep = padded(PROMPTS, COMPLETIONS)
    theirs, _, _ = stock._get_per_token_logps_and_entropies(stock.model, ids, mask, keep)
    ours, _ = completion_logps(stock.model, ids, mask, keep, TEMPERATURE)
    assert (ours[learn] - theirs[learn]).abs().max() > 0.1


LENGTHS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4)


@given(lengths=LENGTHS, left=st.integers(0, 5), right=st.integers(0, 5), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_more_padding_changes_nothing(
    stock: GRPOTrainer, lengths: list[tuple[int, int]], left: int, right: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    rows = [[torch.randint(0, 256, (n,), generator=draw).tolist() for n in pair] for pair in lengths]
    prompts, completions = [row[0] for row in rows], [row[1] for row in rows]
    with torch.no_grad():
        ids, mask, learn, keep = padded(prompts, completions)
        tight, entropy = completion_logps(stock.model, ids, mask, keep, TEMPERATURE)
        ids, mask, wide_learn, keep = padded(prompts, completions, left, right)
        wide, wide_entropy = completion_logps(stock.model, ids, mask, keep, TEMPERATURE)
    assert wide.shape == (len(rows), keep)
    torch.testing.assert_close(wide[wide_learn], tight[learn], atol=1e-5, rtol=0)
    torch.testing.assert_close(wide_entropy[wide_learn], entropy[learn], atol=1e-5, rtol=0)
    assert not wide[:, keep - right :].any()


def test_probabilities_of_all_tokens_sum_to_one() -> None:
    torch.manual_seed(1)
    model = llama()
    prompt = torch.tensor([[5, 6, 7]]).expand(VOCABULARY, 3)
    ids = torch.cat([prompt, torch.arange(VOCABULARY).unsqueeze(1)], dim=1)
    with torch.no_grad():
        logps, entropies = completion_logps(model, ids, torch.ones_like(ids), 1, 1.0)
    assert logps.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert entropies[0].item() == pytest.approx(-(logps.exp() * logps).sum().item(), abs=1e-4)


def test_a_completion_that_is_masked_out_whole_is_no_trouble() -> None:
    torch.manual_seed(1)
    ids, mask, _, keep = padded(PROMPTS, COMPLETIONS)
    mask[:, -keep:] = 0
    logps, _ = completion_logps(llama(), ids, mask, keep, 1.0)
    assert logps.shape == (4, keep)
    assert bool(logps.isfinite().all())


def mistral() -> PreTrainedModel:
    """A cache that forgets what lies outside a window."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    return MistralForCausalLM(MistralConfig(vocab_size=VOCABULARY, num_hidden_layers=2, sliding_window=4, **sizes))


def mamba() -> PreTrainedModel:
    """A state that is no cache of keys and values."""
    return MambaForCausalLM(MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4))


@pytest.mark.parametrize("build", [mistral, mamba])
def test_where_a_prompts_state_cannot_be_shared_rows_are_passed_whole_and_it_is_tried_once(
    build: Callable[[], PreTrainedModel],
) -> None:
    torch.manual_seed(1)
    model, widths = build().eval(), []
    ids, mask, learn, keep = padded([list(range(5, 16))] * len(COMPLETIONS), COMPLETIONS)
    with torch.no_grad():
        alone, _ = completion_logps(model, ids, mask, keep, TEMPERATURE)
        model.get_input_embeddings().register_forward_hook(lambda module, args, out: widths.append(out.size(1)))
        for _ in range(2):
            shared, _ = completion_logps(model, ids, mask, keep, TEMPERATURE, share=True)
            torch.testing.assert_close(shared[learn], alone[learn], atol=1e-5, rtol=0)
    assert widths == [10, 11 + keep, 11 + keep]


def test_a_mixture_of_experts_that_returns_its_router_logits_is_passed_whole() -> None:
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "output_router_logits": True}
    model = Qwen3MoeForCausalLM(Qwen3MoeConfig(vocab_size=VOCABULARY, num_hidden_layers=2, **sizes, **experts)).eval()
    ids, mask, learn, keep = padded([list(range(5, 16))] * len(COMPLETIONS), COMPLETIONS)
    with torch.no_grad():
        alone, shared = (
            completion_logps(model, ids, mask, keep, TEMPERATURE, share=share)[0] for share in (False, True)
        )
    torch.testing.assert_close(shared[learn], alone[learn], atol=1e-5, rtol=0)
