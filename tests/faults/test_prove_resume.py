"""`rlllm runs prove-resume` kills real processes, and tells a run that resumes to the bit from one that does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_files import VERBS

import rlllm_cli.main
from rlllm.core.errors import RunDirectoryError
from rlllm.core.runs import write_json
from rlllm.tools.resume_proof.kills import PARTS, Life, Moments, part_of
from rlllm.tools.resume_proof.prove import prove_resume

BY_PROCESS = '''
import os


def by_process(sample):
    """Worth another number in every process."""
    return len(sample.completion) + os.getpid() % 1009 / 1009
'''


def made(verb: str, model: str, folder: Path, **settings: Any) -> Path:
    common = {
        "model": model,
        "data": {"name": "arithmetic", "rows": 8, "holdout": 2},
        "eval": {"rows": 2},
        "max_steps": 4,
        "save_steps": 2,
        "learning_rate": 1e-2,
        "per_device_train_batch_size": 2,
    }
    VERBS[verb](output_dir=folder / "made", **{**common, **settings})
    return folder / "made"


def rollouts(folder: Path, reward: str) -> dict[str, Any]:
    (folder / "mine.py").write_text(BY_PROCESS)
    return {
        "rewards": [reward.replace("MINE", str(folder / "mine.py"))],
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 8,
    }


def test_a_run_that_was_killed_and_resumed_is_bit_equal(tiny_model: str, tmp_path: Path) -> None:
    proof = prove_resume(made("sft", tiny_model, tmp_path), kills=1, output_dir=tmp_path / "proof")
    assert (proof.difference, proof.equal, proof.repeats) == (None, True, True)
    assert len(proof.kills) == 1
    assert proof.files > 20
    assert (tmp_path / "proof" / "killed" / "run" / "model" / "model.safetensors").is_file()


@pytest.mark.slow
def test_a_loop_killed_in_many_parts_of_its_life_is_bit_equal(
    tiny_model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = rollouts(tmp_path, "exact") | {"method": "dapo", "rewards": ["exact", "format"], "beta": 0.1}
    run = made("reason", tiny_model, tmp_path, **settings, max_steps=8)
    capfd.readouterr()
    code = rlllm_cli.main.run(["runs", "prove-resume", str(run), "--kills", "6", "--seed", "1", "--json"])
    found = json.loads(capfd.readouterr().out)
    assert (code, found["equal"], found["difference"], found["folder"]) == (0, True, None, None)
    assert len(found["kills"]) == 6
    assert len({kill["part"] for kill in found["kills"]}) >= 3


@pytest.mark.slow
def test_a_run_that_is_another_in_every_process_is_not_and_the_first_difference_is_said(
    tiny_model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = made("reason", tiny_model, tmp_path, **rollouts(tmp_path, "MINE:by_process"))
    capfd.readouterr()
    code = rlllm_cli.main.run(["runs", "prove-resume", str(run), "--kills", "1"])
    printed = capfd.readouterr()
    assert code == 1
    assert "not equal after 1 SIGKILL" in printed.out
    assert "metrics.jsonl, step 1, " in printed.out
    assert "kept: " in printed.err


def test_what_cannot_be_repeated_is_refused_before_anything_starts(tmp_path: Path) -> None:
    for name, config, what in (
        ("sweep", {"stage": "sweep", "given": {"seeds": 2}, "settings": {}}, "a sweep is made of runs"),
        (
            "many",
            {"stage": "sft", "given": {"launch": "ddp", "model": "nano"}, "settings": {}},
            "several processes are not tried",
        ),
    ):
        write_json(tmp_path / name / "config.json", config)
        write_json(tmp_path / name / "status.json", {"state": "done"})
        with pytest.raises(RunDirectoryError, match=what):
            prove_resume(tmp_path / name)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    given = {"model": "nano", "data": "arithmetic"}
    write_json(tmp_path / "sft" / "config.json", {"stage": "sft", "given": given, "settings": given})
    write_json(tmp_path / "sft" / "status.json", {"state": "done"})
    with pytest.raises(RunDirectoryError, match="not empty"):
        prove_resume(tmp_path / "sft", output_dir=tmp_path / "full")


EVENTS = [
    (0.0, (".", "start", 0)),
    (2.0, (".", "loading", 0)),
    (4.0, (".", "measuring before", 0)),
    (5.0, (".", "training", 0)),
    (6.0, (".", "step", 1)),
    (7.0, (".", "step", 2)),
    (7.5, (".", "checkpoint", 2)),
    (8.0, (".", "saving", 2)),
]


def test_moments_come_from_every_part_of_a_life_in_the_order_in_which_it_passes() -> None:
    from random import Random

    moments = Moments(Life(EVENTS, seconds=9.0, code=0), Random(0))
    drawn = moments.draw(100)
    assert {part_of(moment.event) for moment in drawn} == set(PARTS)
    later = [moments.order[moment.event] for moment in drawn if part_of(moment.event) != "start"]
    assert later == sorted(later)
    lengths = dict(moments.spans)
    assert all(0 <= moment.delay <= lengths[moment.event] for moment in drawn)
