"""CPU time of the commands people wait for: `rlllm --help` and `rlllm reason --dry-run`.

Minimum of five runs each, user plus system time of the child process, which other work on the machine disturbs less
than the clock. The bars are those of the design: 0.3 s and 0.8 s. Run it with: .venv/bin/python bench/cli_startup.py
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from results_file import add_output, write_results

RUNS = 5
BARS = {"--help": 0.3, "reason --dry-run": 0.8}


def cpu_seconds(command: list[str], folder: str) -> float:
    """User plus system seconds of one run of `command` in `folder`; raises when it fails."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        complaint = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} exits with {child.returncode}: {complaint.strip()}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print one line a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output(parser)
    given = parser.parse_args()
    rlllm = Path(sys.executable).with_name("rlllm")
    print(f"{'command':<26} {'CPU s':>6} {'bar':>5}   (minimum of {RUNS} runs)")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for arguments, bar in BARS.items():
            best = min(cpu_seconds([str(rlllm), *arguments.split()], folder) for _ in range(RUNS))
            print(f"rlllm {arguments:<20} {best:6.2f} {bar:5.1f}   {'' if best < bar else 'over the bar'}".rstrip())
            rows.append({"command": f"rlllm {arguments}", "cpu_seconds": best, "bar": bar})
    write_results(given.output, {"commands": rows}, sources=["src/rlllm", "cli/rlllm_cli"])


if __name__ == "__main__":
    main()
