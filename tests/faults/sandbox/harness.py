"""The plain harness that the suite is measured against: `exec` in a child process, the way many code rewards do it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from attacks import SECRET

_HARNESS = "import sys\nexec(compile(sys.stdin.read(), 'program', 'exec'), {'__name__': '__main__'})"


def filled(source: str, diagnostics: dict[str, object]) -> str:
    """The program with `{name}` and `{name!r}` replaced by what the host has."""
    for name, value in diagnostics.items():
        source = source.replace("{" + name + "!r}", repr(value)).replace("{" + name + "}", str(value))
    return source


def run_plainly(source: str, folder: Path) -> str:
    """Standard output of a program under `exec`, in a child process that starts in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", _HARNESS],
        input=source.encode(),
        cwd=folder,
        env={**os.environ, "SECRET": SECRET},
        capture_output=True,
        timeout=20,
        start_new_session=True,
    )
    return done.stdout.decode("utf-8", "replace")
