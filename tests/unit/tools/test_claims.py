"""Claims: a run packed, run again, and judged; what is changed, missing or undecided is called so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError, RunDirectoryError
from rlllm.core.runs import Run
from rlllm.tools.claims.agreement import NOT_REPRODUCED, REPRODUCED, UNDECIDED
from rlllm.tools.claims.claim_file import read_claim, sealed
from rlllm.tools.claims.verify import check, verify

SETTINGS: dict[str, Any] = {
    "rollout": {"max_new_tokens": 4, "group_size": 2},
    "eval": {"rows": 4, "samples": 2},
    "max_steps": 3,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "linear",
    "stop_when_flat": 0,
}
REWARD = '''
def odd(sample):
    """Half of all completions pass, and few get the same."""
    total = sum(sample.completion.encode())
    return 1.0 if total % 2 else total % 7 / 10
'''
ROWS = [{"prompt": f"What is {n} + {n + 1}?", "answer": str(2 * n + 1)} for n in range(24)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a reward, and a file of problems."""
    folder = tmp_path_factory.mktemp("claims")
    (folder / "rewards.py").write_text(REWARD)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return folder


@pytest.fixture(scope="module")
def run(place: Path, tiny_model: str) -> Run:
    """A run of three steps on a user's file, with a user's reward."""
    rewards = [{"name": f"{place / 'rewards.py'}:odd", "deadline": 0}]
    data = {"name": str(place / "rows.jsonl"), "holdout": 4}
    made = rlllm.reason(model=tiny_model, data=data, rewards=rewards, output_dir=place / "run", **SETTINGS)
    assert made.verdict["diagnostics"]["steps_done"] == 3
    return made


@pytest.fixture(scope="module")
def claimed(run: Run, place: Path) -> Path:
    rlllm.claim(run.path, place / "claim.json")
    return place / "claim.json"


