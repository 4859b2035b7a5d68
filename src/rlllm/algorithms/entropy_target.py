"""Target of TRL's adaptive entropy bonus, where it is the entropy that the policy has before it learns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EntropyTarget:
    """The policy's mean entropy on its first rollout; state, saved with every checkpoint.

    Args:
        value: nats a token; None until the first rollout.
    """

    value: float | None = None

    def state_dict(self) -> dict[str, float]:
        return {} if self.value is None else {"value": self.value}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.value = state["value"]
