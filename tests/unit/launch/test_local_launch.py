"""The local launch: threads are set and recorded, and the environment is written down as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
import torch

from rlllm.core.hardware import Hardware
from rlllm.launch.choice import processor
from rlllm.launch.local import PACKAGES, environment, prepare


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_every_run_starts_with_the_threads_that_torch_had() -> None:
    first = prepare().threads
    torch.set_num_threads(first + 1)
    assert prepare().threads == torch.get_num_threads() == first


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_cpu_never_trains_in_bf16() -> None:
    hardware = prepare()
    assert hardware.device in ("cpu", "mps")
    assert not hardware.bf16


def test_telemetry_is_off() -> None:
    prepare()
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_the_environment_names_versions_and_threads() -> None:
    recorded = json.loads(json.dumps(environment(Hardware("cpu", bf16=False, threads=3))))
    assert set(recorded["packages"]) == set(PACKAGES)
    assert recorded["packages"]["torch"] == torch.__version__
    assert (recorded["threads"], recorded["matmul"], recorded["device"]) == (3, "torch", "cpu")
    assert (recorded["processes"], recorded["processor"]) == (1, processor())


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlllm.launch.local.PACKAGES", ("no-such-package-at-all",))
    assert environment(Hardware("cpu", bf16=False, threads=1))["packages"] == {"no-such-package-at-all": None}
