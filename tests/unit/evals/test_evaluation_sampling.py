"""Blocks and their streams: a problem's completions depend on its block alone, and on nothing that is not sampled from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask, Sample
from rlllm.evals.request import EvalRequest
from rlllm.evals.sampling import CompletionSampler, block_key, block_seed, blocks
from rlllm.rollouts.config import SamplingConfig

SAMPLING = SamplingConfig(max_new_tokens=6, batch_size=4)
TASKS = [PromptTask(f"What is {number} + 1?", str(number + 1), {"row": number}) for number in range(7)]


@pytest.fixture(scope="module")
def sampler(tiny_model: str) -> CompletionSampler:
    from rlllm.policies.loading import load_policy, load_tokenizer
    from rlllm.policies.model_sources import resolve_model

    @cache
    def policy() -> tuple[Any, Any]:
        source = resolve_model(tiny_model)
        return load_policy(source), load_tokenizer(source)

    return CompletionSampler(policy)


def texts(drawn: Sequence[Sequence[Sample]]) -> list[list[str]]:
    return [[one.completion for one in row] for row in drawn]


SIZES = [(4, 2, [2, 2, 2, 1]), (4, 3, [1] * 7), (4, 9, [1] * 7), (256, 4, [7]), (1, 1, [1] * 7)]


@pytest.mark.parametrize(("batch", "samples", "sizes"), SIZES)
def test_a_block_fills_a_batch_of_the_engine(batch: int, samples: int, sizes: list[int]) -> None:
    made = blocks(TASKS, SamplingConfig(batch_size=batch), samples)
    assert [len(block) for block in made] == sizes
    assert [task for block in made for task in block] == TASKS


def test_completions_carry_their_task_and_do_not_depend_on_other_blocks(sampler: CompletionSampler) -> None:
    everything = sampler.draw(TASKS, SAMPLING, samples=2, seed=3)
    assert [[one.meta["row"] for one in row] for row in everything] == [[number] * 2 for number in range(7)]
    assert sampler.draw(TASKS[2:6], SAMPLING, samples=2, seed=3) == everything[2:6]
    turned = sampler.draw([*TASKS[4:6], *TASKS[:2]], SAMPLING, samples=2, seed=3)
    assert turned == [*everything[4:6], *everything[:2]]


def test_seeds_and_answers(sampler: CompletionSampler) -> None:
    first = texts(sampler.draw(TASKS[:2], SAMPLING, samples=2, seed=0))
    assert texts(sampler.draw(TASKS[:2], SAMPLING, samples=2, seed=1)) != first
    others = [PromptTask(task.prompt, "another answer") for task in TASKS[:2]]
    assert texts(sampler.draw(others, SAMPLING, samples=2, seed=0)) == first


def test_the_same_problem_again_is_drawn_anew(sampler: CompletionSampler) -> None:
    drawn = texts(sampler.draw([TASKS[0], TASKS[0]], SAMPLING, samples=4, seed=0))
    assert drawn[0] != drawn[1]


def test_each_block_comes_as_soon_as_it_is_there(sampler: CompletionSampler) -> None:
    seen: list[tuple[int, int]] = []
    watched = CompletionSampler(sampler.policy, progress=lambda block, count: seen.append((block, count)))
    stream = watched.each_block(TASKS, SAMPLING, samples=2, seed=0)
    assert len(next(stream)) == 2
    assert seen == [(1, 4)]


def test_a_request_draws_from_its_policies_and_says_when_there_is_no_baseline(sampler: CompletionSampler) -> None:
    request = EvalRequest("", sampler.policy, TASKS, None, SAMPLING, samples=2, baseline=sampler.policy)
    assert request.draw(TASKS[:2]) == request.draw(TASKS[:2], "baseline")
    alone = EvalRequest("", sampler.policy, TASKS, None, SAMPLING, samples=2)
    with pytest.raises(ConfigError, match="no baseline"):
        alone.draw(TASKS[:2], "baseline")


def test_no_tasks_give_nothing_and_load_no_model() -> None:
    def policy() -> tuple[Any, Any]:
        raise AssertionError("no model is needed")

    assert CompletionSampler(policy).draw([], SAMPLING, samples=2, seed=0) == []


def test_the_key_of_a_block_follows_all_that_its_completions_depend_on() -> None:
    def key(
        model: str = "m", prompts: tuple[str, ...] = ("p",), samples: int = 2, stream: int = 1, **settings: Any
    ) -> str:
        return block_key(model, prompts, SAMPLING.model_copy(update=settings), samples=samples, stream=stream)

    changed = [
        key(),
        key(model="n"),
        key(prompts=("q",)),
        key(prompts=("p", "q")),
        key(samples=3),
        key(stream=2),
        key(temperature=0.5),
        key(top_p=0.9),
        key(top_k=3),
        key(max_new_tokens=7),
        key(engine="hf"),
        key(batch_size=1),
    ]
    assert len(set(changed)) == len(changed)
    assert key(batch_size=9) == key()
    assert key(temperature=0.0, stream=2) == key(temperature=0.0, stream=1)


def test_seeds_of_blocks_differ_and_fit_torch() -> None:
    seeds = {block_seed(seed, prompts, again) for seed in range(9) for prompts in "abc" for again in range(3)}
    assert len(seeds) == 81
    assert all(0 <= seed < 2**63 for seed in seeds)
