"""Which runs can train an adapter for each role of a dialogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from rlllm.algorithms.components import Components
from rlllm.algorithms.protocols import Dialogue, PolicyLoss
from rlllm.core.errors import ConfigError
from rlllm.training.plan import refuse_several_processes
from rlllm.training.rl_settings import RLSettings


def check_role_adapters(config: RLSettings, components: Components, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError where roles have adapters of their own, and another choice does not let rows of one role pass alone.

    Args:
        settings: TRL's.
    """
    roles = cast(Dialogue, components.by_slot.get("dialogue", Dialogue())).role_adapters
    if not roles:
        return
    given, hint = f"adapters of {' and '.join(roles)}", "dialogue.adapters=shared"
    if config.lora is None:
        raise ConfigError(
            "each role has a LoRA adapter of its own, and this run trains all weights",
            given=f"{given}, without lora",
            hint=f"lora.r=8 lora.alpha=16, or {hint}",
        )
    refuse_several_processes("adapters of roles", config.launch)
    loss = cast(PolicyLoss, components.by_slot["loss"])
    against = {
        "advantage=gae": "values" in components.signals and "its critic learns from rows of all roles at once",
        "critic.share_backbone": config.critic.share_backbone
        and "the backbone's other adapters would come between them",
        f"loss {type(loss).__name__}": not loss.rows_are_independent and "its loss is no sum over rows",
        "top_entropy_quantile": settings.get("top_entropy_quantile", 1.0) < 1
        and "tokens are chosen over rows of all roles",
        "entropy_coef": settings.get("entropy_coef") and "the entropy bonus is that of rows of all roles",
        "use_adaptive_entropy": settings.get("use_adaptive_entropy")
        and "the entropy bonus is that of rows of all roles",
        "use_liger_kernel": settings.get("use_liger_kernel") and "the kernel takes rows of all roles at once",
    }
    for name, reason in against.items():
        if reason:
            raise ConfigError(
                f"rows of one role are learned from by its own adapter: {reason}", given=f"{given}, {name}", hint=hint
            )
