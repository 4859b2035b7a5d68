"""Starts the processes of one machine, through accelerate's own launcher: `python -m rlllm.launch.agent` with its options.

It adds three things to `accelerate launch`: what rank 0 prints goes to `RUN/logs/rank-0.log`, where the process that waits
for the run reads it; Ctrl-C (SIGINT) goes to the processes, which save a checkpoint, and does not end them; and a process
that fails is written down in `RUN/launch/failures`, with the signal or exit code that torchrun has of it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from rlllm.core.processes import SUPERVISED
from rlllm.core.runs import write_json

FAILURES = "failures"
"""Folder beside the launch files; one file for each machine on which a process failed."""
PARENT = "RLLLM_PARENT"
"""In the environment of an agent: the process that waits for it on the same machine, without which it ends."""
_LOOK_SECONDS = 2.0


def main(arguments: list[str]) -> int:
    """Run `accelerate launch` with these arguments; returns the exit code."""
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options = launch_command_parser().parse_args(arguments)
    folder, machine = Path(options.config_file).parent, int(options.machine_rank or 0)
    _print_into(log_of_machine(folder.parent, machine))
    os.environ[SUPERVISED] = "1"
    options.signals_to_handle = (
        "SIGTERM,SIGHUP,SIGQUIT"  # of torchrun, which by its default ends its processes at Ctrl-C
    )
    signal.signal(signal.SIGINT, _hand_on)
    end_with_parent(os.environ.pop(PARENT, None))
    try:
        launch_command(options)
    except ChildFailedError as error:
        write_json(folder / FAILURES / f"machine-{machine}.json", failed_ranks(error))
        return 1
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0


def log_of_machine(run: Path, machine: int) -> Path:
    """What an agent prints, and on the first machine rank 0; other ranks have a file each (`logs/rank-N.log`)."""
    return run / "logs" / ("rank-0.log" if machine == 0 else f"machine-{machine}.log")


def failed_ranks(error: Any) -> list[dict[str, Any]]:
    """Rank, exit code (negative: the number of a signal) and time of each failed process, the first one first."""
    failures = sorted(error.failures.items(), key=lambda item: item[1].timestamp)
    return [
        {"rank": rank, "exitcode": failure.exitcode, "pid": failure.pid, "time": failure.timestamp}
        for rank, failure in failures
    ]


def _hand_on(number: int, frame: FrameType | None) -> None:
    """Send the signal to the processes of this machine, each of which is in a session of its own."""
    import psutil

    for process in psutil.Process().children():
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def end_with_parent(parent: str | None) -> None:
    """End as at SIGTERM once the process that waits for this one is gone.

    Args:
        parent: its number, or None where nobody waits.
    """
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(_LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _print_into(path: Path) -> None:
    """Append what this process and its children print to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            os.dup2(file.fileno(), number)


def arguments_of(folder: Path, words: list[str], machine: dict[str, str] | None = None) -> list[str]:
    """What follows `python -m rlllm.launch.agent`.

    Args:
        folder: of the launch files.
        words: what follows `rlllm`.
        machine: for several machines: options of accelerate that differ between them, such as `machine_rank`.
    """
    from rlllm.launch.engine_files import ACCELERATE

    own = machine if machine is not None else {"main_process_port": "0"}
    options = [text for name, value in own.items() for text in (f"--{name}", value)]
    return ["--config_file", str(folder / ACCELERATE), *options, "-m", "rlllm_cli", *words]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
