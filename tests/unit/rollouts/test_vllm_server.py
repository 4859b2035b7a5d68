"""The engine `vllm-server` against a real model behind vLLM's HTTP interface: weights arrive, and each way not to is found."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from policy_server import PolicyServer, served

from rlllm.core.errors import ConfigError, EngineError, WeightSyncError
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import sample_completions, sampled_logps
from rlllm.rollouts.engines.loading import check_engine, open_engine
from rlllm.rollouts.engines.native.engine import NativeEngine
from rlllm.rollouts.engines.served.proof import scores_by

PROMPTS = [[72, 101, 108, 108, 111], [49, 43, 49, 61], [49, 43, 49, 61], [50, 42, 51, 61]]


@pytest.fixture
def policy(nano: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    source = resolve_model(nano)
    return load_policy(source), load_tokenizer(source)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as servers, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield servers


def sampling(*servers: PolicyServer, **settings: Any) -> SamplingConfig:
    serving = {"retries": 0, "timeout": 120, **settings.pop("serving", {})}
    given = {"engine": "vllm-server", "servers": [server.url for server in servers], "max_new_tokens": 12}
    return SamplingConfig.checked({**given, "serving": serving, **settings})


def learned(model: Any, size: float = 1e-3) -> None:
    """A step of an optimizer, as far as a server can tell."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(size * torch.randn_like(weight))


def test_what_servers_write_is_what_the_policy_would_write(
    policy: tuple[Any, Any], nano: str, stack: ExitStack
) -> None:
    model, tokenizer = policy
    servers = [stack.enter_context(served(nano)) for _ in range(2)]
    settings = sampling(*servers, temperature=0.0)
    learned(model, 1e-2)
    engine = open_engine("vllm-server", model, tokenizer, settings)
    ids = sample_completions(engine, PROMPTS, settings)
    assert ids == NativeEngine(model, tokenizer).generate(PROMPTS, settings)
    assert all(server.completions for server in servers)
    assert engine.metrics["sync/mean_abs_dlogp"] < 1e-5


def test_log_probabilities_are_those_that_the_policy_has(policy: tuple[Any, Any], nano: str, stack: ExitStack) -> None:
    model, tokenizer = policy
    settings = sampling(stack.enter_context(served(nano)))
    engine = open_engine("vllm-server", model, tokenizer, settings)
    learned(model)
    torch.manual_seed(3)
    ids = sample_completions(engine, PROMPTS, settings)
    reported = sampled_logps(engine, ids)
    assert reported is not None
    for prompt, tokens, values in zip(PROMPTS, ids, reported, strict=True):
        expected = scores_by(model, [[*prompt, *tokens]])[-len(tokens) :]
        assert values == pytest.approx(expected.tolist(), abs=1e-4)
    torch.manual_seed(3)
    assert sample_completions(engine, PROMPTS, settings) == ids


def test_weights_are_brought_over_when_they_changed_and_only_then(
    policy: tuple[Any, Any], nano: str, stack: ExitStack
) -> None:
    model, tokenizer = policy
    server = stack.enter_context(served(nano))
    loads = []
    for change in (False, False, True, True, False):
        if change:
            learned(model, 1e-5)
        open_engine("vllm-server", model, tokenizer, sampling(server)).sync()
        loads.append(server.loads)
    assert loads == [2, 2, 3, 4, 4]  # the first is a trial, and what is meant
    assert torch.equal(server.scores.lm_head.weight, model.lm_head.weight)


