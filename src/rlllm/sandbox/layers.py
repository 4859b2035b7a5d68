"""The layers of isolation: what each needs, and the error where one is missing.

There is no fallback: full isolation is every layer of the table below, or a refusal that names the missing one.
"""

from __future__ import annotations

from rlllm.core.errors import ExitCode, RlllmError

HINTS = {
    "linux": "run on Linux (a virtual machine or a container will do)",
    "user namespace": "allow unprivileged user namespaces: sysctl user.max_user_namespaces=10000, and on Ubuntu "
    "kernel.apparmor_restrict_unprivileged_userns=0; in Docker: --security-opt seccomp=unconfined --cap-add SYS_ADMIN",
    "mount namespace": "root without CAP_SYS_ADMIN: in Docker add --cap-add SYS_ADMIN --security-opt seccomp=unconfined "
    "--security-opt apparmor=unconfined, or run as an ordinary user",
    "file view": "mounts are refused here: in Docker add --security-opt apparmor=unconfined",
    "identity": "this container maps no user 65534: run as an ordinary user",
    "landlock": "needs Linux 5.13 or newer with landlock among the modules in /sys/kernel/security/lsm",
    "seccomp": "needs a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64",
    "process accounting": "needs /proc with CONFIG_PROC_CHILDREN, mounted without hidepid",
    "process handles": "needs Linux 5.3 or newer; a container has to allow pidfd_open and setns, as Docker does from 20.10 on",
    "processes": "the limit of processes is too low: raise ulimit -u, or the limit of this container (docker run --pids-limit)",
    "packages": "leave it out of packages:, or install a version that works with this interpreter",
    "worker": "run `python -I -S` by hand: the interpreter itself does not start there",
}
"""What to do about a missing layer; a namespace not listed here shares the hint of the user namespace."""
LAYERS = (
    *(name for name in HINTS if name not in ("packages", "worker")),
    *(f"{name} namespace" for name in ("pid", "net", "ipc", "uts", "cgroup")),
)
"""What a program is isolated by. SECURITY.md names the attack on each."""


class SandboxError(RlllmError, RuntimeError):
    """Programs cannot be run with the isolation that was asked for."""

    exit_code = ExitCode.USAGE


def layer_missing(layer: str, reason: str) -> SandboxError:
    """The refusal: which layer, what the kernel said, what to do."""
    hint = HINTS.get(layer, HINTS["user namespace"])
    return SandboxError(
        f"programs cannot be isolated here: no {layer}",
        given=reason,
        hint=f"{hint}. --sandbox URL has a server of SandboxFusion's protocol run them; --sandbox none runs them without any "
        "isolation, at your own risk",
    )
