"""Errors and exit codes: one hierarchy, one shape.

Every message says *what* went wrong, what was *given*, what *exists*, and what to type next (`hint`). Authors of rewards and
datasets raise plain Python errors; the border that called them wraps those in one of the classes below and names the culprit.
The command line turns any `RlllmError` into one screen and its exit code; nothing else in the program calls `sys.exit`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum

from rlllm.core.redaction import without_keys


class ExitCode(IntEnum):
    """Process exit codes; scripts may rely on them."""

    OK = 0
    """The command did what it was asked. For a run: there was a signal, all steps ran, the weights moved, and the main measure
    did not get worse. Whether it improved is the outcome, not the exit code."""
    FAILED = 1
    """The run failed or could not learn, its main measure got worse (the whole interval on the wrong side), or it had an
    outcome that `--fail-on` names."""
    USAGE = 2
    """The command line, the recipe, the data or the model folder is wrong; nothing was started."""
    PLUGIN = 3
    """A plugin that was asked for by name, installed or a file, is broken."""
    UNDECIDED = 4
    """`rlllm verify` can neither confirm nor refute a claim with so many problems, or by so short a run."""
    STALLED = 75
    """A run showed no sign of progress for as long as `watchdog` allows. The stacks of its processes are in its `logs/`, and
    `--resume` continues it. EX_TEMPFAIL of BSD, which asks to try again."""
    INTERRUPTED = 130
    """Ctrl-C, SIGTERM, SIGHUP or SIGUSR1. A run keeps a checkpoint, and `--resume` continues it."""


class RlllmError(Exception):
    """Base of every error a user may see.

    Args:
        what: one sentence without a full stop, lower case.
        given: what the user passed, verbatim.
        exists: the valid choices, if they can be listed.
        hint: the next thing to type or change.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, what: str, *, given: object = None, exists: Iterable[str] = (), hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.given = given
        self.exists = list(exists)
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.given is not None:
            lines.append(f"given: {self.given}")
        if self.exists:
            shown = ", ".join(self.exists[:24])
            more = len(self.exists) - 24
            lines.append(f"exists: {shown}" + (f" and {more} more" if more > 0 else ""))
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.given, self.exists, self.hint)


def _rebuild(cls: type[RlllmError], what: str, given: object, exists: list[str], hint: str | None) -> RlllmError:
    return cls(what, given=given, exists=exists, hint=hint)


class ConfigError(RlllmError, ValueError):
    """A recipe, an override or a flag does not resolve."""

    exit_code = ExitCode.USAGE


class UnknownNameError(ConfigError, LookupError):
    """A name that no registry knows."""


class DataError(RlllmError, ValueError):
    """Rows cannot be read or do not fit the record type."""

    exit_code = ExitCode.USAGE


class ModelError(RlllmError, ValueError):
    """A model reference does not resolve to something loadable."""

    exit_code = ExitCode.USAGE


class RunDirectoryError(RlllmError, ValueError):
    """The output directory is in use, or cannot be resumed."""

    exit_code = ExitCode.USAGE


class RunLostError(RlllmError, OSError):
    """The run directory was removed, renamed or taken over under a run, or its disk is full or read-only."""


class StalledError(RlllmError, TimeoutError):
    """A run showed no sign of progress for as long as its watchdog allows."""

    exit_code = ExitCode.STALLED


class PluginError(RlllmError, ImportError):
    """A plugin cannot be imported, is not what its group promises, or raises while it is used.

    Raised for an exception in a plugin's code by `rlllm.core.plugin_errors.plugin_boundary`.
    """

    exit_code = ExitCode.PLUGIN


class RewardError(RlllmError, RuntimeError):
    """A reward raised, or returned something that is no score, more often than `max_reward_errors` allows."""


class EngineError(RlllmError, RuntimeError):
    """What samples is gone, or answers what no engine may; nothing that it gave is trained on."""


class WeightSyncError(EngineError):
    """The copy of the policy that samples does not have the policy's weights after they were brought to it."""


def describe(error: BaseException) -> str:
    """`Type: message` on one line, the way a user can search for it, without what looks like a key."""
    text = without_keys(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def closest(name: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The nearest of `choices` to a misspelt `name`, or None when none is as similar as `cutoff` (0 to 1) asks for."""
    pool = {choice.lower().replace("_", "-"): choice for choice in choices}
    found = difflib.get_close_matches(name.lower().replace("_", "-"), pool, n=1, cutoff=cutoff)
    return pool[found[0]] if found else None


def shortened(text: str, longest: int = 80) -> str:
    """The text as a message quotes it: whole, or its beginning and how long it is."""
    return text if len(text) <= longest else f"{text[: longest - 20]}... ({len(text):,} characters)"


def unknown(noun: str, name: str, choices: Iterable[str], *, list_command: str | None = None) -> UnknownNameError:
    """The error for a name nobody knows: a did-you-mean first, else the command that lists what exists."""
    choices = sorted(choices)
    near = closest(name, choices)
    hint = f"did you mean {near}?" if near else (f"list them with: {list_command}" if list_command else None)
    return UnknownNameError(f"unknown {noun}: {shortened(name)}", exists=[] if near else choices, hint=hint)