@pytest.fixture
def changed(claimed: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes the claim with changes, its checksum made anew unless told otherwise."""

    def write(change: Callable[[dict[str, Any]], None], *, seal: bool = True) -> Path:
        document = json.loads(claimed.read_text())
        change(document)
        checksum = document.pop("checksum")
        document = sealed(document) if seal else {**document, "checksum": checksum}
        (tmp_path / "claim.json").write_text(json.dumps(document))
        return tmp_path / "claim.json"

    return write


def elsewhere(document: dict[str, Any]) -> None:
    """Made with another torch, whose first loss was another one."""
    document["shared"]["environment"]["packages"]["torch"] = "1.0"
    document["rows"][0]["series"][0]["loss"] += 1e-9
    document["rows"][0]["weights"] = {"model.safetensors": "0" * 64}


def test_a_claim_holds_what_a_second_run_needs(claimed: Path, run: Run, place: Path) -> None:
    (row,) = read_claim(claimed).rows
    assert (row.name, row.stage, row.seed, row.steps) == ("run", "reason", 0, 3)
    assert row.settings["trainer"]["learning_rate"] == 1e-2
    assert "output_dir" not in row.settings
    assert set(row.files) == {str(place / "rows.jsonl"), f"{place / 'rewards.py'}:odd"}
    assert [line["step"] for line in row.series] == [1, 2, 3]
    assert {"loss", "grad_norm", "reward", "num_tokens"} <= row.series[0].keys()
    assert row.measures == run.results["measures"]
    assert len(row.scores) == 4
    assert row.samples["count"] == 12
    assert row.environment["threads"] == 1
    assert row.environment["code"]
    assert claimed.stat().st_size < 20_000


def test_the_first_steps_are_repeated_bit_for_bit(claimed: Path, tmp_path: Path) -> None:
    done = verify(claimed, quick=True, steps=2, output_dir=tmp_path)
    assert done.verdict == REPRODUCED
    assert done.rows[0].why == "bit for bit up to step 2 of 3"
    assert done.rows[0].differences == {}
    again = Run(tmp_path / "run")
    assert [row["step"] for row in again.metrics()] == [1, 2]
    assert not again.model.exists()


def test_a_whole_run_is_repeated_bit_for_bit(claimed: Path) -> None:
    done = verify(claimed)
    assert (done.verdict, done.rows[0].why[:11]) == (REPRODUCED, "bit for bit")


@pytest.mark.parametrize("quick", [True, False])
def test_another_setting_is_not_reproduced(changed: Callable[..., Path], quick: bool) -> None:
    file = changed(lambda document: document["shared"]["settings"]["trainer"].update(learning_rate=2e-2))
    done = verify(file, quick=quick)
    assert done.verdict == NOT_REPRODUCED
    assert "on the same versions and hardware" in done.rows[0].why


def test_other_bits_on_other_versions_decide_nothing_by_first_steps(changed: Callable[..., Path]) -> None:
    (row,) = verify(changed(elsewhere), quick=True).rows
    assert row.verdict == UNDECIDED
    assert row.differences.keys() == {"torch"}
    assert row.why.startswith("loss differs at step 1")
    assert row.why.endswith("as it may where torch differ; leave out --quick")


def test_other_bits_on_other_versions_are_compared_by_the_measure(changed: Callable[..., Path]) -> None:
    near = verify(changed(elsewhere), margin=2.0).rows[0]
    assert near.verdict == REPRODUCED
    assert near.agreement is not None
    assert (near.agreement["margin"], near.agreement["problems"]) == (2.0, 4)
    far = changed(lambda document: (elsewhere(document), document["rows"][0].update(scores=[9.0, 9.1, 9.2, 9.3])))
    assert verify(far, margin=0.5).verdict == NOT_REPRODUCED
    wide = changed(lambda document: (elsewhere(document), document["rows"][0].update(scores=[5.0, -5.0, 5.0, -5.0])))
    assert verify(wide, margin=0.5).verdict == UNDECIDED


@pytest.mark.parametrize(
    ("change", "seal", "message"),
    [
        (lambda document: document["rows"][0].update(ok=False), False, "changed after it was made"),
        (lambda document: document.update(version=9), True, "another version of the format"),
        (lambda document: document.update(format="other"), True, "no claim in this file"),
    ],
)
def test_a_file_that_was_changed_or_is_none_is_refused(
    changed: Callable[..., Path], change: Callable[[dict[str, Any]], None], seal: bool, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_claim(changed(change, seal=seal))


def test_a_file_that_is_not_there_or_not_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the claim"):
        read_claim(tmp_path / "nothing.json")
    (tmp_path / "text.json").write_text("text")
    with pytest.raises(ConfigError, match="not JSON"):
        read_claim(tmp_path / "text.json")
    with pytest.raises(RunDirectoryError, match="no finished training run to claim"):
        rlllm.claim(tmp_path)


@pytest.mark.parametrize("name", ["rows.jsonl", "rewards.py"])
def test_files_of_the_user_that_are_missing_or_changed_are_refused(claimed: Path, place: Path, name: str) -> None:
    claim, file = read_claim(claimed), place / name
    before = file.read_bytes()
    try:
        file.write_bytes(before + b"\n")
        with pytest.raises(ConfigError, match="that run needs has changed"):
            check(claim, claim.rows[0])
        file.unlink()
        with pytest.raises(ConfigError, match="that run needs is missing"):
            check(claim, claim.rows[0])
    finally:
        file.write_bytes(before)
    check(claim, claim.rows[0])


def test_data_or_a_model_that_are_others_are_refused(changed: Callable[..., Path]) -> None:
    for part, change in (
        ("data", lambda row: row["data"].update(hash="x")),
        ("model", lambda row: row.update(model="x")),
    ):
        claim = read_claim(changed(lambda document, change=change: change(document["rows"][0])))
        with pytest.raises(ConfigError, match=f"the {part} of run is not what it was"):
            check(claim, claim.rows[0])


def test_a_row_that_the_claim_lacks_is_refused(claimed: Path) -> None:
    with pytest.raises(ConfigError, match="no such row"):
        verify(claimed, rows=["other"])
    with pytest.raises(ConfigError, match="not by both"):
        verify(claimed, rows=["run"], count=2)


def test_a_run_that_another_one_starts_from_is_made_again_where_it_is_gone(
    run: Run, place: Path, tmp_path: Path
) -> None:
    data = {"name": str(place / "rows.jsonl"), "holdout": 4}
    rewards = [{"name": f"{place / 'rewards.py'}:odd", "deadline": 0}]
    first = tmp_path / "first"
    shutil.copytree(run.path, first)
    second = rlllm.reason(model=str(first), data=data, rewards=rewards, output_dir=tmp_path / "second", **SETTINGS)
    rlllm.claim(second.path, tmp_path / "claim.json")
    claim = read_claim(tmp_path / "claim.json")
    assert claim.claims == ["second"]
    assert claim.row("second").needs == {str(first): claim.rows[0].name}
    shutil.rmtree(first)
    assert verify(tmp_path / "claim.json", quick=True).verdict == REPRODUCED


def test_a_claim_of_a_sweep_has_a_row_for_every_run(tiny_model: str, place: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "model": tiny_model, "data": {"name": str(place / "rows.jsonl"), "holdout": 4}}
    rewards = [{"name": f"{place / 'rewards.py'}:odd", "deadline": 0}]
    recipe = {"stage": "reason", "seeds": 2, "settings": {**settings, "rewards": rewards, "max_steps": 1}}
    rlllm.sweep({**recipe, "axes": {"method": ["grpo", "rloo"]}}, output_dir=tmp_path / "sweep")
    rlllm.claim(tmp_path / "sweep", tmp_path / "claim.json")
    claim = read_claim(tmp_path / "claim.json")
    assert claim.claims == [f"{method}/seed-{seed}" for method in ("grpo", "rloo") for seed in (0, 1)]
    assert [row.name for row in claim.spread(3)] == ["grpo/seed-0", "rloo/seed-0", "grpo/seed-1"]
    assert claim.row("rloo").name == "rloo/seed-0"
    done = verify(tmp_path / "claim.json", count=2, quick=True)
    assert [(row.name, row.verdict) for row in done.rows] == [("grpo/seed-0", REPRODUCED), ("rloo/seed-0", REPRODUCED)]


def test_a_folder_of_runs_and_pipelines_is_claimed_as_a_whole(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "all" / "alone")
    shutil.copytree(run.path, tmp_path / "all" / "piped" / "reason")
    (tmp_path / "all" / "piped" / "pipeline.json").write_text(json.dumps({"steps": {"reason": "elsewhere/reason"}}))
    rlllm.claim(tmp_path / "all", tmp_path / "claim.json")
    assert read_claim(tmp_path / "claim.json").claims == ["alone", "piped/reason"]
