"""The choice of the matrix product: a measured yes or no, and no where the operator is missing."""

from __future__ import annotations

import pytest
import torch

from rlllm.launch import onednn
from rlllm.launch.local import environment, prepare


def test_a_margin_nothing_can_reach_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "MARGIN", 1e9)
    assert not onednn.onednn_pays()


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_no_margin_at_all_is_a_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "MARGIN", 0.0)
    assert onednn.onednn_pays()


@pytest.mark.parametrize("onednn", [True, False])
def test_a_resumed_run_computes_as_its_first_start_did(onednn: bool) -> None:
    before = torch.get_num_threads()
    try:
        hardware = prepare({"threads": 1, "onednn": onednn})
        assert (hardware.threads, hardware.onednn) == (1, onednn)
        assert environment(hardware)["onednn"] is onednn
    finally:
        torch.set_num_threads(before)
