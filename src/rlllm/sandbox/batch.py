"""Run several programs concurrently, under either isolation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from rlllm.sandbox.jobs import Job, Outcome, Program


def run_all(threads: Executor, start: Callable[[Program], Job], programs: Sequence[Program]) -> list[Outcome]:
    """Outcomes in the order given. Ctrl-C, or a program that cannot be started, ends those under way."""
    started: list[Job] = []

    def run(program: Program) -> Outcome:
        job = start(program)
        started.append(job)
        outcome = job.wait()
        job.channel.close()
        return outcome

    futures = [threads.submit(run, program) for program in programs]
    try:
        return [future.result() for future in futures]
    except BaseException:
        for future in futures:
            future.cancel()
        for job in started:
            job.kill()
        raise
