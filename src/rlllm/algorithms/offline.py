"""Trainers of methods that learn from recorded preferences: TRL's, with sealed checkpoints, made when they are asked for.

TRL's experimental trainers come and go between its minor versions, so none is imported before its method is used.
"""

from __future__ import annotations

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


def check_trainer(base: str, method: str) -> None:
    """Raise ModelError where the installed TRL lacks the module of a trainer. Loads nothing heavy."""
    _trl.check(base, method)


@cache
def trainer_class(base: str, method: str, mixins: tuple[type, ...] = ()) -> Any:
    """The class to train with; the same one each time.

    Args:
        base: name of TRL's trainer.
        method: for the error.
        mixins: classes whose methods replace those of the base.

    Raises:
        ModelError: the installed TRL does not have it.
    """
    return type(f"Sealed{base}", (*mixins, SealedCheckpoints, _trl.needed(base, method)), {})
