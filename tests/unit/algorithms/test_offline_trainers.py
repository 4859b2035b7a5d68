"""Trainers of offline preference methods: made on demand, sealed, and missing one at a time."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from rlllm.algorithms import _trl
from rlllm.algorithms.checkpoints import SealedCheckpoints
from rlllm.algorithms.offline import RankingHinge, check_trainer, trainer_class
from rlllm.core.errors import ModelError

BASES = ("DPOTrainer", "KTOTrainer", "ORPOTrainer", "CPOTrainer", "TPOTrainer")


@pytest.mark.parametrize("base", BASES)
def test_every_trainer_of_preferences_is_trls_with_sealed_checkpoints(base: str) -> None:
    check_trainer(base, "method")
    made = trainer_class(base, "method")
    assert issubclass(made, SealedCheckpoints)
    assert issubclass(made, getattr(_trl, base))
    assert made.__mro__.index(SealedCheckpoints) < made.__mro__.index(getattr(_trl, base))
    assert trainer_class(base, "method") is made


def test_mixins_come_before_the_trainer() -> None:
    assert trainer_class("CPOTrainer", "rrhf", (RankingHinge,)).cpo_loss is RankingHinge.cpo_loss


@pytest.mark.parametrize(
    ("module", "missing"),
    [
        ("trl.experimental.gone", "trl.experimental.gone"),
        ("trl.gone.deeper", "trl.gone.deeper"),
        ("trl.experimental.orpo", "trl.experimental.orpo.GoneTrainer"),
    ],
)
def test_a_trainer_that_this_trl_does_not_have_fails_by_name(
    monkeypatch: pytest.MonkeyPatch, module: str, missing: str
) -> None:
    monkeypatch.setitem(_trl._ELSEWHERE, "GoneTrainer", module)
    with pytest.raises(ModelError) as caught:
        trainer_class("GoneTrainer", "old")
    assert caught.value.what == f"method old needs {missing}, which TRL {_trl.trl.__version__} does not have"
    assert "other methods are not affected" in str(caught.value)


def test_a_name_that_left_trl_itself_fails_by_name() -> None:
    with pytest.raises(ModelError, match=r"method ppo needs trl\.PPOTrainer, which TRL"):
        trainer_class("PPOTrainer", "ppo")


def test_whether_a_trainer_is_there_is_known_without_loading_it() -> None:
    code = (
        "import sys; from rlllm.algorithms.offline import check_trainer\n"
        f"for base in {BASES}: check_trainer(base, 'method')\n"
        "print([name for name in ('torch', 'transformers', 'trl.trainer.dpo_trainer') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_ranking_loss_is_the_hinge_of_log_probabilities_per_token() -> None:
    chosen, rejected = np.random.default_rng(0).normal(-2, 1, (2, 32)).astype(np.float32)
    losses, better, worse = RankingHinge().cpo_loss(torch.from_numpy(chosen), torch.from_numpy(rejected))
    np.testing.assert_allclose(losses, np.maximum(0, rejected - chosen), rtol=1e-6)
    np.testing.assert_array_equal(better, chosen)
    np.testing.assert_array_equal(worse, rejected)


def test_a_pair_in_the_right_order_has_no_ranking_loss_and_no_gradient() -> None:
    sides = torch.tensor([[-1.0, -3.0], [-2.0, -1.0]], requires_grad=True)
    RankingHinge().cpo_loss(sides[0], sides[1])[0].sum().backward()
    assert sides.grad is not None
    assert sides.grad.tolist() == [[0.0, -1.0], [0.0, 1.0]]
