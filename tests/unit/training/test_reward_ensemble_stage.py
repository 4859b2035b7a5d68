"""`train-rm` for pairs, alone and as an ensemble: cards, members as runs of their own, resume, and what is refused."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError, DataError, ModelError
from rlllm.core.runs import Run, file_hash, read_json
from rlllm.rewards.models.ensemble import read_ensemble

DATA = {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 12}
Train = Callable[..., Run]


@pytest.fixture(scope="module")
def train(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Train:
    root = tmp_path_factory.mktemp("runs")

    def call(name: str, method: str = "ensemble", **settings: Any) -> Run:
        settings = {"learning_rate": 1e-2, "max_steps": 2, "data": DATA, **settings}
        if method == "ensemble":
            settings.setdefault("members", 2)
        return rlllm.train_rm(model=tiny_model, method=method, output_dir=root / name, **settings)

    return call


@pytest.fixture(scope="module")
def ensemble(train: Train) -> Run:
    return train("ensemble")


def codes(run: Run) -> list[str]:
    return [reason["code"] for reason in run.verdict["reasons"]]


def test_every_member_is_a_run_of_its_own_with_its_own_head(ensemble: Run) -> None:
    members = [Run(ensemble.path / "members" / number) for number in "12"]
    assert ensemble.ok
    assert all(member.ok and (member.path / "card.json").exists() for member in members)
    assert [member.config["settings"]["seed"] for member in members] == [0, 1]
    first, second = (file_hash(member.model / "model.safetensors") for member in members)
    assert first != second
    assert [member.folder.resolve() for member in read_ensemble(ensemble.model)] == [m.model for m in members]
    assert [path.name for path in ensemble.model.iterdir()] == ["ensemble.json"]


def test_the_ensemble_has_verdict_results_card_report_and_lineage(ensemble: Run) -> None:
    diagnostics = ensemble.verdict["diagnostics"]
    assert (diagnostics["steps_done"], diagnostics["steps_requested"], diagnostics["weights_changed"]) == (4, 4, True)
    names = [row["name"] for row in ensemble.results["measures"]]
    assert names == ["pair accuracy", "pair accuracy, one member -> ensemble", "ECE", "length correlation"]
    card = read_json(ensemble.path / "card.json")
    assert card["pairs"] == 12
    assert card["rows"][0]["value"]["estimate"] == ensemble.results["measures"][0]["after"]["estimate"]
    invariances = {row["name"]: row["value"]["estimate"] for row in card["rows"] if "dependence" in row["name"]}
    assert max(invariances.values()) < 1e-4
    assert read_json(ensemble.path / "lineage.json")["members"] == ["members/1", "members/2"]
    page = (ensemble.path / "report.html").read_text()
    assert "Reward model card" in page
    assert "padding dependence" in page


def test_a_member_is_what_training_alone_with_its_seed_gives(ensemble: Run, train: Train) -> None:
    alone = train("alone", "bt", seed=1)
    member = Run(ensemble.path / "members" / "2")
    assert file_hash(alone.model / "model.safetensors") == file_hash(member.model / "model.safetensors")
    assert read_json(alone.path / "card.json") == read_json(member.path / "card.json")


def test_an_evaluation_gives_the_card_of_an_ensemble_and_of_one_model(ensemble: Run, tmp_path: Path) -> None:
    for name, model in (("whole", ensemble.path), ("one", ensemble.path / "members" / "1")):
        run = rlllm.evaluate(model=str(model), tasks=["rm"], data=DATA, rows=12, output_dir=tmp_path / name)
        (task,) = run.results["tasks"].values()
        assert run.ok
        assert set(task["values"]) == {"pair accuracy", "ECE", "length correlation"}
        assert task["card"] == read_json(model / "card.json")
        assert "Reward model card" in (run.path / "report.html").read_text()


def test_resume_keeps_members_that_are_done_and_trains_the_others(ensemble: Run, train: Train) -> None:
    again = shutil.copytree(ensemble.path, ensemble.path.parent / "again")
    kept = again / "members" / "1" / "model" / "model.safetensors"
    before = (kept.stat().st_mtime_ns, file_hash(again / "members" / "2" / "model" / "model.safetensors"))
    shutil.rmtree(again / "members" / "2")
    shutil.rmtree(again / "model")
    run = train("again", resume=True)
    assert run.ok
    assert (kept.stat().st_mtime_ns, file_hash(again / "members" / "2" / "model" / "model.safetensors")) == before
    assert len(read_ensemble(run.model)) == 2


def test_a_member_that_fails_ends_the_ensemble_with_its_reason(train: Train) -> None:
    run = train("failed", learning_rate=0.0)
    assert codes(run)[0] == "error"
    assert run.verdict["reasons"][0]["text"].startswith("member 1 of 2 failed: the model's weights are the ones")
    assert not (run.path / "members" / "2").exists()
    assert not run.model.exists()


@pytest.mark.parametrize(("method", "code"), [("bt", "non_finite"), ("ensemble", "error")])
def test_a_model_that_diverges_has_a_verdict_and_no_card(method: str, code: str, train: Train) -> None:
    run = train(f"diverged-{method}", method, learning_rate=1e20, max_steps=3, max_grad_norm=0.0)
    assert not run.ok
    assert code in codes(run)
    assert "NaN" in " ".join(reason["text"] for reason in run.verdict["reasons"])
    assert not (run.path / "card.json").exists()


def test_hopeless_pairs_are_found_before_any_member_is_trained(train: Train, tmp_path: Path) -> None:
    path = tmp_path / "same.jsonl"
    path.write_text('{"prompt": "a", "chosen": "x", "rejected": "x"}\n' * 8)
    run = train("untrainable", data=str(path))
    assert codes(run)[0] == "identical_pairs"
    assert not (run.path / "members").exists()


def test_without_held_out_pairs_there_is_no_card_and_the_ensemble_still_works(train: Train) -> None:
    run = train("bare", data={**DATA, "holdout": 0})
    assert run.ok
    assert not (run.path / "card.json").exists()
    assert len(read_ensemble(run.model)) == 2


@pytest.mark.parametrize("method", ["bt", "ensemble"])
def test_pairs_with_and_without_a_margin_are_refused(method: str, train: Train, tmp_path: Path) -> None:
    rows = [{"prompt": f"say {i}", "chosen": "yes", "rejected": "no", "margin": 1.0 if i else None} for i in range(8)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="some have none"):
        train(f"mixed-{method}", method, data=str(path))


def test_a_margin_makes_the_same_pairs_harder(train: Train) -> None:
    """The loss of the first step, before anything was learned, grows with the margin."""
    data = [{**DATA, "params": {"margin": margin}} for margin in (False, True)]
    without, with_margin = (train(f"margin-{i}", "bt", data=given).metrics()[0]["loss"] for i, given in enumerate(data))
    assert with_margin > without


class StopsAtFirstStep:
    """A listener that presses Ctrl-C when the first step has run."""

    def started(self, stage: str, total_steps: int, run: Path) -> None: ...
    def phase(self, name: str) -> None: ...
    def note(self, text: str) -> None: ...
    def finished(self, run: Path) -> None: ...
    def step(self, step: int, values: Mapping[str, float]) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interrupted_ensemble_continues_with_its_first_unfinished_member(ensemble: Run, train: Train) -> None:
    stopped = train("stopped", progress=StopsAtFirstStep())
    assert stopped.status["state"] == "interrupted"
    assert codes(stopped) == ["interrupted"]
    assert not (stopped.path / "members" / "2").exists()
    resumed = train("stopped", resume=True)
    assert resumed.ok
    for number in "12":
        first, second = (run.path / "members" / number / "model" / "model.safetensors" for run in (ensemble, resumed))
        assert file_hash(first) == file_hash(second)


def test_an_ensemble_needs_two_members_and_is_no_model_to_start_from(ensemble: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="members"):
        rlllm.train_rm(model="nano", method="ensemble", members=1, output_dir=tmp_path / "one")
    with pytest.raises(ModelError, match="only scores"):
        rlllm.align(model=str(ensemble.path), output_dir=tmp_path / "align")


def test_ensembles_of_different_seeds_share_no_member() -> None:
    from rlllm.stages.catalog import plan, resolve_settings
    from rlllm.training.trainers.rm_ensemble import member_plan

    seeds = []
    for seed in (0, 1):
        values = {"method": "ensemble", "members": 3, "seed": seed, "data": {"name": "arithmetic", "rows": 2}}
        planned: Any = plan(resolve_settings("train-rm", values))
        seeds += [member_plan(planned, number, Path("x")).config.seed for number in (1, 2, 3)]
    assert seeds == [0, 1, 2, 3, 4, 5]
