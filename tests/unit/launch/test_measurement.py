"""Measurements: what is offered, what wins, and that candidates take turns."""

from __future__ import annotations

import time

import pytest
import torch

from rlllm.launch import measurement
from rlllm.launch.measurement import candidates, faster_matmul, fewest_threads, measure_matmuls, onednn_works


@pytest.mark.parametrize(("most", "offered"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_powers_of_two_and_all_of_them_are_offered(most: int, offered: list[int]) -> None:
    assert candidates(most) == offered


@pytest.mark.parametrize(
    ("seconds", "best"),
    [({1: 1.0, 2: 0.5}, 2), ({1: 1.0, 2: 0.98}, 1), ({1: 1.0, 2: 9.0}, 1), ({1: 1.0, 2: 0.6, 4: 0.3, 8: 0.31}, 4)],
)
def test_more_threads_have_to_be_clearly_faster(seconds: dict[int, float], best: int) -> None:
    assert fewest_threads(seconds) == best


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({"torch": 1.0, "onednn": 0.5}, "onednn"),
        ({"torch": 1.0, "onednn": 0.95}, "torch"),
        ({"torch": 1.0, "onednn": 2.0}, "torch"),
        ({"torch": 0.0}, "torch"),
    ],
)
def test_onednn_has_to_be_clearly_faster(seconds: dict[str, float], best: str) -> None:
    assert faster_matmul(seconds) == best


@pytest.mark.parametrize(("width", "inner"), [(16, 24), (256, 1024), (2048, 8192)])
def test_products_of_any_size_are_measured(monkeypatch: pytest.MonkeyPatch, width: int, inner: int) -> None:
    monkeypatch.setattr(measurement, "_SECONDS", 0.0)
    assert set(measure_matmuls(width, inner)) == ({"torch", "onednn"} if onednn_works() else {"torch"})


def test_candidates_take_turns_until_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    seconds = measurement._fastest({name: lambda name=name: turns.append(name) for name in ("a", "b")})
    assert turns == ["a", "b"] * measurement._ROUNDS
    assert set(seconds) == {"a", "b"}
    turns.clear()
    monkeypatch.setattr(measurement, "_SECONDS", 0.0)
    measurement._fastest({"slow": lambda: (turns.append("slow"), time.sleep(0.001)), "b": lambda: turns.append("b")})
    assert turns == ["slow", "b"]


def test_measuring_leaves_the_random_numbers_alone() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1)
    )
    torch.manual_seed(0)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    measurement.measure_threads(model.train(), threads)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
