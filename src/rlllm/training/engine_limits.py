"""What the engines that share a model cannot do: found with the plan, and when a run is continued."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rlllm.core.errors import ConfigError, RunDirectoryError
from rlllm.core.processes import launched
from rlllm.core.runs import Run
from rlllm.launch.settings import LaunchConfig
from rlllm.launch.topology import processes_of
from rlllm.training.plan import Plan, RLPlan

_SHARDED = ("sft", "dpo", "kto", "bt", "rl")
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
            bool(plan.source.loading.quantisation),
            f"model.quantisation={plan.source.loading.quantisation}",
            "weights in 4 or 8 bits were never divided among processes here",
        ),
        *(_against_zero3(plan) if launch.how == "deepspeed-zero3" else ()),
    ]
    for refused, given, why in against:
        if refused:
            raise ConfigError(
                f"{launch.how} does not train this: {why}",
                given=given,
                hint="launch.engine=ddp" if launch.engine else "launch=ddp, or deepspeed-zero2 to share the optimizer",
            )


def _against_zero3(plan: Plan[Any]) -> Iterator[tuple[bool, str, str]]:
    """What FSDP2 trains, and DeepSpeed's engine does not or was never seen to: it was not run here."""
    yield plan.trainer.name == "kto", "method=kto", "its trainer was never run with it here"
    yield plan.config.lora is not None, "lora", "its adapters were never trained with it here"
    yield bool(plan.evaluations), "evaluations during training", "its weights were never gathered for one here"
    if isinstance(plan, RLPlan):
        critic, beta = plan.slots["advantage"].name == "gae", plan.settings.get("beta")
        yield critic, f"method={plan.method.name}", "its critic is a second model, and the engine takes one"
        yield bool(beta), f"beta={beta}", "its reference is a second model, and the engine takes one"


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
    processes = run.read("env.json").get("processes", 1)
    now = processes_of(launch)
    if before.how != launch.how or before.checkpoints != launch.checkpoints:
        alone = ", launch.processes=1 for one process" if before.name == "fsdp" and before.checkpoints == "full" else ""
        raise RunDirectoryError(
            f"checkpoints of {before.how} are not read by {launch.how}",
            given=f"{run.path}, begun with launch={before.name}",
            hint=f"--resume with launch={before.name}"
            + (f" launch.engine={before.engine}" if before.engine else "")
            + alone,
        )
    fixed = before.how.startswith("deepspeed") or before.checkpoints == "sharded"
    if fixed and now != processes:
        raise RunDirectoryError(
            f"checkpoints of {before.how} are in parts, one for each of {processes} processes",
            given=f"{now} processes",
            hint=f"--resume with {processes} processes",
        )
