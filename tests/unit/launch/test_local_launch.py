"""The local launch: threads are set and recorded, and the environment is written down as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
import torch

from rlllm.core.hardware import Hardware
from rlllm.launch.local import PACKAGES, environment, prepare


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_number_of_threads_is_set_and_reported() -> None:
    assert prepare({"threads": 1, "onednn": False}).threads == torch.get_num_threads() == 1
    assert prepare({"threads": 2, "onednn": False}).threads == torch.get_num_threads() == 2


def test_without_a_number_torch_keeps_its_own() -> None:
    torch.set_num_threads(1)
    assert prepare().threads == 1


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
    assert (recorded["threads"], recorded["device"], recorded["processes"]) == (3, "cpu", 1)


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlllm.launch.local.PACKAGES", ("no-such-package-at-all",))
    assert environment(Hardware("cpu", bf16=False, threads=1))["packages"] == {"no-such-package-at-all": None}


def test_a_resumed_run_keeps_what_was_measured_at_its_first_start() -> None:
    first = Hardware("cpu", bf16=False, threads=1, thread_seconds={1: 0.1, 2: 0.2}, onednn=True)
    again = prepare(json.loads(json.dumps(environment(first))))
    assert (again.threads, dict(again.thread_seconds), again.onednn) == (1, {1: 0.1, 2: 0.2}, True)


def test_a_run_from_before_products_were_measured_resumes_without_them() -> None:
    assert not prepare({"threads": 1}).onednn
