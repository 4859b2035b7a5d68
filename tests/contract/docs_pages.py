"""Reads the commands out of the documentation and runs them the way a reader would: top to bottom, in one directory.

A fence is ```bash or ```console (commands), ```python (a script), or any language with `title=FILE` (a file to write). Lines
of a ```console fence that begin with `error:`, `given:` or `hint:` have to be among those that its commands print to stderr.
The HTML comment just above a fence steers it, with a comma between its words:

    <!-- test: slow -->       takes long; runs under `make test-all` only
    <!-- test: dry-run -->    needs what is not here (a GPU, a network): rlllm gets --dry-run, a script is only compiled
    <!-- test: exit 2 -->     the last command of the fence ends with this exit code
    <!-- test: model DIR -->  the embedded model stands in for the one a reader would have in DIR
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NANO = ROOT / "src" / "rlllm" / "assets" / "nano"
RUN = {"rlllm", "python", "cat", "head", "ls", "mkdir", "cp", "echo", "printf"}
LEFT_TO_THE_READER = {"git", "pip", "cd", "source", "export", "open", "pre-commit", "python3"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "NO_COLOR": "1"}
LIMIT_SECONDS = 1800

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?P<rest>[^\n]*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL
)
_STEER = re.compile(r"<!-- test: (?P<words>[^>]*?) -->\s*\Z")
_TITLE = re.compile(r"title=\"?([^\s\"]+)")
_ERROR_LINE = re.compile(r"(error|given|hint|exists|warning): ")
_MAKE_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """One fenced block of a page."""

    line: int
    """Of its opening, counted from 1."""
    language: str
    title: str | None
    body: str
    steering: frozenset[str]

    @property
    def slow(self) -> bool:
        return "slow" in self.steering

    @property
    def dry_run(self) -> bool:
        return "dry-run" in self.steering

    @property
    def exit_code(self) -> int:
        return int(self._argument("exit") or 0)

    @property
    def stand_in(self) -> str | None:
        """The folder at which the embedded model has to be found."""
        return self._argument("model")

    def _argument(self, word: str) -> str | None:
        return next((text.removeprefix(f"{word} ") for text in self.steering if text.startswith(f"{word} ")), None)

    def commands(self) -> list[str]:
        """Shell lines, continuations joined and remarks left out; of a console fence those behind a `$`."""
        if self.title or self.language not in ("bash", "console"):
            return []
        lines = re.sub(r"\\\n(> )?\s*", "", self.body).splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        lines = [re.sub(r"(^|\s)# .*", "", line).strip().replace(".venv/bin/rlllm", "rlllm") for line in lines]
        return [line for line in lines if line]

    def promised(self) -> list[str]:
        """The lines of an error that a console fence shows."""
        return [line for line in self.body.splitlines() if self.language == "console" and _ERROR_LINE.match(line)]

    def script(self) -> str | None:
        """The source of a Python fence that is not a file."""
        return self.body if self.language == "python" and not self.title else None

    @property
    def does_something(self) -> bool:
        return bool(self.script() or any(first_word(command) in RUN for command in self.commands()))


def pages() -> list[Path]:
    """Every documentation page, the front page first."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]


def fences(text: str) -> list[Fence]:
    """The fenced blocks of a page, in order."""
    found = []
    for match in _FENCE.finditer(text):
        steer = _STEER.search(text[: match.start()])
        title = _TITLE.search(match["rest"])
        words = steer["words"].split(",") if steer else []
        found.append(
            Fence(
                line=text.count("\n", 0, match.start()) + 1,
                language=match["language"],
                title=title.group(1) if title else None,
                body=textwrap.dedent(match["body"]),
                steering=frozenset(word.strip() for word in words),
            )
        )
    return found


def first_word(command: str) -> str:
    """The program a line calls, variables in front of it left out; a path into `.venv` is kept whole."""
    words = [word for word in shlex.split(command) if not re.match(r"\w+=", word)]
    program = words[0] if words else ""
    return program if program.startswith(".venv/") else Path(program).name


def follow(blocks: list[Fence], folder: Path, *, slow: bool) -> list[str]:
    """Do in `folder` what the blocks of a page say; what went wrong, one text a failure."""
    for block in blocks:
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
        if block.stand_in and not (folder / block.stand_in).exists():
            shutil.copytree(NANO, folder / block.stand_in)
    return [problem for block in blocks if slow or not block.slow for problem in _follow_block(block, folder)]


def _follow_block(block: Fence, folder: Path) -> list[str]:
    script = block.script()
    if script and block.dry_run:
        compile(script, f"line {block.line}", "exec")
        return []
    if script:
        code = [sys.executable, "-c", script]
        return _execute(code, f"line {block.line}: the script", folder, block.exit_code)[0]
    problems: list[str] = []
    printed: list[str] = []
    commands = block.commands()
    for number, command in enumerate(commands, start=1):
        program = first_word(command)
        dry = " --dry-run" if block.dry_run and program == "rlllm" and "--dry-run" not in command else ""
        expected = block.exit_code if number == len(commands) else 0
        if program in RUN:
            shell = ["bash", "-c", f"set -o pipefail; {command}{dry}"]
            found, lines = _execute(shell, f"line {block.line}: {command}{dry}", folder, expected)
            problems += found
            printed += lines
    missing = [line for line in block.promised() if line not in printed]
    return problems + [
        f"line {block.line}: not printed: {line}\n{textwrap.indent(chr(10).join(printed[-20:]), '  ')}"
        for line in missing
    ]


def _execute(arguments: list[str], name: str, folder: Path, expected: int) -> tuple[list[str], list[str]]:
    """What went wrong, and the lines of stderr."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        arguments,
        cwd=folder,
        env={**os.environ, **OFFLINE, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    lines = done.stderr.splitlines()
    if done.returncode == expected:
        return [], lines
    problem = f"{name}\n  exit code {done.returncode}, not {expected}\n{textwrap.indent(done.stderr[-1500:], '  ')}"
    return [problem], lines


def complaints(command: str) -> list[str]:
    """What is wrong with a line that is read and not run: an unknown program, make target or file of the repository."""
    program, words = first_word(command), shlex.split(command)
    if program == "make":
        targets = set(_MAKE_TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
        named = [word for word in words[words.index("make") + 1 :] if not word.startswith("-") and "=" not in word]
        return [f"{command}: no target {name}" for name in named if name not in targets]
    if program.startswith(".venv/"):
        files = [word.partition("::")[0] for word in words[1:] if word.partition("::")[0].endswith((".py", "/"))]
        return [f"{command}: no file {name}" for name in files if not (ROOT / name).exists()]
    return [] if program in RUN | LEFT_TO_THE_READER else [f"{command}: nobody knows how to check {program}"]
