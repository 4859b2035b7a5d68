"""The sandbox: runs programs that a model wrote, isolated from the host or without isolation."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from functools import cache

from rlllm.sandbox.jobs import Isolation, Sandbox

__all__ = ["layer_states", "missing_layers", "open_sandbox", "processors", "shared_sandbox"]


def open_sandbox(isolation: Isolation = "full", workers: int | None = None, packages: Sequence[str] = ()) -> Sandbox:
    """A sandbox, with its workers started.

    Args:
        isolation: `full`, every layer of `docs/guides/sandbox.md`; `none`, a plain child process with limits, which keeps
            nothing from a program that means harm.
        workers: how many programs `run` has under way at once; by default two for each core.
        packages: installed packages that programs may import beside the standard library.

    Raises:
        ConfigError: a package is not installed.
        SandboxError: a layer of full isolation is missing on this machine.
    """
    if isolation == "none":
        from rlllm.sandbox.plain import PlainSandbox

        return PlainSandbox(workers, packages)
    from rlllm.sandbox.layers import layer_missing

    if sys.platform != "linux":
        raise layer_missing("linux", sys.platform)
    from rlllm.sandbox.pool import IsolatedSandbox

    return IsolatedSandbox(workers, packages)


def shared_sandbox(isolation: Isolation = "full", packages: Sequence[str] = ()) -> Sandbox:
    """The one sandbox of this process with these settings, which is closed when the process ends; a fork opens its own.

    Raises:
        ConfigError, SandboxError: as `open_sandbox`.
    """
    return _of_process(isolation, tuple(packages), os.getpid())


@cache
def _of_process(isolation: Isolation, packages: tuple[str, ...], process: int) -> Sandbox:
    """Two workers for each processor: a solution and its tests."""
    sandbox = open_sandbox(isolation, workers=2 * processors(), packages=packages)
    atexit.register(sandbox.close)
    return sandbox


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def missing_layers() -> list[str]:
    """Why full isolation is refused on this machine, a line for each layer found missing; empty where it works.

    Layers build on each other, so mending the one that is named may bring up another.
    """
    from rlllm.sandbox.layers import SandboxError

    try:
        open_sandbox("full", workers=1).close()
    except SandboxError as error:
        return [f"{error.what} ({error.given})"]
    return []


def layer_states() -> dict[str, str]:
    """Each layer of full isolation -> `holds`, `missing` with the reason, or that it was not tried behind a missing one."""
    from rlllm.sandbox.layers import LAYERS, SandboxError

    try:
        open_sandbox("full", workers=1).close()
    except SandboxError as error:
        missing = error.what.rpartition(": no ")[2]
        later = f"not tried: {missing} is missing"
        return {**dict.fromkeys(LAYERS, later), missing: f"missing: {error.given}"}
    return dict.fromkeys(LAYERS, "holds")