FAULTS = {
    "stale": "nothing was loaded",
    "half": "only a part of the weights was loaded",
    "a-layer": "only a part of the weights was loaded",
    "a-matrix": "",
    "norms": "",
    "order": "",
    "format": "it computes in bfloat16, and the policy in float32",
    "cache": "its prefix cache was not emptied",
    "base": "nothing was loaded",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_sync_stops_before_the_first_sample(
    policy: tuple[Any, Any], nano: str, stack: ExitStack, fault: str
) -> None:
    """Though the server has the policy's weights, which is so at the start of a run."""
    model, tokenizer = policy
    server = stack.enter_context(served(nano, fault))
    engine = open_engine("vllm-server", model, tokenizer, sampling(server, serving={"checksum": "off"}))
    with pytest.raises(WeightSyncError, match="in the trial before the first step") as error:
        engine.sync()
    assert FAULTS[fault] in str(error.value)
    assert server.completions == 0


@pytest.mark.parametrize("fault", ["stale-later", "half-later"])
@pytest.mark.parametrize("size", [1e-2, 1e-6])
def test_a_sync_that_breaks_later_is_found_however_small_the_step(
    policy: tuple[Any, Any], nano: str, stack: ExitStack, fault: str, size: float
) -> None:
    model, tokenizer = policy
    server = stack.enter_context(served(nano, fault))
    engine = open_engine("vllm-server", model, tokenizer, sampling(server))
    engine.sync()
    learned(model, size)
    with pytest.raises(WeightSyncError, match="in sync 2"):
        engine.sync()


def test_an_adapter_that_is_ignored_is_named(policy: tuple[Any, Any], nano: str, stack: ExitStack) -> None:
    from peft import LoraConfig, get_peft_model

    model, tokenizer = policy
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    server = stack.enter_context(served(nano, "base"))
    engine = open_engine("vllm-server", adapted, tokenizer, sampling(server, serving={"checksum": "off"}))
    with pytest.raises(WeightSyncError, match="ignores the adapter"):
        engine.sync()


def test_an_adapter_arrives(policy: tuple[Any, Any], nano: str, stack: ExitStack) -> None:
    from peft import LoraConfig, get_peft_model

    model, tokenizer = policy
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", use_dora=True))
    server = stack.enter_context(served(nano))
    engine = open_engine("vllm-server", adapted, tokenizer, sampling(server))
    for _ in range(2):
        learned(adapted, 1e-2)
        engine.sync()
    assert engine.metrics["sync/mean_abs_dlogp"] < 1e-5


def test_a_checksum_that_stays_is_found_where_it_is_told(policy: tuple[Any, Any], nano: str, stack: ExitStack) -> None:
    model, tokenizer = policy
    server = stack.enter_context(served(nano, "a-matrix"))
    engine = open_engine("vllm-server", model, tokenizer, sampling(server, serving={"trial": False, "tolerance": 50}))
    engine.sync()
    learned(model, 1e-7)
    with pytest.raises(WeightSyncError, match="have the checksum they had before") as error:
        engine.sync()
    assert "down_proj" in str(error.value)


def test_a_server_that_dies_is_dropped_and_the_others_do_its_work(
    policy: tuple[Any, Any], nano: str, stack: ExitStack
) -> None:
    model, tokenizer = policy
    dying, steady = (stack.enter_context(served(nano, dies_after=limit)) for limit in (2, None))
    settings = sampling(dying, steady, temperature=0.0)
    engine = open_engine("vllm-server", model, tokenizer, settings)
    prompts = [[40 + place, 43, 49, 61] for place in range(12)]
    with pytest.warns(RuntimeWarning, match="it is dropped, 1 of 2 go on"):
        ids = sample_completions(engine, prompts, settings)
    assert ids == NativeEngine(model, tokenizer).generate(prompts, settings)


def test_without_a_server_left_the_error_says_what_to_type(
    policy: tuple[Any, Any], nano: str, stack: ExitStack
) -> None:
    model, tokenizer = policy
    server = stack.enter_context(served(nano, dies_after=2))
    settings = sampling(server)
    engine = open_engine("vllm-server", model, tokenizer, settings)
    sample_completions(engine, PROMPTS[:1], settings)
    with pytest.raises(EngineError, match="the last server is gone") as error:
        sample_completions(engine, PROMPTS, settings)
    assert "vllm serve MODEL" in str(error.value)
    assert server.url in str(error.value)


def test_what_a_server_wrote_that_was_started_anew_is_thrown_away(
    policy: tuple[Any, Any], nano: str, stack: ExitStack
) -> None:
    """It answers as before, with the weights of the start."""
    model, tokenizer = policy
    again, steady = (stack.enter_context(served(nano)) for _ in range(2))
    settings = sampling(again, steady, temperature=0.0)
    engine = open_engine("vllm-server", model, tokenizer, settings)
    learned(model, 1e-2)
    engine.sync()
    again.restart()
    prompts = [[40 + place, 43, 49, 61] for place in range(12)]
    with pytest.warns(RuntimeWarning, match="what it wrote is thrown away"):
        ids = engine.generate(prompts, settings)
    assert ids == NativeEngine(model, tokenizer).generate(prompts, settings)
    with pytest.warns(RuntimeWarning, match="answers again"):
        engine.sync()
    assert torch.equal(again.scores.lm_head.weight, model.lm_head.weight)


def test_a_server_of_another_model_is_refused_by_its_tokens(policy: tuple[Any, Any], nano: str, tmp_path: Path) -> None:
    model, tokenizer = policy

    class Words:
        """A tokenizer that knows words."""

        def __call__(self, text: str, **_: Any) -> Any:
            return {"input_ids": [len(word) for word in text.split()]}

    with served(nano) as server:
        server.tokenizer = Words()
        with pytest.raises(ConfigError, match="another tokenizer than the policy"):
            open_engine("vllm-server", model, tokenizer, sampling(server)).sync()


def test_an_endpoint_writes_what_its_model_would(policy: tuple[Any, Any], nano: str, stack: ExitStack) -> None:
    model, tokenizer = policy
    servers = [stack.enter_context(served(nano)) for _ in range(2)]
    settings = sampling(*servers, engine="openai", temperature=0.0)
    engine = open_engine("openai", model, tokenizer, settings)
    assert sample_completions(engine, PROMPTS, settings) == NativeEngine(model, tokenizer).generate(PROMPTS, settings)
    assert all("/v1/completions" in server.paths for server in servers)
    with pytest.raises(ConfigError, match="cannot be given weights"):
        check_engine("openai", settings=settings, trains=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "vllm-server"}, "samples with servers, and none is named"),
        ({"engine": "native", "servers": "http://localhost:8000"}, "the engine native asks no servers"),
        ({"engine": "hf", "serving": {"folder": "weights"}}, "reads nothing of rollout.serving"),
        ({"engine": "vllm"}, "the engine vllm cannot run here"),
    ],
)
def test_what_an_engine_lacks_is_found_when_a_run_is_planned(settings: dict[str, Any], message: str) -> None:
    config = SamplingConfig.checked(settings)
    with pytest.raises(ConfigError, match=message):
        check_engine(config.engine, settings=config)
