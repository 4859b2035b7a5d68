"""What was left out of the data stands in the plan and in the lineage of the run that it trained."""

from __future__ import annotations

import json
from pathlib import Path

import rlllm
from rlllm.core.runs import read_json


def test_the_lineage_counts_the_rows_that_were_skipped_and_shows_the_first(tiny_model: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"{n} + 0 =", "completion": str(n)} for n in range(4)]
    path = tmp_path / "rows.jsonl"
    path.write_text("oops\n" + "".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "5 + 0 ="}]))
    run = rlllm.sft(
        model=tiny_model,
        data={"name": str(path), "on_bad_row": "skip"},
        max_steps=1,
        eval={"rows": 0},
        output_dir=tmp_path / "run",
    )
    data = read_json(run.path / "lineage.json")["data"]
    assert (data["train"], data["skipped"], data["undecided"]) == (4, 2, 0)
    assert [place.split(" of ")[0] for place in data["skipped_examples"]] == [
        "broken JSON at line 1, column 1: Expecting value",
        "completion at line 6",
    ]
    assert data["source"].endswith("4 training rows, 2 bad rows skipped")
