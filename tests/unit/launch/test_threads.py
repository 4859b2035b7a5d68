"""The thread count: what is offered, what wins, and that the user's own choice stands."""

from __future__ import annotations

import pytest
import torch

from rlllm.core.hardware import Hardware
from rlllm.launch import threads
from rlllm.launch.threads import candidates, choose, fastest


@pytest.mark.parametrize(("most", "offered"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_powers_of_two_and_all_of_them_are_offered(most: int, offered: list[int]) -> None:
    assert candidates(most) == offered


@pytest.mark.parametrize(
    ("seconds", "best"),
    [({1: 1.0, 2: 0.5}, 2), ({1: 1.0, 2: 0.98}, 1), ({1: 1.0, 2: 9.0}, 1), ({1: 1.0, 2: 0.6, 4: 0.3, 8: 0.31}, 4)],
)
def test_more_threads_have_to_be_clearly_faster(seconds: dict[int, float], best: int) -> None:
    assert fastest(seconds) == best


def model() -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1)
    )


def test_a_measured_choice_is_set_and_says_what_it_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    before = torch.get_num_threads()
    try:
        chosen = choose(model(), Hardware("cpu", bf16=False, threads=2))
        assert torch.get_num_threads() == chosen.threads == fastest(dict(chosen.thread_seconds))
        assert set(chosen.thread_seconds) == {1, 2}
    finally:
        torch.set_num_threads(before)


def test_omp_num_threads_is_left_alone() -> None:
    given = Hardware("cpu", bf16=False, threads=2)
    assert choose(model(), given) is given


def test_a_model_that_does_not_take_the_measured_tokens_keeps_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    given = Hardware("cpu", bf16=False, threads=2)
    assert choose(torch.nn.Linear(2, 2), given) is given


@pytest.mark.parametrize(("long", "times"), [(0.0, 1), (1e9, threads.REPEATS)])
def test_what_takes_long_is_measured_once(monkeypatch: pytest.MonkeyPatch, long: float, times: int) -> None:
    monkeypatch.setattr(threads, "LONG", long)
    runs: list[None] = []
    threads._fastest(lambda: runs.append(None), torch.get_num_threads())
    assert len(runs) == times
