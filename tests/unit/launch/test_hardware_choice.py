"""Threads and matrix product: what is given wins, what was measured is kept for all later runs, what is resumed stands."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rlllm.core.config import HardwareConfig
from rlllm.core.errors import ConfigError
from rlllm.core.hardware import Hardware
from rlllm.launch import choice
from rlllm.launch.choice import ModelShape, choices_folder, choose, known_choices, processor, renew
from rlllm.launch.measurement import onednn_works
from rlllm.rollouts.engines.native import linear

CPU = Hardware("cpu", bf16=False, threads=2)


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of its own, nothing remembered, OMP_NUM_THREADS not set, and quick measurements."""
    monkeypatch.setenv("RLLLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(choice, "_MADE", {})
    monkeypatch.setattr("rlllm.launch.measurement._SECONDS", 0.01)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    linear.use("onednn")


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=1)
    )


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process."""
    monkeypatch.setattr(choice, "_MADE", {})


def test_a_measured_choice_is_set_and_says_what_it_measured(model: Any) -> None:
    chosen = choose(model, CPU, HardwareConfig())
    assert torch.get_num_threads() == chosen.threads
    assert (set(chosen.thread_seconds), chosen.threads_from, chosen.matmul_from) == ({1, 2}, "measured", "measured")


def test_a_choice_is_kept_with_everything_that_it_depends_on(model: Any) -> None:
    chosen = choose(model, CPU, HardwareConfig())
    kept = {entry["key"]: entry["choice"] for entry in known_choices()}
    machine = f"{processor()}; {len(os.sched_getaffinity(0))} cores; torch {torch.__version__}"
    shape = f"{machine}; llama 16 x 1, inner 24, vocabulary 32"
    assert kept == {
        f"{shape}; threads up to 2": chosen.threads,
        f"{shape}; matmul with threads={chosen.threads}": chosen.matmul,
    }


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("matmul", ["torch", "onednn"])
def test_a_later_process_takes_what_is_kept_and_measures_nothing(
    model: Any, monkeypatch: pytest.MonkeyPatch, threads: int, matmul: str
) -> None:
    choose(model, CPU, HardwareConfig(threads=threads))
    choose(model, CPU, HardwareConfig())
    for path in choices_folder().glob("*.json"):
        entry = json.loads(path.read_text())
        path.write_text(json.dumps({**entry, "choice": matmul if "matmul" in entry["key"] else threads}))
    forget(monkeypatch)
    monkeypatch.setattr(choice, "measure_threads", None)
    monkeypatch.setattr(choice, "_matmul_entry", lambda *_: {"choice": matmul, "seconds": {}})
    chosen = choose(model, CPU, HardwareConfig())
    assert (chosen.threads, chosen.matmul) == (threads, matmul)


@pytest.mark.parametrize("content", ["", "not JSON", "[]", '{"key": 1}'])
def test_a_file_that_cannot_be_read_is_measured_again_and_replaced(
    model: Any, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    choose(model, CPU, HardwareConfig())
    for path in choices_folder().glob("*.json"):
        path.write_text(content)
    forget(monkeypatch)
    choose(model, CPU, HardwareConfig())
    assert known_choices()


def test_a_cache_that_cannot_be_written_holds_for_the_process(
    model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RLLLM_CACHE", str(tmp_path / "file"))
    first = choose(model, CPU, HardwareConfig())
    assert known_choices() == []
    assert choose(model, CPU, HardwareConfig()) == first


def test_the_first_process_that_writes_decides_for_those_that_measured_meanwhile(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "hardware" / "key.json"
    assert choice._kept(path, {"key": "key", "choice": 1, "seconds": {}})["choice"] == 1
    assert choice._kept(path, {"key": "key", "choice": 2, "seconds": {}})["choice"] == 1
    assert [file.name for file in path.parent.iterdir()] == ["key.json"]


def test_measuring_again_replaces_what_is_kept_for_this_model(model: Any) -> None:
    choose(model, CPU, HardwareConfig())
    for path in choices_folder().glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": {"1": 99.0, "torch": 99.0}}))
    renew(model, CPU)
    assert all(99.0 not in entry["seconds"].values() for entry in known_choices())


def test_omp_num_threads_is_left_alone(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    chosen = choose(model, CPU, HardwareConfig())
    assert (chosen.threads, chosen.threads_from, chosen.thread_seconds) == (2, "OMP_NUM_THREADS", {})


def test_settings_win_over_everything_and_nothing_is_measured(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    chosen = choose(model, CPU, HardwareConfig(threads=1, matmul="torch"))
    assert (chosen.threads, chosen.threads_from) == (torch.get_num_threads(), "setting") == (1, "setting")
    assert (chosen.matmul, chosen.matmul_from) == ("torch", "setting")
    assert known_choices() == []


def test_a_gpu_has_no_choice(model: Any) -> None:
    gpu = Hardware("cuda", bf16=True, threads=2)
    assert choose(model, gpu, HardwareConfig()) == gpu
    with pytest.raises(ConfigError, match="on a CPU only"):
        choose(model, gpu, HardwareConfig(matmul="onednn"))


def test_a_product_that_this_torch_lacks_is_refused(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "onednn_works", lambda: False)
    with pytest.raises(ConfigError, match="no oneDNN product"):
        choose(model, CPU, HardwareConfig(matmul="onednn"))


def test_a_model_that_does_not_take_the_measured_tokens_keeps_the_threads() -> None:
    layer = torch.nn.Linear(2, 2)
    assert choose(layer, CPU, HardwareConfig()).threads == 2
    assert ModelShape.of(layer).describe() == "Linear 0 x 0, inner 0, vocabulary 0"


@pytest.mark.skipif(not onednn_works(), reason="this torch has no oneDNN")
@pytest.mark.parametrize(
    "earlier",
    [
        {"threads": 1, "matmul": "onednn", "thread_seconds": {"1": 0.1, "2": 0.2}, "threads_from": "measured"},
        {"threads": 1, "onednn": True, "thread_seconds": {"1": 0.1, "2": 0.2}},
    ],
)
def test_a_resumed_run_keeps_what_its_first_start_chose(model: Any, earlier: dict[str, Any]) -> None:
    chosen = choose(model, CPU, HardwareConfig(), earlier)
    assert (chosen.threads, chosen.matmul, dict(chosen.thread_seconds)) == (1, "onednn", {1: 0.1, 2: 0.2})
    assert chosen.threads_from == "measured"
    assert known_choices() == []


def test_a_run_from_before_products_were_measured_resumes_without_them(model: Any) -> None:
    assert choose(model, CPU, HardwareConfig(), {"threads": 1}).matmul == "torch"


def test_a_resume_with_another_choice_is_refused(model: Any) -> None:
    earlier = {"threads": 1, "matmul": "torch"}
    assert choose(model, CPU, HardwareConfig(threads=1, matmul="torch"), earlier).threads == 1
    with pytest.raises(ConfigError, match=r"the run to resume computes with hardware\.threads=1"):
        choose(model, CPU, HardwareConfig(threads=2), earlier)


def test_the_engine_multiplies_as_chosen(model: Any) -> None:
    weight = torch.ones(4, 8)
    choose(model, CPU, HardwareConfig(matmul="torch"))
    assert type(linear.laid_out(weight)) is linear.Linear
    if onednn_works():
        choose(model, CPU, HardwareConfig(matmul="onednn"))
        assert type(linear.laid_out(weight)) is not linear.Linear


def test_the_cache_follows_the_users_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choices_folder() == Path(os.environ["RLLLM_CACHE"], "hardware")
    monkeypatch.delenv("RLLLM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert choices_folder() == Path("/somewhere/rlllm/hardware")
