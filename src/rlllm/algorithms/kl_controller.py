"""KL penalty against the reference model: where it enters, and its adaptive coefficient."""

from __future__ import annotations

from dataclasses import dataclass

_CLIP = 0.2
"""Largest relative error one update reacts to (Ziegler et al. 2019, arXiv 1909.08593, eq. 2)."""


@dataclass
class KLController:
    """KL settings of a run; the coefficient is state, saved with every checkpoint.

    Args:
        where: `loss`, `reward` or `nowhere` (the reference model is only compared with).
        coefficient: TRL's beta; 0 means that there is no reference model.
        target: KL of a completion (nats) that the coefficient is moved towards; None keeps it fixed.
        horizon: completions over which it reacts.
    """

    where: str = "loss"
    coefficient: float = 0.0
    target: float | None = None
    horizon: int = 2000

    def update(self, kl: float, completions: int) -> None:
        """Move the coefficient after a rollout whose completions had a mean KL of `kl` nats."""
        if self.target is not None:
            self.coefficient = adapted(self.coefficient, kl, self.target, completions, self.horizon)

    def state_dict(self) -> dict[str, float]:
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.coefficient = state["coefficient"]


def adapted(coefficient: float, kl: float, target: float, completions: int, horizon: int) -> float:
    """Proportional control: coefficient * (1 + e * completions / horizon), where e = clip(kl / target - 1, -0.2, 0.2).

    A rollout of more completions than the horizon counts as one of as many: the coefficient never changes its sign.
    """
    error = min(max(kl / target - 1, -_CLIP), _CLIP)
    return coefficient * (1 + error * min(completions / horizon, 1.0))
