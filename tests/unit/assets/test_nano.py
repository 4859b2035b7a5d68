"""The embedded model: its size, its tokenizer, its chat template."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.assets import build_nano

NANO = Path(build_nano.__file__).parent / "nano"
CHAT = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "What is 1 + 1?"}]
ANSWER = {"role": "assistant", "content": "1+1=2\n#### 2"}


byte_tokenizer = cache(build_nano.build_tokenizer)


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(NANO)


def test_the_folder_fits_into_six_megabytes():
    assert sum(path.stat().st_size for path in NANO.rglob("*") if path.is_file()) <= 6_000_000


def test_the_model_has_at_most_three_million_parameters_and_the_shape_of_its_builder():
    from safetensors import safe_open

    with safe_open(NANO / "model.safetensors", framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    built = {name: tuple(value.shape) for name, value in build_nano.build_model().named_parameters()}
    assert shapes == built
    assert sum(value.numel() for value in build_nano.build_model().parameters()) <= 3_000_000


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_is_its_own_bytes_and_comes_back(text):
    tokenizer = byte_tokenizer()
    if any(mark in text for mark in build_nano.SPECIAL):
        return
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text


def test_padding_is_not_the_end_of_sequence(tokenizer):
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_the_prompt_is_a_prefix_of_the_whole_conversation(tokenizer):
    prompt = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template([*CHAT, ANSWER], tokenize=False)
    assert whole == prompt + ANSWER["content"] + tokenizer.eos_token


def test_only_the_assistants_words_and_its_end_are_marked_for_the_loss(tokenizer):
    encoded = tokenizer.apply_chat_template([*CHAT, ANSWER], return_dict=True, return_assistant_tokens_mask=True)
    marked = [token for token, on in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if on]
    assert tokenizer.decode(marked) == ANSWER["content"] + tokenizer.eos_token


def test_the_same_seed_builds_the_same_beginning_and_another_seed_another():
    import torch

    first, again, other = (build_nano.build_model(seed).lm_head.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
