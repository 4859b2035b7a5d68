"""Roles with adapters of their own in a run: what is kept, how it is played again, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import rlllm
from rlllm.algorithms.dialogues.tracer import TRACER
from rlllm.algorithms.protocols import CONTEXT
from rlllm.core.errors import RlllmError
from rlllm.core.records import PromptTask, Sample
from rlllm.core.runs import Run, read_json, read_jsonl
from rlllm.policies.loading import load_policy, load_roles
from rlllm.policies.model_sources import resolve_model
from rlllm.policies.role_adapters import stored_roles
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.training.cost import cost_of

ROLES = ("proposer", "reviewer")
QUICK: dict[str, Any] = {"method": "tracer", "data": {"name": "arithmetic", "rows": 32, "holdout": 4}, "max_steps": 2}


PAID = '''
from rlllm.algorithms.dialogues.tracer import TRACER
from rlllm.plugins import Score

def odd(sample): return float(sum(sample.completion.encode()) % 2)

class Paid(TRACER):
    """Random text has no verdicts: reviews are paid by their bytes, so that reviewers learn something."""

    def score(self, sample):
        return Score(odd(sample)) if super().score(sample) else None
'''


@pytest.fixture
def train(tiny_model: str, tmp_path: Path) -> Callable[..., Run]:
    (tmp_path / "rewards.py").write_text(PAID)

    def call(name: str, **settings: Any) -> Run:
        given: dict[str, Any] = {
            "model": tiny_model,
            "rewards": [{"name": f"{tmp_path / 'rewards.py'}:odd", "deadline": 0}],
            "rollout": {"max_new_tokens": 10, "group_size": 4},
            "per_device_train_batch_size": 16,
            "learning_rate": 5e-2,
            "dialogue": {
                "name": f"{tmp_path / 'rewards.py'}:Paid",
                "marked": False,
                "history": 1,
                "floor": 1.0,
                "adapters": "per-role",
            },
            "lora": {"r": 4, "alpha": 8},
            "save_steps": 1,
            "eval": {"rows": 4, "samples": 2},
            **QUICK,
            **settings,
        }
        return rlllm.reason(output_dir=tmp_path / name, **given)

    return call


def name_of(run: Run) -> str:
    return str(read_json(run.model / "dialogue.json")["name"])


def test_a_run_keeps_an_adapter_for_each_role_and_is_played_again_with_them(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    run = train("trained")
    assert run.ok
    assert {row[CONTEXT]["role"] for row in run.samples()} == set(ROLES)
    last = run.checkpoints / "checkpoint-2"
    for role, saved in (("proposer", last), ("reviewer", last / "reviewer")):
        kept = load_file(run.model / "adapters" / role / "adapter_model.safetensors")
        expected = load_file(saved / "adapter_model.safetensors")
        assert kept.keys() == expected.keys()
        assert all(torch.equal(kept[name], expected[name]) for name in kept)
        assert any(value.any() for name, value in kept.items() if "lora_B" in name)
    stored = stored_roles(run.model, ROLES)
    assert stored is not None
    roles = load_roles(stored)
    alone = rlllm.evaluate(
        tasks=["arithmetic"], model=str(run.path), rows=4, max_new_tokens=10, output_dir=tmp_path / "a"
    )
    assert alone.ok
    merged = load_policy(resolve_model(str(run.path))).state_dict()
    inside = roles.merge_and_unload().state_dict()  # the first role's: what answers without a dialogue
    assert all(torch.allclose(inside[name], value, atol=1e-6) for name, value in merged.items())

    def turns(folder: Path, name: str, **settings: Any) -> list[dict[int, str]]:
        given = {"rows": 4, "samples": 1, "max_new_tokens": 10, "temperature": 0.0, **settings}
        evaluation = rlllm.evaluate(
            tasks=["arithmetic"],
            model=str(folder),
            output_dir=tmp_path / name,
            dialogue={"name": name_of(run), "controllers": False},
            **given,
        )
        items = read_jsonl(evaluation.path / "items.jsonl")
        said = [turn for item in items for dialogue in item["dialogues"] for turn in dialogue]
        return [{turn["turn"]: turn["text"]} for turn in said if turn["spoke"] and turn["turn"] < 3]

    first = turns(run.path, "first")
    assert turns(run.path, "again", cache=False) == first
    copy = tmp_path / "copy"
    shutil.copytree(run.model, copy)
    path = copy / "adapters" / "reviewer" / "adapter_model.safetensors"
    draw = torch.Generator().manual_seed(1)
    save_file({name: torch.randn(value.shape, generator=draw) for name, value in load_file(path).items()}, path)
    other = turns(copy, "other")  # with the cache: what a reviewer is belongs to its key
    assert [turn for turn in other if 1 in turn] == [turn for turn in first if 1 in turn]
    assert [turn for turn in other if 2 in turn] != [turn for turn in first if 2 in turn]


def test_a_model_whose_adapters_are_incomplete_is_refused_by_role(train: Callable[..., Run], tmp_path: Path) -> None:
    run = train("trained", eval={"rows": 0}, max_steps=1)
    shutil.rmtree(run.model / "adapters" / "reviewer")
    with pytest.raises(RlllmError, match="lacks the adapter of the reviewer"):
        rlllm.evaluate(
            tasks=["arithmetic"], model=str(run.path), rows=2, dialogue=name_of(run), output_dir=tmp_path / "b"
        )
    shared = {"name": name_of(run), "adapters": "shared"}
    given = {"model": str(run.path), "rows": 2, "samples": 1, "max_new_tokens": 8, "output_dir": tmp_path / "c"}
    assert rlllm.evaluate(tasks=["arithmetic"], dialogue=shared, **given).ok


def test_a_model_without_adapters_of_roles_is_not_played_by_them(tmp_path: Path) -> None:
    per_role = {"name": "tracer", "adapters": "per-role"}
    with pytest.raises(RlllmError, match="no adapters of proposer and reviewer"):
        rlllm.evaluate(tasks=["arithmetic"], model="nano", rows=2, dialogue=per_role, output_dir=tmp_path / "run")


def planned(**settings: Any) -> Any:
    given = {"model": "nano", "rewards": ["exact"], "per_device_train_batch_size": 16, "lora.r": 4, **QUICK}
    given |= {"dialogue.adapters": "per-role", **settings}
    return plan(resolve_settings("reason", {}, [(key, value) for key, value in given.items() if value is not None]))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"lora.r": None}, "trains all weights"),
    ({"dialogue.reviewer": False}, "no second role"),
    ({"dialogue.turns": 1}, "no second role"),
    ({"dialogue.adapters": "one"}, "adapters"),
    ({"method": "ppo", "dialogue.name": "tracer"}, "critic learns from rows of all roles"),
    ({"critic.share_backbone": True}, "other adapters would come between"),
    ({"top_entropy_quantile": 0.2}, "chosen over rows of all roles"),
    ({"entropy_coef": 0.01}, "entropy bonus"),
    ({"beta": 0.1, "sync_ref_model": True}, "does not move"),
    ({"dialogue": {"name": "stopping", "adapters": "per-role"}, "dialogue.adapters": None}, "adapters"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=[json.dumps(given) for given, _ in REFUSED])
def test_what_cannot_learn_by_role_is_refused_with_the_reason(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RlllmError, match=words):
        planned(**settings)


def test_a_loss_that_is_no_sum_over_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loss.py").write_text("def plain(logps, inputs): return -logps * inputs.advantages\n")
    with pytest.raises(RlllmError, match="no sum over rows"):
        planned(loss=f"{tmp_path / 'loss.py'}:plain")


def test_replays_are_spoken_by_the_role_of_each_turn() -> None:
    said: list[tuple[str, bool]] = []

    def speak(tasks: Sequence[PromptTask], role: str = "", /) -> list[Sample]:
        said.append((role, all("RIGHT or WRONG" in str(task.prompt) for task in tasks)))
        return [Sample(task.prompt, "RIGHT" if role == "reviewer" else "#### 4", tokens=1) for task in tasks]

    def judge(answers: Sequence[Sample]) -> list[bool]:
        return [answer.completion == "#### 4" for answer in answers]

    torch.manual_seed(0)
    part = TRACER(replays=2, adapters="per-role", controllers=False)
    contexts = part.contexts([PromptTask("2+2?", "4")] * 8, speak, judge)
    assert {context.role for context in contexts} == set(ROLES)
    assert [context.role for context in contexts] == [context.says["role"] for context in contexts]
    played = len(said)
    samples = [Sample(context.prompt, "#### 5", meta={CONTEXT: context.says}) for context in contexts for _ in range(2)]
    part.scores(samples, speak, judge)
    assert played == 5
    assert len(said) > played
    assert {role for role, _ in said[played:]} == set(ROLES)
    assert all(asks_for_review == (role == "reviewer") for role, asks_for_review in said)


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RlllmError, match="adapters of roles run in one process"):
        planned(per_device_train_batch_size=8)


def test_both_adapters_count_as_trained() -> None:
    numbers = []
    for given in ({}, {"dialogue.adapters": "shared"}):
        cost = cost_of(planned(**given))
        assert cost is not None
        assert cost.memory is not None
        numbers.append(cost.memory.trained)
    both, one = numbers
    assert both == 2 * one
