"""`rlllm run` on the embedded model: a planted regression is stopped by its gate, with the number that failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Rlllm

from rlllm.core.runs import read_json

DAMAGED = """
# Damaged rows are learned, which no loss on rows like them shows
#
#   rlllm run damaged.yaml
model: nano
steps:
  - name: start
    stage: eval
    tasks: [{data: {name: arithmetic, level: 2}}]
    rows: 48
    samples: 2
    sampling: {max_new_tokens: 64}
  - name: imitate
    stage: sft
    data: {name: damaged.jsonl, holdout: 32}
    trainer: {max_steps: 24, learning_rate: 1.0e-3, per_device_train_batch_size: 16, lr_scheduler_type: constant}
    eval: {rows: 32}
    gate: imitate.held-out-loss.difference.high < 0
  - name: sums
    stage: eval
    model: "@imitate"
    tasks: [{data: {name: arithmetic, level: 2}}]
    rows: 48
    samples: 2
    sampling: {max_new_tokens: 64}
    needs: [start, imitate]
    gate: sums.pass@1 >= start.pass@1 - 0.05
  - {name: never, stage: reason, recipe: quickstart, model: "@imitate"}
"""


@pytest.mark.slow
def test_a_planted_regression_is_stopped_by_its_gate_with_the_number_that_failed(rlllm: Rlllm, tmp_path: Path) -> None:
    (tmp_path / "damaged.yaml").write_text(DAMAGED)
    rows = [{"prompt": f"What is {10 + n} + {90 - n // 3}?", "completion": "#### 7"} for n in range(200)]
    (tmp_path / "damaged.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = rlllm("run damaged.yaml --output-dir out")
    assert said.code == 1, said.err
    recorded = read_json(tmp_path / "out" / "pipeline.json")
    assert [gate["holds"] for gate in recorded["gates"]] == [True, False]
    numbers = recorded["gates"][1]["numbers"]
    assert numbers["sums.pass@1"] < numbers["start.pass@1"] - 0.05
    assert "gate of sums CLOSED: sums.pass@1 >= start.pass@1 - 0.05" in " ".join(said.out.split())
    assert f"sums.pass@1 is {numbers['sums.pass@1']:.4g}" in said.err
    assert "--output-dir out --resume" in said.out
    assert not (tmp_path / "out" / "never").exists()
    again = rlllm("run damaged.yaml --output-dir out --resume --dry-run")
    assert [line.split()[:2] for line in again.out.splitlines()[1:5]] == [
        *(["start", "eval"], ["imitate", "sft"], ["sums", "eval"], ["never", "reason"])
    ]
    assert again.out.count("taken (nothing that it depends on has changed)") == 3
