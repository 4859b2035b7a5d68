"""What was typed, word for word: recorded in the run, and repeated in advice that can be pasted back."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

_OUTPUT_DIR = re.compile(r"(--)?output[-_]dir(=|$)")


def program() -> str:
    """What to type for this program in the shell that started it: `rlllm`, or its path where `rlllm` is another or none."""
    started = Path(sys.argv[0])
    if started.name != "rlllm":
        return "rlllm"
    found = shutil.which("rlllm")
    if found is not None and Path(found).resolve() == started.resolve():
        return "rlllm"
    return shlex.quote(sys.argv[0])


def as_typed(command: str) -> str:
    """A command that begins with `rlllm`, in the form that runs in the shell that started this program."""
    return program() + command.removeprefix("rlllm")


@dataclass(frozen=True, slots=True)
class Invocation:
    """The arguments after `rlllm`."""

    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return _written(shlex.join(["rlllm", *self.arguments]))

    def to_resume(self, run: Path) -> str:
        """The command that continues the run in `run` with the same settings."""
        words = [word for word in self.arguments if word not in ("--resume", "--overwrite")]
        if not any(_OUTPUT_DIR.match(word) for word in words):
            words += ["--output-dir", str(run)]
        return _written(shlex.join(["rlllm", *words, "--resume"]))


def _written(command: str) -> str:
    """A command as it may be written down: without the secrets that were typed."""
    from rlllm.core.redaction import without_secrets

    return without_secrets(command)
