"""With nothing set but model and data, the embedded model learns a task that no recipe names."""

from pathlib import Path

import pytest

import rlllm
from rlllm.core.runs import Run

PRODUCTS = {"name": "gym:products", "params": {"max_digits": 2}}


@pytest.mark.slow
def test_reason_with_model_and_data_alone_rises_by_more_than_its_interval(nano: str, tmp_path: Path) -> None:
    start = rlllm.sft(model=nano, data=PRODUCTS, max_steps=40, output_dir=tmp_path / "sft")
    run: Run = rlllm.reason(model=str(start.path), data=PRODUCTS, output_dir=tmp_path / "reason")
    (measure,) = (row for row in run.results["measures"] if row["name"] == "pass@1")
    assert run.ok
    assert measure["difference"]["low"] > 0
