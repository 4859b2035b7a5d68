"""The `workspace` environment: write files, run them in the sandbox, and submit a program that the row's tests judge."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.data.procedural.programs import ACCEPTED, REJECTED, written
from rlllm.sandbox import shared_sandbox
from rlllm.sandbox.jobs import Isolation, Limits, Outcome, Program
from rlllm.sandbox.layers import SandboxError

_PATH = re.compile(r"[\w-]+(?:/[\w-]+)*(?:\.\w+)?")
_MOST_CHARACTERS = 200_000
"""Of all files of a workspace together."""
_WALL_PER_CPU = 2.0
_ENDINGS = {"time": "ran out of time", "memory": "ran out of memory", "output": "printed too much"}
_RUN = """\
import os, sys
for _path, _text in {files!r}.items():
    os.makedirs(os.path.dirname(_path) or ".", exist_ok=True)
    with open(_path, "w", encoding="utf-8") as _file:
        _file.write(_text)
sys.path.insert(0, os.getcwd())
sys.argv = [{path!r}]
with open({path!r}, encoding="utf-8") as _file:
    _source = _file.read()
exec(compile(_source, {path!r}, "exec"), {{"__name__": "__main__", "__file__": {path!r}}})
"""


class Workspace:
    """Files that live as long as the rollout, and a program that is submitted once.

    Every run starts in a folder of its own that holds the files as they were written, so that nothing a program leaves behind
    reaches the next one. The tests never enter the sandbox: they compare what a program prints.

    Args:
        isolation: `full`; `none`: programs then run as you, with your files and your network.
        seconds: CPU time of a program; by the clock it may take twice as long.
        memory_mb: memory of a program with all its processes.
        length: characters of what a program printed that are shown, the last ones.
    """

    def __init__(
        self, isolation: Isolation = "full", seconds: float = 5.0, memory_mb: int = 256, length: int = 500
    ) -> None:
        if not 0 < seconds < float("inf") or memory_mb < 64 or length < 1:
            raise ConfigError(
                "workspace: seconds is above 0, memory_mb is 64 or more, length is 1 or more",
                given=f"seconds={seconds} memory_mb={memory_mb} length={length}",
            )
        try:
            self._sandbox = shared_sandbox(isolation)
        except SandboxError as error:
            raise ConfigError(
                "workspace: programs cannot be isolated on this machine",
                given=str(error),
                hint="environment.isolation=none runs them without any isolation, at your own risk",
            ) from error
        self._limits = Limits(cpu_seconds=seconds, wall_seconds=_WALL_PER_CPU * seconds, memory_mb=memory_mb)
        self._length = length
        self._files: dict[str, str] = {}
        self._tests: Sequence[tuple[str, str]] = ()
        self._verdict: str | None = None

    def reset(self, **row: Any) -> None:
        """An empty workspace for the next row, whose column `tests` says what a program prints for what it reads."""
        self._tests = [(str(test["stdin"]), str(test["stdout"])) for test in row["tests"]]
        if not self._tests:
            raise ConfigError("the row has no tests", hint='tests: [{"stdin": "1 2", "stdout": "3"}]')
        self._files, self._verdict = {}, None

    def write(self, path: str, text: str) -> str:
        """Write a file; one that exists is replaced.

        Args:
            path: Its name, such as main.py or lib/words.py.
            text: All of its text.

        Returns:
            Its name and how many lines it has.
        """
        self._check_open()
        if not _PATH.fullmatch(path):
            raise ValueError(f"{path} is no name of a file here: letters, digits, - and _, with / between folders")
        files = {**self._files, path: text}
        if sum(map(len, files.values())) > _MOST_CHARACTERS:
            raise ValueError(f"all files together have at most {_MOST_CHARACTERS:,} characters")
        self._files = files
        return written(path, text)

    def run(self, path: str, stdin: str = "") -> str:
        """Run a file with Python, in a folder with all the files.

        Args:
            path: Its name.
            stdin: What it reads from standard input.

        Returns:
            What it printed, and how it ended where it failed.
        """
        (outcome,) = self._run(path, [stdin])
        return _shown(outcome, self._length)

    def submit(self, path: str) -> str:
        """Hand in a program. It is tested, and the task is over.

        Args:
            path: Its name.

        Returns:
            `accepted` where it passes all tests, else `rejected`.
        """
        outcomes = self._run(path, [stdin for stdin, _ in self._tests])
        passed = [_passes(outcome, stdout) for outcome, (_, stdout) in zip(outcomes, self._tests, strict=True)]
        self._verdict = ACCEPTED if all(passed) else REJECTED
        return self._verdict

    def get_reward(self) -> float:
        """1 if a program was submitted that passes all tests, else 0."""
        return float(self._verdict == ACCEPTED)

    def _check_open(self) -> None:
        if self._verdict is not None:
            raise ValueError("the task is over")

    def _run(self, path: str, inputs: Sequence[str]) -> list[Outcome]:
        self._check_open()
        if path not in self._files:
            raise ValueError(f"no file {path}; there are: {', '.join(self._files) or 'none'}")
        source = _RUN.format(files=self._files, path=path)
        return self._sandbox.run(
            [Program(source, f"{text}\n".encode() if text else b"", self._limits) for text in inputs]
        )


def _passes(outcome: Outcome, stdout: str) -> bool:
    """Whether a program ended well and printed what was expected, up to white space at the ends of lines."""
    printed = outcome.stdout.decode(errors="replace")
    return outcome.ended == "exit" and outcome.code == 0 and _lines(printed) == _lines(stdout)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _shown(outcome: Outcome, length: int) -> str:
    """The end of what a program printed, errors last, and how it ended where it failed."""
    text = (outcome.stdout + outcome.stderr).decode(errors="replace").rstrip()
    text = text if len(text) <= length else f"... {text[-length:].lstrip()}"
    if outcome.ended == "exit" and outcome.code == 0:
        return text or "printed nothing"
    ending = _ENDINGS.get(outcome.ended, f"exit status {outcome.code}" if outcome.ended == "exit" else "was ended")
    return f"{text}\n{ending}".lstrip()
