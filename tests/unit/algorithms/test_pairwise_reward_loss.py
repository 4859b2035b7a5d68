"""The Bradley-Terry loss of the reward trainer uses margin and centring: against NumPy on the model's own scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlllm.core.records import PreferencePair, Sample

PAIRS = [
    PreferencePair("2 + 3 = ?", "5", "6", 0.5),
    PreferencePair("What is 7 - 3?", "the answer is 4", "3", 2.0),
    PreferencePair("1 + 1", "2", "#### 11", 0.0),
]


def trained_loss(model: Any, tokenizer: Any, pairs: list[PreferencePair], folder: Path, **settings: Any) -> float:
    from trl import RewardConfig

    from rlllm.algorithms import to_trl_dataset
    from rlllm.algorithms.sealed_trainers import PairwiseReward

    trainer = PairwiseReward(
        model=model,
        args=RewardConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            report_to="none",
            per_device_train_batch_size=3,
            **settings,
        ),
        train_dataset=to_trl_dataset.pairs(pairs, tokenizer, margins=True),
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    return float(trainer.compute_loss(trainer.model.eval(), dict(batch)).detach())


@pytest.fixture(scope="module")
def scorer(tiny_model: str) -> tuple[Any, Any]:
    import torch

    from rlllm.policies.loading import load_classifier, load_tokenizer
    from rlllm.policies.model_sources import resolve_model

    source = resolve_model(tiny_model)
    tokenizer = load_tokenizer(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = load_classifier(source, tokenizer)
        torch.nn.init.normal_(model.score.weight, std=1.0)
    return model.eval(), tokenizer


@pytest.mark.parametrize("margins", [True, False], ids=["with margins", "without"])
@pytest.mark.parametrize("centring", [None, 0.5], ids=["as it is", "centred"])
def test_the_loss_is_bradley_terry_with_margin_and_centring(
    scorer: tuple[Any, Any], margins: bool, centring: float | None, tmp_path: Path
) -> None:
    from rlllm.rewards.models.reward_model import RewardModel

    pairs = PAIRS if margins else [PreferencePair(p.prompt, p.chosen, p.rejected) for p in PAIRS]
    reward = RewardModel.of(*scorer)
    chosen, rejected = (
        np.array([score.value for score in reward.score_batch([Sample(p.prompt, getattr(p, side)) for p in pairs])])
        for side in ("chosen", "rejected")
    )
    margin = np.array([p.margin or 0.0 for p in pairs])
    expected = np.log1p(np.exp(-(chosen - rejected - margin))).mean()
    expected += (centring or 0.0) * ((chosen + rejected) ** 2).mean()
    found = trained_loss(*scorer, pairs, tmp_path, center_rewards_coefficient=centring)
    assert found == pytest.approx(expected, rel=1e-4)
