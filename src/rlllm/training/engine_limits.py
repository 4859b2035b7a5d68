"""What the engines that share a model cannot do: found with the plan, and when a run is continued."""

from __future__ import annotations

from typing import Any

from rlllm.core.errors import ConfigError, RunDirectoryError
from rlllm.core.processes import launched
from rlllm.core.runs import Run, read_json
from rlllm.launch.settings import LaunchConfig
from rlllm.launch.topology import processes_of
from rlllm.training.plan import Plan, RLPlan

_SHARDED = ("sft", "dpo", "bt", "rl")
"""Trainers whose model may be spread over processes; others read weights where no process has all of them."""


def check_engine(plan: Plan[Any]) -> None:
    """Refuse what `fsdp` and `deepspeed-zero3` cannot train, whose processes have parts of the weights.

    Raises:
        ConfigError: names what cannot be done and the launcher that can.
    """
    launch = plan.config.launch
    if isinstance(plan, RLPlan) and plan.config.rollout.staleness and launch.how != "ddp":
        raise ConfigError(
            "older weights of the sampler are a copy beside the model, which here is shared by processes",
            given=f"rollout.staleness={plan.config.rollout.staleness}, {launch.how}",
            hint="launch.engine=ddp" if launch.engine else "launch=ddp",
        )
    if not launch.shards:
        return
    against = [
        (
            plan.trainer.name not in _SHARDED,
            f"method={plan.method.name}",
            "its trainer reads whole weights while it trains",
        ),
        (
            bool(plan.evaluations),
            "evaluations during training",
            "one process measures then, which has a part of the weights",
        ),
        (plan.config.lora is not None, "lora", "adapters are small, and each process has room for them"),
    ]
    if isinstance(plan, RLPlan):
        critic = plan.slots["advantage"].name == "gae"
        against.append((critic, f"method={plan.method.name}", "its critic is a second model, and one is shared"))
        settings = plan.settings
        against.append((bool(settings.get("beta")), f"beta={settings.get('beta')}", "its reference is a second model"))
    for refused, given, why in against:
        if refused:
            raise ConfigError(
                f"{launch.how} does not train this: {why}",
                given=given,
                hint="launch.engine=ddp" if launch.engine else "launch=ddp, or deepspeed-zero2 to share the optimizer",
            )


def check_resumed(run: Run, launch: LaunchConfig) -> None:
    """Refuse to continue a run with processes that cannot read its checkpoints.

    Of one process and of `ddp` a checkpoint is whole, for any number of processes. `fsdp` gathers its own for any number,
    unless `launch.checkpoints=sharded`; DeepSpeed's and sharded ones are for as many processes as wrote them.

    Raises:
        RunDirectoryError: names what can continue the run.
    """
    if launched() or not (run.path / "env.json").exists() or run.latest_checkpoint() is None:
        return
    before = LaunchConfig.checked(run.config["settings"].get("launch", "local"))
    processes = read_json(run.path / "env.json").get("processes", 1)
    now = processes_of(launch)
    if before.how != launch.how or before.checkpoints != launch.checkpoints:
        raise RunDirectoryError(
            f"checkpoints of {before.how} are not read by {launch.how}",
            given=f"{run.path}, begun with launch={before.name}",
            hint=f"--resume with launch={before.name}" + (f" launch.engine={before.engine}" if before.engine else ""),
        )
    fixed = before.how.startswith("deepspeed") or before.checkpoints == "sharded"
    if fixed and now != processes:
        raise RunDirectoryError(
            f"checkpoints of {before.how} are in parts, one for each of {processes} processes",
            given=f"{now} processes",
            hint=f"--resume with {processes} processes",
        )
