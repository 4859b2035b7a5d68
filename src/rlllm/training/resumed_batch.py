"""The batch of a run that is resumed by another number of processes: an optimizer step takes as many rows as before."""

from __future__ import annotations

from typing import Any, TypeVar

from rlllm.core.errors import RunDirectoryError
from rlllm.core.processes import world_size
from rlllm.core.runs import Run
from rlllm.training.plan import Plan

PlanT = TypeVar("PlanT", bound=Plan[Any])


def same_batch(plan: PlanT, run: Run, *, resume: bool) -> PlanT:
    """The plan with the batch that the run began with; a run that begins writes its own into `config.json`.

    Raises:
        RunDirectoryError: so many processes cannot share that batch.
    """
    processes, rows = world_size(), plan.rows_of_step
    before = run.config.get("processes") if resume else None
    if before is None:
        run.add_to_config(processes={"number": processes, "rows_of_step": rows})
        return plan
    wanted, accumulation = before["rows_of_step"], plan.setting("gradient_accumulation_steps")
    if wanted == rows:
        return plan
    if wanted * accumulation % rows:
        raise RunDirectoryError(
            f"{processes} processes cannot keep the batch of this run, {wanted} rows a step",
            given=f"{rows} rows a step, in {accumulation} x {processes} parts",
            hint=f"start as many processes as before: {before['number']}",
        )
    settings = {**plan.settings, "gradient_accumulation_steps": wanted * accumulation // rows}
    if settings.get("steps_per_generation"):
        settings["steps_per_generation"] = settings["steps_per_generation"] * wanted // rows
    return plan.with_settings(settings)
