"""What is typed after `rlllm eval`: tasks of every kind, samples, the baseline and the cache."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from command_line import Rlllm

TASK = Path(__file__).resolve().parents[1] / "fixtures" / "lm_eval" / "sums_choice.yaml"


def test_samples_and_rows_say_what_they_can_detect(rlllm: Rlllm, model: str) -> None:
    detects = {}
    for samples, rows in [(1, 16), (4, 16), (1, 256)]:
        said = rlllm(f"eval arithmetic --model {model} --samples {samples} rows={rows} --dry-run --json")
        assert said.code == 0, said.err
        assert said.json["completions"] == samples * rows
        detects[samples, rows] = said.json["detects"]["arithmetic"]
    assert detects[1, 256] < detects[4, 16] < detects[1, 16]


@pytest.mark.skipif(find_spec("lm_eval") is None, reason="pip install 'rlllm[lm-eval]'")
def test_a_task_file_of_the_harness_is_a_task_and_no_recipe(rlllm: Rlllm, model: str) -> None:
    said = rlllm(f"eval {shlex.quote(f'lm-eval:{TASK}')} arithmetic --model {model} --dry-run --json")
    assert said.code == 0, said.err
    names = [(task["name"], task["metric"]) for task in said.json["tasks"]]
    assert names == [("lm-eval:rlllm_sums_choice", "lm-eval"), ("arithmetic", "pass")]


def test_a_setting_is_not_given_twice(rlllm: Rlllm, model: str) -> None:
    for words in ("--samples 2 samples=3", "--no-cache cache=true", "--baseline nano baseline=nano"):
        said = rlllm(f"eval arithmetic --model {model} --dry-run {words}")
        assert said.code == 2
        assert "is given twice" in said.err


def test_an_evaluation_is_the_baseline_of_the_next(rlllm: Rlllm, tiny_model: str, tmp_path: Path) -> None:
    words = f"eval arithmetic --model {tiny_model} --samples 1 rows=4 max_new_tokens=2 --no-cache --json --output-dir"
    assert rlllm(f"{words} {tmp_path}/one").code == 0
    said = rlllm(f"{words} {tmp_path}/two --baseline {tmp_path}/one")
    assert said.code == 0, said.err
    assert said.json["results"]["tasks"]["arithmetic"]["values"]["over one"]["estimate"] == 0
