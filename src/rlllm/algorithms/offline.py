"""Trainers of methods that learn from recorded preferences: TRL's, with sealed checkpoints, made when they are asked for.

TRL's experimental trainers come and go between its minor versions, so none is imported before its method is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from rlllm.algorithms import _trl
from rlllm.algorithms.checkpoints import SealedCheckpoints


class RankingHinge:
    """RRHF (Yuan et al. 2023, arXiv 2304.05302): the ranking term, in the place of CPO's contrastive loss.

    Expects log-probabilities per token, which TRL's CPOTrainer gives for `loss_type="simpo"`; its `cpo_alpha` times the
    negative log-likelihood of the better completion is added by TRL.
    """

    def cpo_loss(self, policy_chosen_logps: Any, policy_rejected_logps: Any) -> tuple[Any, Any, Any]:
        """Losses max(0, rejected - chosen) and the two sides' rewards, each of shape (pairs,), in nats per token."""
        losses = (policy_rejected_logps - policy_chosen_logps).relu()
        return losses, policy_chosen_logps.detach(), policy_rejected_logps.detach()


@dataclass(frozen=True, slots=True)
class OfflineTrainer:
    """What trains a family of methods.

    Args:
        base: name of TRL's trainer.
        parts: classes whose methods replace those of `base`.
        reference: whether it takes a `ref_model`.
    """

    base: str
    parts: tuple[type, ...] = ()
    reference: bool = False


TRAINERS = {
    "dpo": OfflineTrainer("DPOTrainer", reference=True),
    "kto": OfflineTrainer("KTOTrainer", reference=True),
    "orpo": OfflineTrainer("ORPOTrainer"),
    "cpo": OfflineTrainer("CPOTrainer"),
    "tpo": OfflineTrainer("TPOTrainer"),
    "rrhf": OfflineTrainer("CPOTrainer", (RankingHinge,)),
}
"""Family to its trainer."""


def check_trainer(trainer: OfflineTrainer, method: str) -> None:
    """Raise ModelError where the installed TRL lacks the module of this trainer. Loads nothing heavy."""
    _trl.check(trainer.base, method)


@cache
def trainer_class(trainer: OfflineTrainer, method: str) -> Any:
    """The class to train with; the same one each time.

    Raises:
        ModelError: the installed TRL does not have it.
    """
    base = _trl.needed(trainer.base, method)
    return type(f"Sealed{trainer.base}", (*trainer.parts, SealedCheckpoints, base), {})
