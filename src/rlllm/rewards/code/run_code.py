"""A sandbox behind a URL: servers of the SandboxFusion protocol (`POST /run_code`), for machines that cannot isolate.

One request runs one program from start to end: its source and standard input go there, and what it wrote comes back. How well
programs are isolated is the server's matter. A request without a reply is an error, never a verdict on the program.
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rlllm.core.errors import RewardError
from rlllm.network.transport import PassingError, Refusal, Server, in_parallel
from rlllm.sandbox.jobs import Ending, Outcome, Program
from rlllm.sandbox.pool import order_of, ran_out_of_memory

_PATH = "/run_code"
_WAITING = 30.0
"""Seconds that a request may wait at the server beyond the program's own time."""
_LIMITS = """import resource
for _kind, _limit in (("CPU", {cpu}), ("AS", {memory})):
    try:
        resource.setrlimit(getattr(resource, "RLIMIT_" + _kind), (_limit, _limit + (_kind == "CPU")))
    except (OSError, ValueError):
        pass
"""


def is_url(text: str) -> bool:
    """Whether this names a server and not an isolation of this machine."""
    return text.startswith(("http://", "https://"))


@dataclass(frozen=True)
class RunCodeServer:
    """A server that runs programs.

    Args:
        url: its address; `/run_code` is added where it is missing.

    Raises:
        ConfigError: a URL that is not http(s).
    """

    url: str

    def __post_init__(self) -> None:
        _ = self._address

    def run(self, program: Program) -> Outcome:
        """How the program ended there, and what it wrote.

        Raises:
            RewardError: the server gave no outcome, also when asked again.
        """
        limits = program.limits
        order = order_of(limits)
        source = _LIMITS.format(cpu=int(order["cpu"]), memory=int(order["memory"])) + program.source
        body = {
            "language": "python",
            "code": source,
            "stdin": program.stdin.decode("utf-8", "replace"),
            "compile_timeout": limits.wall_seconds,
            "run_timeout": limits.wall_seconds,
            "memory_limit_MB": limits.memory_mb,
            "files": {},
            "fetch_files": [],
        }
        server = Server(self._address.address, timeout=limits.wall_seconds + _WAITING, retries=3, backoff=0.5)
        (reply,) = in_parallel(lambda sent: server.ask(sent, lambda raw: _outcome(raw, program)), [body], 1)
        if isinstance(reply, Refusal):
            raise RewardError(
                f"the sandbox at a URL gave no verdict: {reply.reason}",
                given=self._address.address,
                hint="it has to answer POST /run_code as SandboxFusion does",
            )
        return reply

    @cached_property
    def _address(self) -> Server:
        base = self.url.rstrip("/")
        return Server(base if base.endswith(_PATH) else base + _PATH)


def _outcome(raw: bytes, program: Program) -> Outcome:
    """The outcome in a reply. Raises PassingError for one that says that the server itself failed."""
    try:
        reply = json.loads(raw)
        status, result = reply["status"], reply.get("run_result") or reply.get("compile_result")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PassingError(f"a reply that is no outcome: {raw[:120]!r}") from error
    if status not in ("Success", "Failed") or not isinstance(result, dict) or result.get("status") == "Error":
        raise PassingError(f"the server failed: {str(reply.get('message') or result)[:200]}")
    stdout, stderr = (str(result.get(name) or "").encode("utf-8", "replace") for name in ("stdout", "stderr"))
    ended, code = _ending(result, stderr)
    seconds = float(result.get("execution_time") or 0.0)
    if len(stdout) + len(stderr) > program.limits.output_kb * 1024:
        ended, code = "output", None
    return Outcome(ended, code, stdout, stderr, seconds)


def _ending(result: dict[str, Any], stderr: bytes) -> tuple[Ending, int | None]:
    if result.get("status") == "TimeLimitExceeded":
        return "time", None
    code = int(result.get("return_code") or 0)
    number = -code if code < 0 else code - 128 if code > 128 else 0
    if number == signal.SIGXCPU:
        return "time", None
    if number:
        return "signal", number
    return ("memory", None) if ran_out_of_memory(code, stderr) else ("exit", code)
