"""Methods of recorded preferences: each trains, and what cannot work is refused before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import rlllm
from rlllm.algorithms.registry import METHODS
from rlllm.core.errors import ConfigError, DataError, UnknownNameError
from rlllm.core.runs import Run, read_json
from rlllm.training.registry import trainer_of
from rlllm.training.trainers import dpo, kto

OFFLINE = sorted(
    name
    for name in METHODS.builtins
    if METHODS.load(name).stages == ("align",) and not trainer_of(METHODS.load(name)).samples
)
WORLD = {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 0, "params": {"reference": True}}


@pytest.fixture
def align(tiny_model: str, tmp_path: Path) -> Callable[..., Run]:
    """Two quick steps of `rlllm align` on the procedural world; settings override."""

    def call(method: str, **settings: Any) -> Run:
        common: dict[str, Any] = {
            "model": tiny_model,
            "data": WORLD,
            "max_steps": 2,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
            "output_dir": tmp_path / "run",
        }
        return rlllm.align(method=method, **common | settings)

    return call


@pytest.fixture
def write(tmp_path: Path) -> Callable[[list[dict[str, Any]]], str]:
    def call(rows: list[dict[str, Any]]) -> str:
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return call


@pytest.mark.parametrize("name", OFFLINE)
def test_every_method_trains(align: Callable[..., Run], name: str) -> None:
    run = align(name)
    assert (run.ok, [reason["code"] for reason in run.verdict["reasons"]]) == (True, ["not_measured"])
    assert [row["step"] for row in run.metrics()] == [1, 2]
    assert run.verdict["diagnostics"]["largest_gradient"] > 0


@pytest.mark.parametrize("name", ["kto", "orpo", "simpo", "tpo"])
def test_every_trainer_takes_adapters(align: Callable[..., Run], name: str) -> None:
    assert align(name, lora={"r": 2}).ok


@pytest.mark.parametrize("name", ["dpo", "kto", "rrhf", "tpo"])
def test_every_trainer_measures_held_out_prompts(align: Callable[..., Run], name: str) -> None:
    data = {**WORLD, "holdout": 2}
    run = align(name, data=data, max_steps=1, eval={"rows": 2, "samples": 1}, rollout={"max_new_tokens": 4})
    assert run.results["measures"]


def test_a_mixture_of_losses_is_their_weighted_sum(align: Callable[..., Run]) -> None:
    first = {}
    for losses, weights in ((["sigmoid"], [1.0]), (["sft"], [1.0]), (["sigmoid", "sft"], [1.0, 0.5])):
        run = align("dpo", loss_type=losses, loss_weights=weights, max_steps=1, overwrite=True)
        first[len(losses), losses[0]] = next(iter(run.metrics()))["loss"]
    assert first[2, "sigmoid"] == pytest.approx(first[1, "sigmoid"] + 0.5 * first[1, "sft"], rel=1e-4)


def test_ranking_and_imitation_add_up(align: Callable[..., Run]) -> None:
    row = next(iter(align("rrhf", max_steps=1, per_device_train_batch_size=1).metrics()))
    ranking = max(0.0, row["logps/rejected"] - row["logps/chosen"])
    assert row["loss"] == pytest.approx(ranking + row["nll_loss"], rel=1e-4)
    assert row["nll_loss"] == pytest.approx(-row["logps/chosen"], rel=1e-4)


@pytest.mark.parametrize(("name", "start"), [("dpo", 0.6931), ("kto", 0.5)])
def test_the_reference_is_the_model_in_memory(
    align: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, name: str, start: float
) -> None:
    """Weights that differ from those in the folder: the first loss is that of equal models all the same."""
    from rlllm.policies import loading

    load = loading.load_policy

    def moved(*args: Any, **kwargs: Any) -> Any:
        model = load(*args, **kwargs)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.5)
        return model

    monkeypatch.setattr(loading, "load_policy", moved)
    assert next(iter(align(name, max_steps=1).metrics()))["loss"] == pytest.approx(start, abs=1e-3)


def test_pairs_teach_labels_and_the_lineage_says_so(
    align: Callable[..., Run], write: Callable[[list[dict[str, Any]]], str]
) -> None:
    rows = [{"prompt": f"say {n}", "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(4)]
    run = align("kto", data=write(rows))
    assert run.ok
    assert "as 8 labelled completions from 4 pairs" in read_json(run.path / "lineage.json")["data"]["source"]


UNTEACHABLE = [
    ("kto", [("a", True), ("b", True)], "all 2 completions are labelled true"),
    ("kto", [("a", False)], "all 1 completions are labelled false"),
    ("kto", [("a", True), ("a", False)], "every completion is labelled both true and false"),
]


@pytest.mark.parametrize(("name", "labels", "problem"), UNTEACHABLE)
def test_labels_without_contrast_are_refused_before_anything_is_loaded(
    align: Callable[..., Run],
    write: Callable[[list[dict[str, Any]]], str],
    tmp_path: Path,
    name: str,
    labels: list[tuple[str, bool]],
    problem: str,
) -> None:
    data = write([{"prompt": "p", "completion": text, "label": label} for text, label in labels])
    with pytest.raises(DataError, match=problem):
        align(name, data=data)
    assert not (tmp_path / "run").exists()


def test_a_writer_without_faults_leaves_nothing_to_contrast(align: Callable[..., Run]) -> None:
    data = {**WORLD, "params": {"clean": True, "temperature": 0, "flip_rate": 0}}
    with pytest.raises(DataError, match="all 16 completions are labelled true"):
        align("kto", data=data)


def test_triples_name_the_column_they_lack(align: Callable[..., Run]) -> None:
    with pytest.raises(DataError) as caught:
        align("tpo", data={**WORLD, "params": {}})
    assert "in a column reference: 16 of 16 rows have none" in str(caught.value)
    assert "gold_chosen" in caught.value.exists


REFUSED: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("dpo", {"cpo_alpha": 0.5}, ConfigError, "method dpo does not read cpo_alpha"),
    ("orpo", {"loss_type": "sigmoid"}, ConfigError, "method orpo does not read loss_type"),
    ("kto", {"label_smoothing": 0.1}, ConfigError, "method kto does not read label_smoothing"),
    ("simpo", {"tpo_alpha": 0.1}, ConfigError, "method simpo does not read tpo_alpha"),
    ("dpo", {"loss_type": ["sigmod"]}, UnknownNameError, "unknown loss of method dpo: sigmod"),
    ("kto", {"loss_type": "sigmoid"}, UnknownNameError, "unknown loss of method kto: sigmoid"),
    ("cpo", {"loss_type": "tpo-l"}, UnknownNameError, "unknown loss of method cpo: tpo-l"),
    ("dpo", {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0]}, ConfigError, "one number for each loss"),
    ("robust", {"label_smoothing": 0.5}, ConfigError, "at least 0 and below 0.5"),
    ("exo", {"label_smoothing": 0.0}, ConfigError, "exo_pair needs label_smoothing above 0"),
    ("kto", {"per_device_train_batch_size": 1}, ConfigError, "per_device_train_batch_size to be 2 or more"),
    ("kto", {"train_sampling_strategy": "random"}, ConfigError, "train_sampling_strategy to be sequential"),
    ("rrhf", {"loss_type": "sigmoid"}, ConfigError, "method rrhf does not read loss_type"),
    ("rrhf", {"beta": 0.5}, ConfigError, "method rrhf does not read beta"),
    ("orpo", {"label_smoothing": 0.1}, ConfigError, "method orpo does not read label_smoothing"),
    ("simpo", {"precompute_ref_log_probs": True}, ConfigError, "method simpo does not read precompute_ref_log_probs"),
    ("cpo", {"simpo_gamma": 1.0}, ConfigError, "method cpo does not read simpo_gamma with loss_type=sigmoid"),
    ("cpo", {"loss_type": "hinge", "label_smoothing": 0.1}, ConfigError, "label_smoothing with loss_type=hinge"),
    (
        "simpo",
        {"loss_type": "alphapo", "cpo_alpha": 0.5},
        ConfigError,
        "does not read cpo_alpha with loss_type=alphapo",
    ),
    ("tpo", {"tpo_l_gamma": 1.0}, ConfigError, "method tpo does not read tpo_l_gamma with loss_type=sigmoid"),
    ("simpo", {"beta": 0.0}, ConfigError, "beta is above 0 with loss_type=simpo"),
]


@pytest.mark.parametrize(("name", "settings", "kind", "problem"), REFUSED)
def test_settings_that_the_method_cannot_use_are_refused(
    align: Callable[..., Run], name: str, settings: dict[str, Any], kind: type[Exception], problem: str
) -> None:
    with pytest.raises(kind, match=problem):
        align(name, **settings)


def test_a_batch_of_one_is_fine_without_a_kl_term(align: Callable[..., Run]) -> None:
    assert align("kto", loss_type="apo_zero_unpaired", per_device_train_batch_size=1).ok


OTHER_LOSSES = [
    ("simpo", {"loss_type": "alphapo", "alpha": 0.25}),
    ("simpo", {"cpo_alpha": 0.5, "label_smoothing": 0.1}),
    ("cpo", {"loss_type": "hinge", "cpo_alpha": 0.0}),
    ("cpo", {"loss_type": "ipo"}),
    ("tpo", {"loss_type": "tpo-l", "tpo_l_gamma": 0.1, "beta": 2.0}),
    ("tpo", {"tpo_alpha": 0.0, "data": {**WORLD, "params": {}}}),
]


@pytest.mark.parametrize(("name", "settings"), OTHER_LOSSES)
def test_every_loss_without_a_reference_trains(align: Callable[..., Run], name: str, settings: dict[str, Any]) -> None:
    run = align(name, **settings)
    assert (run.ok, [reason["code"] for reason in run.verdict["reasons"]]) == (True, ["not_measured"])


@pytest.mark.parametrize("module", [dpo, kto])
def test_the_losses_are_those_of_the_installed_trl(module: Any) -> None:
    from rlllm.algorithms import _trl

    field = getattr(_trl, module.TRAINER.trl_config).__dataclass_fields__["loss_type"]
    listed = field.metadata.get("choices") or [
        word for word in field.metadata["help"].replace("`", "").split("'") if word.replace("_", "").isalpha()
    ]
    assert set(module.LOSSES) == set(listed)
