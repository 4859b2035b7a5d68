"""A sweep measures a start model once where runs measure it alike; the numbers are those of runs that measure alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.runs import Run, read_json

REWARD = """
def letters(sample):
    return float(sum(sample.completion.encode()) % 9)
"""
BUILT_IN: list[dict[str, Any]] = [{"name": "exact"}, {"name": "repetition", "weight": 0.1}]
VERBS: dict[str, dict[str, Any]] = {
    "reason": {"rewards": BUILT_IN, "rollout": {"max_new_tokens": 4, "group_size": 2}, "stop_when_flat": 0},
    "sft": {"eval_reward": "exact", "rollout": {"max_new_tokens": 4}},
    "align": {"method": "dpo", "rollout": {"max_new_tokens": 4}},
    "train-rm": {},
}
ARMS: dict[str, Any] = {"first": {}, "second": {"learning_rate": 2e-3}}


def recipe(tiny_model: str, verb: str, **more: Any) -> dict[str, Any]:
    settings = {
        "model": tiny_model,
        "data": {"name": "arithmetic", "rows": 8, "holdout": 4},
        "eval": {"rows": 4},
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "hardware": {"threads": 1, "matmul": "torch"},
        **VERBS[verb],
    }
    return {"stage": verb, "equal": "none", "settings": settings, "arms": ARMS, "seeds": 1, **more}


def same_run(run: Run, other: Run) -> None:
    """All that two runs of the same settings measured and learned is equal."""
    for name in ("measured_before.json", "measured_after.json", "results.json", "samples.jsonl", "before_after.jsonl"):
        files = [folder.path / name for folder in (run, other)]
        assert [path.exists() for path in files] in ([True, True], [False, False])
        assert not files[0].exists() or files[0].read_bytes() == files[1].read_bytes(), name
    logs = [[{**row, "time": 0, "tokens_per_second": 0} for row in folder.metrics()] for folder in (run, other)]
    timeless = [
        [{key: row[key] for key in row if "time" not in key and "second" not in key} for row in log] for log in logs
    ]
    assert timeless[0] == timeless[1]
    assert run.verdict == other.verdict
    assert (run.model / "model.safetensors").read_bytes() == (other.model / "model.safetensors").read_bytes()


@pytest.mark.parametrize("verb", VERBS)
def test_runs_that_share_a_measurement_are_those_that_measure_alone(tiny_model: str, tmp_path: Path, verb: str) -> None:
    given = recipe(tiny_model, verb)
    swept = rlllm.sweep(given, tmp_path / "sweep")
    assert swept.ok
    assert len(list((swept.path / "measured").iterdir())) == 1
    alone = getattr(rlllm, verb.replace("-", "_"))(
        output_dir=tmp_path / "alone", **{**given["settings"], **ARMS["second"], "seed": 0}
    )
    same_run(Run(swept.path / "second" / "seed-0"), alone)


def test_a_resumed_sweep_takes_the_measurement_that_is_there(tiny_model: str, tmp_path: Path) -> None:
    given = recipe(tiny_model, "reason")
    swept = rlllm.sweep(given, tmp_path / "sweep")
    shutil.copytree(swept.path / "second", tmp_path / "before")
    (kept,) = (swept.path / "measured").iterdir()
    stamp = kept.stat().st_mtime_ns
    shutil.rmtree(swept.path / "second")
    again = rlllm.sweep(given, tmp_path / "sweep", resume=True)
    assert again.ok
    assert kept.stat().st_mtime_ns == stamp
    same_run(Run(again.path / "second" / "seed-0"), Run(tmp_path / "before" / "seed-0"))


OTHERS: list[dict[str, Any]] = [
    {"temperature": 0.5},
    {"rollout": {"max_new_tokens": 3, "group_size": 2}},
    {"eval": {"rows": 3}},
    {"data": {"name": "arithmetic", "rows": 8, "holdout": 3}},
    {"rewards": [{"name": "exact"}]},
    {"lora": {"r": 2}},
]


def test_runs_that_measure_otherwise_do_not_share(tiny_model: str, tmp_path: Path) -> None:
    arms = {"first": {}, **{f"other-{number}": settings for number, settings in enumerate(OTHERS)}}
    swept = rlllm.sweep(recipe(tiny_model, "reason", arms=arms), tmp_path / "sweep")
    assert len(list((swept.path / "measured").iterdir())) == 1 + len(OTHERS)


def test_every_seed_has_a_measurement_of_its_own(tiny_model: str, tmp_path: Path) -> None:
    swept = rlllm.sweep(recipe(tiny_model, "reason", seeds=2), tmp_path / "sweep")
    assert len(list((swept.path / "measured").iterdir())) == 2


def test_rewards_of_users_are_measured_by_every_run(tiny_model: str, tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_text(REWARD)
    own = {"name": f"{tmp_path / 'rewards.py'}:letters"}
    for number, rewards in enumerate(([own], [{"name": "cosine", "reward": own, "limit": 9}])):
        given = recipe(tiny_model, "reason")
        given["settings"]["rewards"] = rewards
        swept = rlllm.sweep(given, tmp_path / str(number))
        assert swept.ok, json.dumps(read_json(swept.path / "verdict.json"))
        assert not (swept.path / "measured").exists()


def test_a_token_is_in_no_file_of_a_sweep(tiny_model: str, tmp_path: Path) -> None:
    given = recipe(tiny_model, "sft", arms={"first": {}, "second": {"hub_token": "hf_s3cret_of_an_arm"}})
    given["settings"] |= {"hub_token": "hf_s3cret", "save_steps": 1}
    swept = rlllm.sweep(given, tmp_path / "sweep")
    assert swept.ok
    written = [path for path in swept.path.rglob("*") if path.is_file()]
    assert any(path.name == "training_args.bin" for path in written)
    assert [path for path in written if b"hf_s3cret" in path.read_bytes()] == []
