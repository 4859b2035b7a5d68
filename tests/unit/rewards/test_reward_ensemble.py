"""Ensembles of reward models: aggregation against NumPy, members found relative to the folder, and bad ensembles refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError, ModelError
from rlllm.core.records import Sample
from rlllm.policies.model_sources import resolve_model
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.models.ensemble import Aggregate, Member, aggregate, read_ensemble, write_ensemble
from rlllm.rewards.models.reward_model import RewardModel

SAMPLES = [Sample("2 + 3", "5"), Sample("2 + 3", "#### 5, as anybody can see"), Sample("", "x")]
SCORES = st.lists(st.floats(-100, 100), min_size=1, max_size=6)


@given(SCORES, st.floats(0, 5))
def test_aggregation_is_that_of_numpy(scores: list[float], penalty: float) -> None:
    assert aggregate(scores, "mean") == pytest.approx(np.mean(scores), abs=1e-9)
    assert aggregate(scores, "worst") == np.min(scores)
    expected = np.mean(scores) - penalty * np.std(scores)
    assert aggregate(scores, "uncertainty", penalty) == pytest.approx(expected, abs=1e-6)


@given(SCORES)
def test_the_worst_case_is_never_above_the_mean(scores: list[float]) -> None:
    assert aggregate(scores, "worst") <= aggregate(scores, "mean") + 1e-9


@pytest.mark.parametrize("how", ["mean", "worst", "uncertainty"])
def test_one_member_is_itself(how: Aggregate) -> None:
    assert aggregate([1.5], how) == 1.5


def classifier(folder: Path, seed: int, labels: int = 1) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from rlllm.assets.build_nano import build_tokenizer

    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=256,
        num_labels=labels,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with an ensemble of three."""
    root = tmp_path_factory.mktemp("ensemble")
    members = [classifier(root / "members" / str(seed) / "model", seed) for seed in (1, 2, 3)]
    centres = (0.5, -1.0, 0.0)
    write_ensemble(root / "model", [Member(f, c) for f, c in zip(members, centres, strict=True)])
    (root / "status.json").write_text('{"state": "done"}')
    return root


def columns(run: Path) -> np.ndarray:
    """(member, text) scores, centred."""
    models = [RewardModel(str(run / "members" / number / "model")) for number in "123"]
    raw = np.array([[score.value for score in model.score_batch(SAMPLES)] for model in models], float)
    return raw - np.array([[0.5], [-1.0], [0.0]])


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({}, lambda table: table.mean(0)),
        ({"aggregate": "worst"}, lambda table: table.min(0)),
        ({"aggregate": "uncertainty", "penalty": 0.5}, lambda table: table.mean(0) - 0.5 * table.std(0)),
    ],
    ids=["mean", "worst", "uncertainty"],
)
def test_the_model_reward_scores_with_an_ensemble(run: Path, settings: dict[str, object], rule: object) -> None:
    path = resolve_model(str(run), ensembles=True).path
    reward = build([RewardSpec.model_validate({"name": "model", "path": path, **settings})])
    scores = reward.score(SAMPLES)
    assert scores.errors == []
    assert scores.totals == pytest.approx(list(rule(columns(run))), abs=1e-5)  # type: ignore[operator]


def test_the_note_tells_how_far_the_members_are_apart(run: Path) -> None:
    table = columns(run)[:, 0]
    note = RewardModel(str(run / "model")).score_batch(SAMPLES)[0].note
    assert note == f"members {', '.join(f'{v:.2f}' for v in table)}; standard deviation {table.std():.2f}"


def test_an_ensemble_moves_with_its_run_directory(run: Path, tmp_path: Path) -> None:
    before = [score.value for score in RewardModel(str(run / "model")).score_batch(SAMPLES)]
    moved = shutil.copytree(run, tmp_path / "elsewhere" / "again")
    assert all(moved in member.folder.resolve().parents for member in read_ensemble(moved / "model"))
    assert [score.value for score in RewardModel(str(moved / "model")).score_batch(SAMPLES)] == before


def test_an_ensemble_without_its_members_says_what_to_copy(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    with pytest.raises(ModelError, match="copy or move the whole run directory"):
        RewardModel(str(tmp_path / "model"))


def test_an_ensemble_is_no_model_to_train(run: Path) -> None:
    for reference in (run, run / "model"):
        with pytest.raises(ModelError, match="only scores"):
            resolve_model(str(reference))


BROKEN = [
    ("no JSON", "nothing", "cannot be read"),
    ("no members", json.dumps({"members": []}), "names no members"),
    ("members of another kind", json.dumps({"members": ["a"]}), "cannot be read"),
    ("a centre that is not finite", '{"members": [{"path": ".", "centre": NaN}]}', "not finite"),
    ("another key", json.dumps({"models": []}), "cannot be read"),
]


@pytest.mark.parametrize(("case", "text", "words"), BROKEN, ids=[case[0] for case in BROKEN])
def test_a_broken_ensemble_is_a_model_error(case: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "ensemble.json").write_text(text)
    with pytest.raises(ModelError, match=words):
        RewardModel(str(tmp_path))


def test_settings_that_make_no_sense_are_refused(run: Path) -> None:
    single = str(run / "members" / "1" / "model")
    with pytest.raises(ConfigError, match="only an ensemble"):
        RewardModel(single, aggregate="worst")
    with pytest.raises(ConfigError, match="penalty"):
        RewardModel(str(run / "model"), penalty=-1.0)
    with pytest.raises(ConfigError, match="aggregate"):
        build([RewardSpec.model_validate({"name": "model", "path": str(run / "model"), "aggregate": "median"})])


OTHERS = [
    ("LlamaForCausalLM", 2, "let it judge"),
    ("LlamaForTokenClassification", 2, "the reward named process"),
    ("LlamaForTokenClassification", 1, "the reward named process"),
    ("LlamaForSequenceClassification", 3, "must give one number"),
]


@pytest.mark.parametrize(("architecture", "labels", "hint"), OTHERS)
def test_a_model_of_another_kind_is_refused_with_what_to_do_instead(
    architecture: str, labels: int, hint: str, run: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run / "members" / "1" / "model", tmp_path / "copy")
    settings = json.loads((copy / "config.json").read_text())
    names = {str(number): f"LABEL_{number}" for number in range(labels)}
    (copy / "config.json").write_text(json.dumps({**settings, "architectures": [architecture], "id2label": names}))
    with pytest.raises(ModelError, match=rf"not a reward model[\s\S]*{architecture}, {labels} labels[\s\S]*{hint}"):
        RewardModel(str(copy))


def test_more_padding_does_not_change_a_score(run: Path) -> None:
    for path in (run / "model", run / "members" / "1" / "model"):
        model = RewardModel(str(path))
        plain, padded = ([score.value for score in model.score_padded(SAMPLES, extra)] for extra in (0, 9))
        assert padded == pytest.approx(plain, abs=1e-5)
